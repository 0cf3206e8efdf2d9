// SPDX-License-Identifier: MIT
#pragma once

// The numbers of a health monitor, with their defaults, and what is refused. docs/health.md gives
// the reason for each default.

#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <poise/error.hpp>
#include <poise/time.hpp>

namespace poise::health {

/// How long a backend stays out, and how many may be out at once.
struct Ejection {
  Duration base = std::chrono::seconds{30};        ///< The first time; the n-th takes n times that.
  Duration unreachable = std::chrono::seconds{5};  ///< Instead of base, if it can't be connected.
  Duration max = std::chrono::seconds{300};        ///< Never longer than this, jitter apart.
  double jitter = 0.1;  ///< Up to this share is added, so that not all come back at once.
  double cap = 0.5;     ///< Of all backends, at most this share; but one may always go.
};

/// How a backend that recovered or joined comes up to its full share.
struct SlowStart {
  Duration window = std::chrono::seconds{30};  ///< 0: at once.
  double floor = 0.1;                          ///< The share it starts with.
  double aggression = 1;                       ///< share = (t / window)^(1 / aggression)
  /// While it comes up, no other backend is asked for more than this times what would be its part
  /// if all were up: the ramp yields, which is what lets a set return after a total outage.
  double overload = 1.4;
};

/// What happens when too few are left.
struct Panic {
  enum class Mode : std::uint8_t {
    open,    ///< Everybody is picked, whatever is known of them.
    closed,  ///< Nobody is, but for probation: for those who would rather fail.
  };
  double threshold = 0.5;  ///< Fewer than this share selectable is panic; 0: never.
  Mode mode = Mode::open;
};

/// The share of its due that a backend gets, so long after it began.
///
/// max(floor, (max(t, 1 s) / window)^(1 / aggression)). *Source* Envoy, slow start mode.
[[nodiscard]] inline double ramp(Duration since, SlowStart const& options) {
  if (since >= options.window) return 1;
  using Seconds = std::chrono::duration<double>;
  auto const t = std::max(Seconds{since}.count(), 1.0);
  auto const part = std::min(1.0, t / Seconds{options.window}.count());
  return std::max(options.floor, std::pow(part, 1 / options.aggression));
}

/// The least share for `slow` backends beside `full` ones that keeps the full ones within
/// `overload` times their due. full / (full + slow * share) <= overload * full / (full + slow)
[[nodiscard]] constexpr double least_ramp(std::size_t full, std::size_t slow, double overload) {
  if (slow == 0) return 0;
  auto const all = static_cast<double>(full + slow);
  auto const least = (all / overload - static_cast<double>(full)) / static_cast<double>(slow);
  return full == 0 ? 1 : std::max(0.0, least);
}

/// *Source* Envoy, panic threshold; there an integer percentage, here exact.
[[nodiscard]] constexpr bool is_panic(std::size_t selectable, std::size_t all,
                                      double threshold) noexcept {
  return all != 0 && static_cast<double>(selectable) < threshold * static_cast<double>(all);
}

namespace detail {

[[noreturn]] inline void refuse(std::string_view what, std::string const& given,
                                std::string_view expected) {
  throw ConfigError{std::string{what} + " is " + given + ": " + std::string{expected}};
}
inline std::string text(Duration time) { return std::to_string(time.count()) + " ns"; }

inline void check_share(std::string_view what, double share) {
  if (!(share >= 0 && share <= 1))  // NaN too
    refuse(what, std::to_string(share), "a share lies between 0 and 1");
}
inline void check_positive(std::string_view what, Duration time) {
  if (time <= Duration::zero()) refuse(what, text(time), "it must be longer than 0");
}
inline void check_positive(std::string_view what, double number) {
  if (!(number > 0 && std::isfinite(number)))
    refuse(what, std::to_string(number), "it must be a number above 0");
}
inline void check_at_least_one(std::string_view what, std::uint64_t number) {
  if (number == 0) refuse(what, "0", "it must be 1 or more");
}

inline void check(Ejection const& options) {
  check_positive("base of health::Ejection", options.base);
  check_positive("unreachable of health::Ejection", options.unreachable);
  if (options.max < std::max(options.base, options.unreachable))
    refuse("max of health::Ejection", text(options.max), "less than the first ejection takes");
  check_share("jitter of health::Ejection", options.jitter);
  check_share("cap of health::Ejection", options.cap);
}

inline void check(SlowStart const& options) {
  if (options.window < Duration::zero())
    refuse("window of health::SlowStart", text(options.window), "0 switches the ramp off");
  check_share("floor of health::SlowStart", options.floor);
  check_positive("floor of health::SlowStart", options.floor);
  check_positive("aggression of health::SlowStart", options.aggression);
  if (!(options.overload >= 1 && std::isfinite(options.overload)))
    refuse("overload of health::SlowStart", std::to_string(options.overload),
           "1 is a backend's due, so it can't be less");
}

inline void check(Panic const& options) {
  check_share("threshold of health::Panic", options.threshold);
}

}  // namespace detail

}  // namespace poise::health
