// SPDX-License-Identifier: MIT
#pragma once

// When a second attempt is started beside the first: after a fixed time, or as soon as the first
// takes longer than most do. An option of Retry: {.hedge = {.percentile = 0.95}}.
//
// Use it against a few slow answers among many fast ones, where repeating a request does no harm
// and backends have room for some more load. Not against backends that are slow because they are
// overloaded: the share ends that, but spends itself first.
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

#include <poise/error.hpp>
#include <poise/outcome.hpp>
#include <poise/policy.hpp>
#include <poise/sync/relaxed.hpp>
#include <poise/time.hpp>

namespace poise {

/// Without a time and a percentile nothing is hedged. With both the earlier of the two counts, and
/// the time alone while too few latencies are known.
struct HedgeOptions {
  Duration after{};  ///< 0: no fixed time.
  /// Of all attempts, this part is answered before a second one starts: above 0, below 1. Needs
  /// tick(), and clock reads at each pick and end.
  std::optional<double> percentile{};
  Duration least = std::chrono::milliseconds{1};  ///< What a percentile counts as, at least.
  /// Hedges per request, within each second, beside the retries. Keep it above 1 - percentile: so
  /// much the slowest answers of healthy backends use up.
  double share = 0.06;
  std::uint32_t floor = 1;  ///< So many hedges a second are allowed whatever the share.
};

namespace detail {

/// Latencies of the last 10 s or so, as a histogram with 16 buckets for each doubling.
///
/// *Threads* any. *Cost* one atomic addition a sample.
class LatencyHistogram {
 public:
  void add(Duration latency) noexcept { counts_[bucket_of(latency)].add(one); }

  /// The percentile as of the last tick, at most 1/16 too long; 0 while it is not known.
  [[nodiscard]] Duration percentile() const noexcept { return Duration{percentile_.load()}; }

  /// Finds the percentile, if there are samples enough: ten, in the mean, on its rarer side.
  void tick(Time now, double part) noexcept {
    auto const enough = std::round(10 / std::min(part, 1 - part));
    double all = 0;
    for (auto const& count : counts_) all += static_cast<double>(count.load());
    all /= one;
    if (all >= enough) percentile_.store(find(part * all));
    auto const elapsed =
        std::chrono::duration<double>{Duration{now.time_since_epoch().count() - ticked_.load()}};
    ticked_.store(now.time_since_epoch().count());
    // So few that the next tick would not know any more are kept for longer.
    if (all > enough) fade(std::max(std::exp(-std::abs(elapsed.count()) / 10), enough / all));
  }

 private:
  static constexpr std::size_t finest = 10;        // below 2^9 ns all are one
  static constexpr std::size_t coarsest = 40;      // from 2^39 ns, 9 minutes, too
  static constexpr std::uint64_t one = 1U << 16U;  // a sample, so that it fades in small steps

  static std::size_t bucket_of(Duration latency) noexcept {
    constexpr auto least = Duration::rep{1} << (finest - 1);
    constexpr auto most = (Duration::rep{1} << coarsest) - 1;
    auto const value = static_cast<std::uint64_t>(std::clamp(latency.count(), least, most));
    auto const width = static_cast<std::size_t>(std::bit_width(value));
    return (width - finest) * 16 + (value >> (width - 5)) - 16;
  }
  /// The longest latency that falls into it.
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
      // Modulo 2^64, so that no sample added meanwhile is lost.
      count.add(-static_cast<std::uint64_t>(lost));
    }
  }

  std::array<sync::Relaxed<std::uint64_t>, (coarsest - finest + 1) * 16> counts_{};
  sync::Relaxed<Duration::rep> percentile_{0};
  sync::Relaxed<Duration::rep> ticked_{0};
};

/// The options, and what was measured for them. Copies measure together.
class HedgeTimer {
 public:
  /// *Errors* ConfigError.
  explicit HedgeTimer(HedgeOptions const& options) : options_{options} {
    check(options);
    if (options.percentile) latencies_ = std::make_shared<LatencyHistogram>();
  }

  [[nodiscard]] bool measures() const noexcept { return latencies_ != nullptr; }
  /// How long the first attempt may take; 0: for ever, nothing is hedged now.
  [[nodiscard]] Duration delay() const noexcept {
    auto const measured = latencies_ ? latencies_->percentile() : Duration{};
    if (measured == Duration::zero()) return options_.after;
    auto const percentile = std::max(measured, options_.least);
    return options_.after > Duration::zero() ? std::min(percentile, options_.after) : percentile;
  }

  /// Learns from successes; and from what was given up after the delay, which would have taken
  /// longer still: that leaves the percentile right. Without it hedging would hide what it is for.
  void learn(Finish const& finish) const noexcept {
    if (!latencies_ || !finish.latency) return;
    auto const limit = delay();
    bool const outlasted = finish.outcome.ending == Ending::cancelled && limit > Duration::zero() &&
                           *finish.latency >= limit;
    if (finish.outcome.ending == Ending::success || outlasted) latencies_->add(*finish.latency);
  }
  void tick(Time now) const noexcept {
    if (latencies_) latencies_->tick(now, *options_.percentile);
  }

  void leave(Legacy& legacy) const {
    if (latencies_) legacy.leave(latencies_);
  }
  void inherit(Legacy& legacy) {
    if (!latencies_) return;
    if (auto known = legacy.take<std::shared_ptr<LatencyHistogram>>()) latencies_ = *known;
  }

 private:
  static void check(HedgeOptions const& options) {
    auto const ns = [](Duration time) { return std::to_string(time.count()) + " ns"; };
    if (options.after < Duration::zero())
      throw ConfigError{"after of a hedge is " + ns(options.after) +
                        ": it can't be negative; 0 stands for no fixed time"};
    if (options.percentile && !(*options.percentile > 0 && *options.percentile < 1))
      throw ConfigError{"percentile of a hedge is " + std::to_string(*options.percentile) +
                        ": it must be above 0 and below 1, such as 0.95"};
    if (options.least < Duration::zero())
      throw ConfigError{"least delay of a hedge is " + ns(options.least) +
                        ": it can't be negative"};
    if (!(options.share >= 0 && options.share <= 1))
      throw ConfigError{"share of a hedge is " + std::to_string(options.share) +
                        ": it must be from 0 to 1, hedges per request; 0.06 is usual"};
  }

  HedgeOptions options_;
  std::shared_ptr<LatencyHistogram> latencies_{};
};

}  // namespace detail

}  // namespace poise
