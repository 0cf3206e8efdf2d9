// SPDX-License-Identifier: MIT
#pragma once

// Hedging: call() starts a second attempt beside the first, after a fixed delay or as soon as the
// first takes longer than most attempts do. An option of Retry: {.hedge = {.percentile = 0.95}}.
//
// Use it against a few slow answers among many fast ones, where repeating a request does no harm
// and backends have spare capacity. Do not use it against overloaded backends: the hedge budget
// limits the damage, but only after it is spent.
//
// Source: Dean, Barroso 2013, "The tail at scale".

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include <poise/base/check.hpp>
#include <poise/outcome.hpp>
#include <poise/policy.hpp>
#include <poise/sync/relaxed.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0 {

/// Without `after` and `percentile` nothing is hedged. With both the shorter delay counts; only
/// `after` counts while too few latencies are known.
struct HedgeOptions {
  Duration after{};  ///< A fixed delay; 0: none.
  /// The delay is this percentile of the latencies of attempts: above 0, below 1. Needs tick(), and
  /// reads the clock at each pick and finish.
  std::optional<double> percentile{};
  Duration min_delay = std::chrono::milliseconds{1};  ///< Lower bound of a percentile's delay.
  /// Hedges per request, within each second, counted apart from retries. Keep it above
  /// 1 - percentile: the slowest answers of healthy backends use that much.
  double budget_fraction = 0.06;
  /// Hedges per second that are always allowed, whatever the fraction.
  std::uint32_t min_hedges_per_second = 1;
};

namespace detail {

/// A histogram of the latencies of about the last 10 s, with 16 buckets per doubling.
///
/// *Threads* any. *Cost* one atomic addition a sample.
class LatencyHistogram {
 public:
  void add(Duration latency) noexcept { counts_[bucket_of(latency)].add(one); }

  /// The percentile as of the last tick, at most 1/16 too long; 0 while unknown.
  [[nodiscard]] Duration percentile() const noexcept { return Duration{percentile_.load()}; }

  /// Computes the percentile if there are enough samples: ten, on average, on its rarer side.
  void tick(Time now, double part) noexcept {
    auto const enough = std::round(10 / std::min(part, 1 - part));
    double all = 0;
    for (auto const& count : counts_) all += static_cast<double>(count.load());
    all /= one;
    if (all >= enough) percentile_.store(find(part * all));
    auto const elapsed =
        std::chrono::duration<double>{Duration{now.time_since_epoch().count() - ticked_.load()}};
    ticked_.store(now.time_since_epoch().count());
    // Never fade below the number of samples that the next tick needs.
    if (all > enough) fade(std::max(std::exp(-std::abs(elapsed.count()) / 10), enough / all));
  }

 private:
  static constexpr std::size_t finest = 10;        // one bucket for all below 2^9 ns
  static constexpr std::size_t coarsest = 40;      // one bucket from 2^39 ns, 9 minutes
  static constexpr std::uint64_t one = 1U << 16U;  // one sample: it fades in small steps

  static std::size_t bucket_of(Duration latency) noexcept {
    constexpr auto min = Duration::rep{1} << (finest - 1);
    constexpr auto max = (Duration::rep{1} << coarsest) - 1;
    auto const value = static_cast<std::uint64_t>(std::clamp(latency.count(), min, max));
    auto const width = static_cast<std::size_t>(std::bit_width(value));
    return (width - finest) * 16 + (value >> (width - 5)) - 16;
  }
  /// The longest latency that the bucket holds.
  static Duration::rep end_of(std::size_t bucket) noexcept {
    auto const shift = bucket / 16 + finest - 5;
    return static_cast<Duration::rep>(((bucket % 16 + 17) << shift) - 1);
  }

  [[nodiscard]] Duration::rep find(double rank) const noexcept {
    double below = 0;
    for (std::size_t bucket = 0; bucket < counts_.size(); ++bucket) {
      below += static_cast<double>(counts_[bucket].load()) / one;
      if (below >= rank) return end_of(bucket);
    }
    return end_of(counts_.size() - 1);
  }

  void fade(double keep) noexcept {
    for (auto& count : counts_) {
      auto const lost = static_cast<double>(count.load()) * (1 - keep);
      // An addition modulo 2^64, so that a sample added at the same time is not lost.
      count.add(-static_cast<std::uint64_t>(lost));
    }
  }

  std::array<sync::Relaxed<std::uint64_t>, (coarsest - finest + 1) * 16> counts_{};
  sync::Relaxed<Duration::rep> percentile_{0};
  sync::Relaxed<Duration::rep> ticked_{0};
};

/// The options and the measured latencies. Copies share the measurements.
class HedgeTimer {
 public:
  /// *Errors* ConfigError.
  explicit HedgeTimer(HedgeOptions const& options) : options_{options} {
    check(options);
    if (options.percentile) latencies_ = std::make_shared<LatencyHistogram>();
  }

  [[nodiscard]] bool measures() const noexcept { return latencies_ != nullptr; }
  /// How long the first attempt may take before a hedge; 0: no hedge.
  [[nodiscard]] Duration delay() const noexcept {
    auto const measured = latencies_ ? latencies_->percentile() : Duration{};
    if (measured == Duration::zero()) return options_.after;
    auto const percentile = std::max(measured, options_.min_delay);
    return options_.after > Duration::zero() ? std::min(percentile, options_.after) : percentile;
  }

  /// Learns from successes, and from attempts that were cancelled after the delay. Those would have
  /// taken longer still, so the percentile stays right. Without them hedging would hide slow
  /// answers.
  void learn(Finish const& finish) const noexcept {
    if (!latencies_ || !finish.latency) return;
    auto const limit = delay();
    bool const outlasted = finish.outcome.result == Result::cancelled && limit > Duration::zero() &&
                           *finish.latency >= limit;
    if (finish.outcome.result == Result::success || outlasted) latencies_->add(*finish.latency);
  }
  void tick(Time now) const noexcept {
    if (latencies_) latencies_->tick(now, *options_.percentile);
  }

  void hand_over(Handover& handover) const {
    if (latencies_) handover.hand_over(latencies_);
  }
  void take_over(Handover& handover) {
    if (!latencies_) return;
    if (auto known = handover.take<std::shared_ptr<LatencyHistogram>>()) latencies_ = *known;
  }

 private:
  static void check(HedgeOptions const& options) {
    check_not_negative("after of a hedge", options.after, "use 0 for no fixed delay");
    if (options.percentile && !(*options.percentile > 0 && *options.percentile < 1))
      reject_option("percentile of a hedge", in_words(*options.percentile),
                    "use a number above 0 and below 1, such as 0.95");
    check_not_negative("min_delay of a hedge", options.min_delay, "use a duration of 0 or more");
    check_fraction("budget_fraction of a hedge", options.budget_fraction,
                   "use hedges per request, from 0 to 1; 0.06 is usual");
  }

  HedgeOptions options_;
  std::shared_ptr<LatencyHistogram> latencies_{};
};

}  // namespace detail

}  // namespace poise::inline v0_1_0
