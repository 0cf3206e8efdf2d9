// SPDX-License-Identifier: MIT
#pragma once

// "Differs from its peers": a backend that is slower, fails more, rejects more, or gets another
// share of the picks than intended, however long that has been so.
//
// Judged over a window of minutes. Each number is compared with the pool's in the way that fits it:
//
//   latency    logarithm against the median of the others; beyond a gap and beyond 5 times their
//              spread (median absolute deviation). A pool of different machines has a wide spread,
//              so none of them is odd. Needs three others.
//   failures,  fraction against that of all others together, as two proportions: beyond a gap and
//   rejections beyond chance. Needs one other.
//   share      fraction of the picks against the intended one: beyond 5 % of it, and from there on
//              beyond chance. A limit, for policies that are more even than random picks.
//
// Beyond chance: by a likelihood ratio, which holds for few failures too, where standard errors
// would find something in every large pool. The limit corresponds to 5 standard errors for two
// backends and to 6 for 300: the more are judged, the more of them are far off by chance.
//
// Not for changes that are to be seen within seconds: see change.hpp.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
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

/// How far a backend may be from its peers.
struct PeerOptions {
  Duration window = std::chrono::minutes{5};
  double latency_gap = 0.3;    ///< Logarithm: 0.3 is a factor of 1.35.
  double fraction_gap = 0.02;  ///< Of requests that fail or are rejected.
  double share_gap = 0.05;     ///< Of the intended share.
  std::uint64_t volume = 200;  ///< Requests, or picks, in the window: with fewer none is judged.

  /// *Errors* ConfigError.
  void check() const {
    poise::detail::check_positive("window of analysis::PeerOptions", window);
    poise::detail::check_positive("latency_gap of analysis::PeerOptions", latency_gap);
    poise::detail::check_fraction("fraction_gap of analysis::PeerOptions", fraction_gap);
    poise::detail::check_positive("share_gap of analysis::PeerOptions", share_gap);
    poise::detail::check_at_least_one("volume of analysis::PeerOptions", volume);
  }
};

/// In what a backend differs.
enum class Aspect : std::uint8_t { latency, failures, rejections, share };
[[nodiscard]] constexpr std::string_view name(Aspect aspect) noexcept {
  constexpr std::string_view names[]{"latency", "failures", "rejections", "share"};
  return names[static_cast<std::size_t>(aspect)];
}

/// What was found, with its numbers.
struct Difference {
  std::string_view id;  ///< Valid until the next add().
  Aspect aspect{};
  double value = 0;           ///< Seconds, or a fraction.
  double expected = 0;        ///< The same of its peers, or the intended share.
  double deviations = 0;      ///< How sure: in standard deviations of what it was compared with.
  std::uint64_t samples = 0;  ///< Requests or picks behind `value`.
};

namespace detail {

/// How far a fraction is from the expected one: 2 n times this is the square of its standard score
/// where the normal law holds.
[[nodiscard]] inline double divergence(double value, double expected) noexcept {
  auto const part = [](double of, double from) { return of > 0 ? of * std::log(of / from) : 0.0; };
  return part(value, expected) + part(1 - value, 1 - expected);
}

/// The last minutes of one backend, as sums in slots.
class RecentSums {
 public:
  struct Sums {
    double requests = 0;
    double failures = 0;
    double rejected = 0;
    double picks = 0;
    double log_latency = 0;  // by requests with a latency
    double timed = 0;
    double intended = 0;  // share times the pool's picks

    void add(Sums const& other) noexcept {
      requests += other.requests;
      failures += other.failures;
      rejected += other.rejected;
      picks += other.picks;
      log_latency += other.log_latency;
      timed += other.timed;
      intended += other.intended;
    }
  };
  void add(BackendSample const& sample, double pool_picks, Time now, Duration window) {
    auto const slot = window / slots;
    auto const age = [&](Time begin) { return poise::detail::saturating_sub(now, begin); };
    if (slots_.empty() || age(slots_.back().begin) >= slot || now < slots_.back().begin)
      slots_.push_back({now, {}});
    slots_.back().sums.add(sums_of(sample, pool_picks));
    while (slots_.size() > slots || age(slots_.front().begin) >= window) {
      if (slots_.size() == 1) break;
      slots_.pop_front();
    }
  }
  [[nodiscard]] Sums total() const noexcept {
    Sums sums;
    for (auto const& slot : slots_) sums.add(slot.sums);
    return sums;
  }

 private:
  static constexpr std::size_t slots = 30;
  struct Slot {
    Time begin;
    Sums sums;
  };
  static Sums sums_of(BackendSample const& sample, double pool_picks) noexcept {
    Sums sums{static_cast<double>(sample.requests), static_cast<double>(sample.failures),
              static_cast<double>(sample.rejected), static_cast<double>(sample.picks)};
    if (sample.latency > 0 && std::isfinite(sample.latency)) {
      sums.timed = sums.requests;
      sums.log_latency = sums.requests * std::log(sample.latency);
    }
    if (sample.intended_share > 0) sums.intended = sample.intended_share * pool_picks;
    return sums;
  }
  std::deque<Slot> slots_;
};

}  // namespace detail

/// Compares the backends of a pool with each other over the last minutes.
///
/// *Threads* one. *Cost* of add(): O(n log n) for n backends; 2 kB each. Reads no clock.
class PeerComparison {
 public:
  /// *Errors* ConfigError.
  explicit PeerComparison(PeerOptions options = {}) : options_{options} { options_.check(); }

  void add(PoolSample const& pool) {
    members_.sync(pool);
    double picks = 0;
    for (auto const& each : pool.backends) picks += static_cast<double>(each.picks);
    for (std::size_t i = 0; i < pool.backends.size(); ++i)
      members_[i].state.add(pool.backends[i], picks, pool.now, options_.window);
    total();
    differences_.clear();
    compare_latencies();
    compare_fractions(Aspect::failures);
    compare_fractions(Aspect::rejections);
    compare_shares();
  }
  /// Every difference there is now. Valid until the next add().
  [[nodiscard]] std::span<Difference const> differences() const noexcept { return differences_; }

 private:
  using Sums = detail::RecentSums::Sums;
  static constexpr double spread_limit = 5;

  void total() {
    sums_.clear();
    all_ = {};
    for (std::size_t i = 0; i < members_.size(); ++i) {
      sums_.push_back(members_[i].state.total());
      all_.add(sums_.back());
    }
  }
  [[nodiscard]] double volume() const noexcept { return static_cast<double>(options_.volume); }
  /// In standard deviations: what one of the backends reaches by chance in years.
  [[nodiscard]] double chance_limit() const noexcept {
    return std::sqrt(24 + 2 * std::log(static_cast<double>(sums_.size())));
  }

  void compare_latencies() {
    judged_.clear();
    values_.clear();
    for (std::size_t i = 0; i < sums_.size(); ++i)
      if (sums_[i].timed >= volume()) {
        judged_.push_back(i);
        values_.push_back(sums_[i].log_latency / sums_[i].timed);
      }
    if (values_.size() < 4) return;
    medians_.assign(values_);
    for (std::size_t k = 0; k < judged_.size(); ++k) {
      auto const excess = values_[k] - medians_[k];
      if (excess <= options_.latency_gap) continue;
      auto const sigma = std::max(spread_without(k), 0.02);
      if (excess > spread_limit * sigma)
        add_difference(judged_[k], Aspect::latency, std::exp(values_[k]), std::exp(medians_[k]),
                       excess / sigma, sums_[judged_[k]].timed);
    }
  }
  [[nodiscard]] double spread_without(std::size_t k) {
    distances_.clear();
    for (std::size_t i = 0; i < values_.size(); ++i)
      if (i != k) distances_.push_back(std::abs(values_[i] - medians_[k]));
    return mad_to_sigma * median(distances_);
  }

  /// Two proportions against what both have together.
  void compare_fractions(Aspect aspect) {
    auto const counts = [aspect](Sums const& sums) {
      return aspect == Aspect::failures ? std::pair{sums.failures, sums.requests}
                                        : std::pair{sums.rejected, sums.requests + sums.rejected};
    };
    auto const [all_bad, all] = counts(all_);
    for (std::size_t i = 0; i < sums_.size(); ++i) {
      auto const [bad, count] = counts(sums_[i]);
      auto const others = all - count;
      if (count < volume() || others < volume()) continue;
      auto const value = bad / count;
      auto const expected = (all_bad - bad) / others;
      if (value - expected <= options_.fraction_gap) continue;
      auto const both = all_bad / all;
      auto const deviations = std::sqrt(2 * (count * detail::divergence(value, both) +
                                             others * detail::divergence(expected, both)));
      if (deviations > chance_limit())
        add_difference(i, aspect, value, expected, deviations, count);
    }
  }
  void compare_shares() {
    if (all_.picks < volume()) return;
    for (std::size_t i = 0; i < sums_.size(); ++i) {
      auto const intended = std::min(1.0, sums_[i].intended / all_.picks);
      if (!(intended > 0)) continue;
      auto const value = sums_[i].picks / all_.picks;
      auto const gap = options_.share_gap * intended;
      auto const nearest = std::clamp(value, intended - gap, std::min(1.0, intended + gap));
      auto const deviations = std::sqrt(2 * all_.picks * detail::divergence(value, nearest));
      if (deviations > chance_limit())
        add_difference(i, Aspect::share, value, intended, deviations, sums_[i].picks);
    }
  }
  void add_difference(std::size_t i, Aspect aspect, double value, double expected,
                      double deviations, double samples) {
    differences_.push_back(
        {members_[i].id, aspect, value, expected, deviations, static_cast<std::uint64_t>(samples)});
  }

  PeerOptions options_;
  detail::Members<detail::RecentSums> members_;
  std::vector<Sums> sums_;
  Sums all_;
  MediansOfOthers medians_;
  std::vector<std::size_t> judged_;  // indexes of backends with enough latencies
  std::vector<double> values_;       // theirs
  std::vector<double> distances_;
  std::vector<Difference> differences_;
};

}  // namespace poise::inline v0_1_0::analysis
