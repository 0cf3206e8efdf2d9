// SPDX-License-Identifier: MIT
#pragma once

// "Changed just now": a backend whose latency left its own normal while its peers stayed.
//
// Works on logarithms, so a factor is a difference at any level. The detector keeps what is normal
// for each backend, relative to the pool. What all backends do together (a daily wave, a slow
// dependency) cancels out:
//
//   r = log latency - normal - median of the same over the other backends
//   S = max(0, S + clip(r - allowance, +- 3 sigma))        a one-sided CUSUM
//
// S fires at 26 sigma and clears at a quarter of that. The clip keeps spikes of a few seconds below
// the threshold. The allowance is half the gap. It is more in a series that wanders by itself.
//
// With one or two backends peers decide nothing. Those are compared with their own last ten
// minutes, as is the pool as a whole.
//
// Not for backends that were always slow: see peers.hpp.
// docs/design/analysis.md has the measurements behind each constant.
//
// Source: Page 1954, "Continuous inspection schemes".

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/analysis/members.hpp>
#include <poise/analysis/robust.hpp>
#include <poise/analysis/sample.hpp>
#include <poise/base/check.hpp>
#include <poise/base/saturating.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::analysis {

/// What a ChangeDetector takes for a change.
struct ChangeOptions {
  double gap = 0.3;           ///< Of logarithms: 0.3 is a factor of 1.35. The only number to tune.
  std::uint64_t volume = 20;  ///< Intervals are merged until they have this many requests.
  Duration warm_up = std::chrono::minutes{5};  ///< The age at which a backend is first judged.
  Duration memory = std::chrono::hours{1};     ///< Of what is normal.
  Duration accept = std::chrono::hours{1};     ///< A change that lasts this long is the new normal.

  /// *Errors* ConfigError.
  void check() const {
    poise::detail::check_positive("gap of analysis::ChangeOptions", gap);
    poise::detail::check_at_least_one("volume of analysis::ChangeOptions", volume);
    poise::detail::check_positive("warm_up of analysis::ChangeOptions", warm_up);
    poise::detail::check_at_least("memory of analysis::ChangeOptions", memory, warm_up,
                                  "use at least warm_up");
    poise::detail::check_positive("accept of analysis::ChangeOptions", accept);
  }
};

/// A change that was found and has not ended.
struct Change {
  std::string_view id;  ///< Empty: the pool as a whole. Valid until the next add().
  Time since{};         ///< When it was found.
  double ratio = 1;     ///< Latency now against normal. For a backend, relative to its peers.
  double latency = 0;   ///< Seconds, now.
};

namespace detail {

/// The CUSUM of one backend.
class PeerCusum {
 public:
  /// @param deviation log latency minus the pool's
  void add(double deviation, Time now, Duration step, ChangeOptions const& options) {
    auto const seconds = std::clamp(seconds_of(step), 0.1, 60.0);
    if (age_ == 0) normal_ = deviation;
    age_ += seconds;
    auto const r = deviation - normal_;
    recent_ += (r - recent_) * std::min(1.0, seconds / recent_seconds);
    if (sum_ < threshold() / 4)
      wander_ += std::clamp(r - wander_, -clip(), clip()) * std::min(1.0, seconds / wander_seconds);
    if (age_ >= seconds_of(options.warm_up)) judge(r, now, options);
    if (!since_) learn(r, seconds, seconds_of(options.memory));
    else if (poise::detail::saturating_sub(now, *since_) >= options.accept) accept();
  }
  [[nodiscard]] double normal() const noexcept { return normal_; }
  [[nodiscard]] std::optional<Time> since() const noexcept { return since_; }
  [[nodiscard]] double ratio() const noexcept { return std::exp(recent_); }

 private:
  static constexpr double recent_seconds = 30;   // two thirds of what a change of the gap takes
  static constexpr double wander_seconds = 120;  // twice the drift's time
  static constexpr double wander_fraction = 0.7;
  static constexpr double clip_sigmas = 3;
  static constexpr double threshold_sigmas = 26;
  static constexpr double recent_sigmas = 3.6;
  static constexpr double mean_to_sigma = 1.2533;  // E|x| of a normal x: sqrt(pi / 2)

  [[nodiscard]] double sigma() const noexcept { return std::max(0.02, mean_to_sigma * spread_); }
  [[nodiscard]] double clip() const noexcept { return clip_sigmas * sigma(); }
  [[nodiscard]] double threshold() const noexcept { return threshold_sigmas * sigma(); }
  /// Half the gap; more where minutes differ from each other anyway, and where the backend has
  /// been above its normal for minutes.
  [[nodiscard]] double allowance(ChangeOptions const& options) const noexcept {
    return std::max(options.gap / 2, recent_sigmas * mean_to_sigma * recent_spread_) +
           wander_fraction * std::max(0.0, wander_);
  }
  void judge(double r, Time now, ChangeOptions const& options) {
    auto const excess = std::clamp(r - allowance(options), -clip(), clip());
    sum_ = std::clamp(sum_ + excess, 0.0, 1.5 * threshold());
    if (!since_ && sum_ >= threshold()) since_ = now;
    else if (since_ && sum_ <= threshold() / 4) since_.reset();
  }
  /// Means of all samples, which decay once they are as old as the memory. Outliers are clipped.
  void learn(double r, double seconds, double memory) {
    auto const part = seconds / std::clamp(age_, seconds, memory);
    auto const limit = age_ < recent_seconds ? std::numeric_limits<double>::max() : clip();
    normal_ += part * std::clamp(r, -limit, limit);
    spread_ += part * (std::min(std::abs(r), limit) - spread_);
    if (age_ < 2 * recent_seconds) return;
    auto const recent = std::min(std::abs(recent_), std::max(0.01, 4 * recent_spread_));
    recent_spread_ += part * (recent - recent_spread_);
  }
  void accept() {
    normal_ += recent_;
    recent_ = wander_ = sum_ = 0;
    since_.reset();
  }

  double normal_ = 0;
  double spread_ = 0;         // mean of |r|
  double recent_ = 0;         // r, smoothed
  double recent_spread_ = 0;  // mean of |recent|
  double wander_ = 0;         // r, smoothed over minutes; stands still while S rises
  double sum_ = 0;            // S
  double age_ = 0;            // seconds
  std::optional<Time> since_;
};

/// The last 20 samples against the last 600: the same for a single series.
class OwnPast {
 public:
  void add(double log_latency, Time now, ChangeOptions const& options) {
    if (ring_.size() < long_window) ring_.push_back(log_latency);
    else ring_[next_ % long_window] = log_latency;
    ++next_;
    if (ring_.size() < long_window / 2) return;
    difference_ = median_of_last(short_window) - median_of_last(ring_.size());
    if (!since_ && difference_ > options.gap) since_ = now;
    else if (since_ && difference_ < options.gap / 2) since_.reset();
  }
  [[nodiscard]] std::optional<Time> since() const noexcept { return since_; }
  [[nodiscard]] double ratio() const noexcept { return std::exp(difference_); }

 private:
  static constexpr std::size_t short_window = 20;
  static constexpr std::size_t long_window = 600;

  [[nodiscard]] double median_of_last(std::size_t count) {
    scratch_.clear();
    for (std::size_t i = 0; i < count; ++i)
      scratch_.push_back(ring_[(next_ - 1 - i) % long_window]);
    return median(scratch_);
  }

  std::vector<double> ring_;
  std::vector<double> scratch_;
  std::size_t next_ = 0;
  double difference_ = 0;
  std::optional<Time> since_;
};

/// What is kept of one backend.
struct ChangeState {
  LatencyMerger merger;
  PeerCusum peers;
  OwnPast own;
};

}  // namespace detail

/// Finds changes of latency in a pool. Give it each interval's sample, once a second or so.
///
/// *Threads* one. *Cost* of add(): O(n log n) for n backends, 10 us for 100; 5 kB for each backend
/// in a pool of one or two, 200 B for each in a larger one. Reads no clock.
class ChangeDetector {
 public:
  /// *Errors* ConfigError.
  explicit ChangeDetector(ChangeOptions options = {}) : options_{options} { options_.check(); }

  void add(PoolSample const& pool) {
    auto const now = pool.now;
    members_.sync(pool);
    fresh_.clear();
    deviations_.clear();
    for (std::size_t i = 0; i < pool.backends.size(); ++i) {
      auto& state = members_[i].state;
      state.merger.add(pool.backends[i], now, options_.volume);
      if (!state.merger.known(now)) continue;
      fresh_.push_back(i);
      deviations_.push_back(state.merger.latest() - state.peers.normal());
    }
    if (deviations_.size() >= min_pool) compare(now);
    else
      for (auto const i : fresh_) add_to_own(i, now);
    report();
  }
  /// The changes in progress, the pool's first. Valid until the next add().
  [[nodiscard]] std::span<Change const> changes() const noexcept { return changes_; }

 private:
  static constexpr std::size_t min_pool = 3;

  void compare(Time now) {
    medians_.assign(deviations_);
    for (std::size_t k = 0; k < fresh_.size(); ++k) {
      auto& [id, state] = members_[fresh_[k]];
      if (!state.merger.is_new(now)) continue;
      state.peers.add(state.merger.latest() - medians_[k], now, state.merger.step(), options_);
    }
    whole_.add(median(deviations_), now, options_);
  }
  void add_to_own(std::size_t i, Time now) {
    auto& state = members_[i].state;
    if (state.merger.is_new(now)) state.own.add(state.merger.latest(), now, options_);
  }
  void report() {
    changes_.clear();
    bool const by_peers = fresh_.size() >= min_pool;
    if (auto const since = whole_.since(); by_peers && since)
      changes_.push_back({{}, *since, whole_.ratio(), typical()});
    for (auto const i : fresh_) {
      auto const& [id, state] = members_[i];
      auto const since = by_peers ? state.peers.since() : state.own.since();
      if (!since) continue;
      auto const ratio = by_peers ? state.peers.ratio() : state.own.ratio();
      changes_.push_back({id, *since, ratio, std::exp(state.merger.latest())});
    }
  }
  /// The pool's latency in seconds: the median of what is known, also in a sample without traffic.
  [[nodiscard]] double typical() {
    deviations_.clear();
    for (auto const i : fresh_) deviations_.push_back(members_[i].state.merger.latest());
    return std::exp(median(deviations_));
  }

  ChangeOptions options_;
  detail::Members<detail::ChangeState> members_;
  detail::OwnPast whole_;
  MediansOfOthers medians_;
  std::vector<std::size_t> fresh_;  // indexes of backends whose latency is known
  std::vector<double> deviations_;  // theirs
  std::vector<Change> changes_;
};

}  // namespace poise::inline v0_1_0::analysis
