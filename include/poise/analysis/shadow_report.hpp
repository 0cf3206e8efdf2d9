// SPDX-License-Identifier: MIT
#pragma once

// What a shadow policy would have picked, in numbers and in words: the result of
// analysis/shadow.hpp.
//
// All fractions are of the sampled picks. An error is a standard error of independent picks; the
// text shows twice that, which holds in 95 of 100 cases. Policies that rotate err less.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <poise/base/check.hpp>
#include <poise/error.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::analysis {

/// A fraction of the sampled picks, and its standard error.
struct SampledFraction {
  double value = 0;
  double error = 0;  ///< Above 0 even if the value is 0 or 1.

  /// `count` of `all`. Empty if there are none. One success and one failure are added for the
  /// error: without them 3 of 3 would be certain.
  [[nodiscard]] static std::optional<SampledFraction> of(std::uint64_t count, std::uint64_t all) {
    if (all == 0) return std::nullopt;
    auto const n = static_cast<double>(all);
    auto const padded = (static_cast<double>(count) + 1) / (n + 2);
    return SampledFraction{static_cast<double>(count) / n,
                           std::sqrt(padded * (1 - padded) / (n + 2))};
  }
};

/// How many sampled picks chose one backend.
struct ShadowCounts {
  std::uint64_t live = 0;
  std::uint64_t shadow = 0;
  std::uint64_t both = 0;  ///< Both in the same pick.

  ShadowCounts& operator+=(ShadowCounts const& other) noexcept {
    live += other.live;
    shadow += other.shadow;
    both += other.both;
    return *this;
  }
};

/// One backend in a report.
struct ShadowShare {
  std::string id{};  ///< Empty: all backends that were removed long ago, together.
  ShadowCounts counts{};
  std::optional<SampledFraction> live{};  ///< Of all sampled picks; empty if there are none.
  std::optional<SampledFraction> shadow{};
};

/// What two policies chose in the same picks. *Threads* a value.
struct ShadowReport {
  std::string live{};                   ///< The name of the policy that picks ...
  std::string shadow{};                 ///< ... and of the one beside it.
  unsigned sampling = 0;                ///< One of 2^sampling picks is compared.
  std::uint64_t samples = 0;            ///< Picks that were compared.
  std::uint64_t keyless = 0;            ///< Of these: without a key.
  bool keyed = false;                   ///< The shadow policy spreads requests by their keys.
  std::vector<ShadowShare> backends{};  ///< In the order in which they were added.
  /// Picks for which a policy named no backend that takes the request. The balancer then searches
  /// one, which no policy chose.
  ShadowCounts nowhere{};

  std::optional<SampledFraction> agreement{};  ///< Both chose the same backend, or both none.
  /// How far the shares differ: half the sum of their differences (total variation distance).
  /// Single requests may change their backend although the shares stay: see agreement. Empty if
  /// there are no samples.
  std::optional<double> moved{};
  /// What `moved` would be by chance if the shares were equal. It is large if samples are few
  /// against backends; `moved` says something only well above it.
  double moved_by_chance = 0;

  std::uint64_t exceptions = 0;  ///< Thrown by the shadow policy. Such a pick is no sample.
  std::string last_exception{};  ///< The first 112 bytes of its text.
  Duration mean_cost{};          ///< Of a sampled pick: what the comparison added to it.
  Duration max_cost{};
};

namespace detail {

/// The distance of the shares, and the distance to be expected by chance.
class SharesDistance {
 public:
  explicit SharesDistance(std::uint64_t samples) : samples_{static_cast<double>(samples)} {}

  void add(ShadowCounts const& counts) {
    auto const live = static_cast<double>(counts.live);
    auto const shadow = static_cast<double>(counts.shadow);
    value_ += std::abs(live - shadow) / samples_ / 2;
    // In one pick the difference is +1, -1 or 0; picks where both chose the backend have 0. Where
    // only one of the two chose it, equal shares toss a coin.
    auto const one_of_two = std::max(0.0, live + shadow - 2 * static_cast<double>(counts.both));
    by_chance_ += mean_distance(one_of_two) / samples_ / 2;
  }
  [[nodiscard]] double value() const noexcept { return value_; }
  [[nodiscard]] double by_chance() const noexcept { return by_chance_; }

 private:
  /// How far so many steps of +1 or -1 lead from the start, on average.
  static double mean_distance(double steps) noexcept {
    constexpr double mean_of_absolute = 0.7979;  // E|x| of a normal x: sqrt(2 / pi)
    constexpr double many = 100;
    if (steps > many) return mean_of_absolute * std::sqrt(steps);
    auto const half = std::ceil(steps / 2);
    auto mean = 2 * half;
    for (double i = 1; i <= half; ++i) mean *= (2 * i - 1) / (2 * i);
    return mean;
  }

  double samples_;
  double value_ = 0;
  double by_chance_ = 0;
};

/// Fills in what follows from the counts. *Requires* backends and nowhere.
inline void conclude(ShadowReport& report) {
  auto all = report.nowhere;
  for (auto const& each : report.backends) all += each.counts;
  report.samples = all.live;
  for (auto& each : report.backends) {
    each.live = SampledFraction::of(each.counts.live, all.live);
    each.shadow = SampledFraction::of(each.counts.shadow, all.shadow);
  }
  report.agreement = SampledFraction::of(std::min(all.both, all.live), all.live);
  if (all.live == 0) return;
  SharesDistance distance{all.live};
  distance.add(report.nowhere);
  for (auto const& each : report.backends) distance.add(each.counts);
  report.moved = std::min(1.0, distance.value());
  report.moved_by_chance = distance.by_chance();
}

/// "33.1 %"
[[nodiscard]] inline std::string percent(double fraction) {
  char text[32];
  auto const size = std::snprintf(text, sizeof text, "%.1f %%", 100 * fraction);
  return {text, static_cast<std::size_t>(size)};
}
/// "33.1 % +- 1.4 %"
[[nodiscard]] inline std::string percent(SampledFraction const& of) {
  return percent(of.value) + " +- " + percent(2 * of.error);
}

[[nodiscard]] inline std::string in_words(ShadowShare const& of) {
  return "\n  " + (of.id.empty() ? "removed backends" : poise::detail::escaped(of.id)) + ": live " +
         percent(*of.live) + ", shadow " + percent(*of.shadow);
}

/// A line for each backend, those with the greatest difference first; of many the first 20.
[[nodiscard]] inline std::string shares_in_words(ShadowReport const& of) {
  constexpr std::size_t most = 20;
  std::vector<ShadowShare const*> order;
  for (auto const& each : of.backends) order.push_back(&each);
  std::ranges::stable_sort(order, std::greater<>{}, [](ShadowShare const* each) {
    return std::abs(each->live->value - each->shadow->value);
  });
  std::string text;
  for (std::size_t i = 0; i < order.size() && i < most; ++i) text += in_words(*order[i]);
  if (order.size() > most)
    text += "\n  and " + std::to_string(order.size() - most) + " more, which differ less";
  return text;
}

[[nodiscard]] inline std::string exceptions_in_words(ShadowReport const& of) {
  if (of.exceptions == 0) return {};
  return "\n  the shadow threw " + std::to_string(of.exceptions) +
         (of.exceptions == 1 ? " exception" : " exceptions, the last") + ": " +
         poise::detail::in_quotes(of.last_exception);
}

[[nodiscard]] inline std::string remarks_in_words(ShadowReport const& of) {
  std::string text;
  if (of.nowhere.live != 0 || of.nowhere.shadow != 0)
    text += "\n  no backend: live " + std::to_string(of.nowhere.live) + " times, shadow " +
            std::to_string(of.nowhere.shadow) + " times";
  if (of.keyed && of.keyless != 0)
    text += "\n  " + std::to_string(of.keyless) + " of these picks had no key";
  return text + "\n  cost of a compared pick: " + std::to_string(of.mean_cost.count()) +
         " ns, at most " + std::to_string(of.max_cost.count()) + " ns";
}

}  // namespace detail

/// Some lines: agreement, what would move, shares, failures, cost. *Cost* O(n log n).
[[nodiscard]] inline std::string message(ShadowReport const& of) {
  auto text = of.shadow + " beside " + of.live + ": " + std::to_string(of.samples) +
              " picks compared, one in " + std::to_string(1U << of.sampling);
  if (of.samples != 0)
    text += "\n  the same backend in " + detail::percent(*of.agreement) +
            "; the shares would move by " + detail::percent(*of.moved) + " (by chance " +
            detail::percent(of.moved_by_chance) + ")" + detail::shares_in_words(of) +
            detail::remarks_in_words(of);
  return text + detail::exceptions_in_words(of) + '\n';
}

}  // namespace poise::inline v0_1_0::analysis
