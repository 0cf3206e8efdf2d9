// SPDX-License-Identifier: MIT
#pragma once

// The options of a health monitor, their defaults and their checks. docs/health.md gives the reason
// for each default.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include <poise/base/check.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::health {

/// How long a backend stays out, and how many may be out at once. Durations may be
/// Duration::max().
struct Ejection {
  Duration base =
      std::chrono::seconds{30};  ///< The first time; the n-th in a row takes n times it.
  /// Instead of base where no connection could be made; later an eighth of the outage so far, from
  /// two minutes on a quarter of what exceeds the first one.
  Duration unreachable = std::chrono::seconds{5};
  Duration max = std::chrono::seconds{300};  ///< Never longer than this, jitter apart.
  double jitter = 0.1;  ///< Up to this fraction is added, so that not all come back at once.
  /// At most this fraction of all backends, but always one, and more only if these fail every
  /// request while others of their tier succeed.
  double max_ejected = 0.5;
  /// A trial request that takes longer than this lets another one in; then twice that, and so on.
  Duration max_trial = std::chrono::seconds{10};
};

/// How a backend that recovered or joined comes up to its full share.
struct SlowStart {
  Duration window = std::chrono::seconds{30};  ///< 0: at once.
  double min_fraction = 0.1;                   ///< The fraction it starts with.
  double aggression = 1;                       ///< fraction = (t / window)^(1 / aggression)
  /// While it comes up, no backend that competes with it is asked for more than this times its due
  /// if all were up: the ramp yields, which lets a set return after a total outage.
  double overload = 1.4;
};

/// What happens when too few are left.
struct Panic {
  enum class Mode : std::uint8_t {
    open,    ///< Every backend is picked, whatever is known of it.
    closed,  ///< None is, but for trials: for services that would rather fail.
  };
  /// Less than this fraction selectable is panic; 0: never. Backends that fail every request while
  /// others of their tier succeed do not count.
  double threshold = 0.5;
  Mode mode = Mode::open;
};

/// The fraction of its due that a backend gets, this long after it began.
///
/// max(floor, (max(t, 1 s) / window)^(1 / aggression)). *Source* Envoy, slow start mode.
[[nodiscard]] inline double ramp(Duration since, SlowStart const& options) {
  if (since >= options.window) return 1;
  using Seconds = std::chrono::duration<double>;
  auto const t = std::max(Seconds{since}.count(), 1.0);
  auto const part = std::min(1.0, t / Seconds{options.window}.count());
  return std::max(options.min_fraction, std::pow(part, 1 / options.aggression));
}

/// The lowest fraction for `slow` backends beside `full` ones that keeps the full ones within
/// `overload` times their due. full / (full + slow * fraction) <= overload * full / (full + slow)
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

inline void check(Ejection const& options) {
  using namespace poise::detail;
  check_positive("base of health::Ejection", options.base);
  check_positive("unreachable of health::Ejection", options.unreachable);
  check_at_least("max of health::Ejection", options.max,
                 std::max(options.base, options.unreachable),
                 "use at least base and unreachable, the first ejection times");
  check_fraction("jitter of health::Ejection", options.jitter);
  check_positive("max_trial of health::Ejection", options.max_trial);
  check_fraction("max_ejected of health::Ejection", options.max_ejected);
}

inline void check(SlowStart const& options) {
  using namespace poise::detail;
  check_not_negative("window of health::SlowStart", options.window, "0 switches the ramp off");
  check_fraction("min_fraction of health::SlowStart", options.min_fraction);
  check_positive("min_fraction of health::SlowStart", options.min_fraction);
  check_positive("aggression of health::SlowStart", options.aggression);
  check_positive("overload of health::SlowStart", options.overload);
  check_at_least("overload of health::SlowStart", options.overload, 1.0,
                 "use 1 or more; 1 is a backend's due");
}

inline void check(Panic const& options) {
  poise::detail::check_fraction("threshold of health::Panic", options.threshold);
}

}  // namespace detail

}  // namespace poise::inline v0_1_0::health
