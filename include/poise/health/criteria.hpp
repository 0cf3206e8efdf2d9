// SPDX-License-Identifier: MIT
#pragma once

// Criteria find faults of backends in their results; a Monitor lists them.
//
// A criterion of your own is a small struct. It may have either hook, or both:
//
//   State                                per-backend data, zero at first
//   on_finish(Finished const&, State&)   after each request whose result is a verdict; on any
//                                        thread, so State holds sync::Relaxed numbers. Returns
//                                        std::optional<Finding>, which takes effect at once, unless
//                                        the whole pool fails together.
//   on_interval(span<Subject<State>>)    at the end of each interval, on one thread: compares the
//                                        pool, sets finding
//   reset(State&)                        the backend came back: forget what was counted
//   check()                              throws ConfigError
//
//   name                                 for messages
//   enforcement                          a member: the consequence
//
//   struct Resets {
//     static constexpr std::string_view name = "resets";
//     poise::health::Enforcement enforcement{};
//     void on_interval(std::span<poise::health::Subject<>> pool) const {
//       for (auto& each : pool)
//         if (auto const n = each.tally.ended(poise::Result::reset); n > 3)
//           each.finding = poise::health::Finding{double(n), 3};
//     }
//   };

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <poise/backend.hpp>
#include <poise/health/options.hpp>
#include <poise/observer.hpp>
#include <poise/outcome.hpp>
#include <poise/policy.hpp>
#include <poise/sync/relaxed.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::health {

/// The consequence of a finding, with this probability; otherwise it is only logged.
struct Enforcement {
  double probability = 1;  ///< 0: detect only.
  bool degrade = false;    ///< Less traffic instead of none.
};

/// What was found, and what it was compared with.
struct Finding {
  double value = 0;
  double limit = 0;
  bool unreachable = false;  ///< No connection: Ejection::unreachable instead of base.
  bool rejecting = false;    ///< It rejects requests: a trial request that it rejects has failed.
};

/// The results of an interval, counted.
struct Tally {
  std::array<std::uint64_t, result_count> results{};

  [[nodiscard]] std::uint64_t ended(Result result) const noexcept {
    return results[static_cast<std::size_t>(result)];
  }
  [[nodiscard]] std::uint64_t failures() const noexcept {
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < result_count; ++i)
      if (is_failure(static_cast<Result>(i))) sum += results[i];
    return sum;
  }
  /// Verdicts: results that say something about the backend.
  [[nodiscard]] std::uint64_t volume() const noexcept {
    return failures() + ended(Result::success);
  }
  /// Verdicts and rejections: the requests that the backend answered, or should have.
  [[nodiscard]] std::uint64_t asked() const noexcept { return volume() + ended(Result::rejected); }
  [[nodiscard]] double failure_rate() const noexcept {
    auto const all = volume();
    return all == 0 ? 0 : static_cast<double>(failures()) / static_cast<double>(all);
  }

  /// Everything so far. Reads what the backend counts anyway, so criteria cost requests nothing.
  static Tally of(Backend const& backend) {
    Tally tally;
    auto others = std::uint64_t{backend.in_flight()};
    for (std::size_t i = 1; i < result_count; ++i)
      others += tally.results[i] = backend.ended(static_cast<Result>(i));
    auto const total = backend.total();
    tally.results[0] = total > others ? total - others : 0;
    return tally;
  }
  /// The difference. Never below 0: the numbers are not of one moment.
  [[nodiscard]] Tally since(Tally const& before) const noexcept {
    Tally result;
    for (std::size_t i = 0; i < result_count; ++i)
      result.results[i] = results[i] - std::min(results[i], before.results[i]);
    return result;
  }
};

/// A backend in service, one of the pool that on_interval compares.
template <class State = hooks::NoState>
struct Subject {
  Backend const& backend;
  State& state;
  Tally tally;
  std::optional<Finding> finding{};
};

/// Several failures in a row. The only criterion that acts between intervals.
///
/// Two runs are counted. One of failures of any kind ends with a success; one of requests that
/// could not connect ends with a success or another failure. A failure that began before the last
/// success ended does not count: it says nothing about the backend now.
struct Consecutive {
  static constexpr std::string_view name = "consecutive failures";
  std::uint32_t failures = 5;
  std::uint32_t unreachable = 1;  ///< Failures to connect: the next request would fail too.
  Enforcement enforcement{};

  struct State {
    sync::Relaxed<std::uint32_t> run{};
    sync::Relaxed<std::uint32_t> unreachable_run{};
    sync::Relaxed<std::int64_t> recovered_at{std::numeric_limits<std::int64_t>::min()};
  };
  /// *Cost* of a success: one load. Finds at each multiple, so a backend that could not be ejected
  /// is found again.
  [[nodiscard, gnu::always_inline]] std::optional<Finding> on_finish(Finished const& event,
                                                                     State& state) const {
    if (event.outcome.result != Result::success) [[unlikely]]
      return count(event.outcome.result, is_stale(event, state), state);
    if (state.run.load() != 0) [[unlikely]] {
      state.recovered_at.store(event.now.time_since_epoch().count());
      reset(state);
    }
    return {};
  }
  void reset(State& state) const {
    state.run.store(0);
    state.unreachable_run.store(0);
  }
  void check() const {
    poise::detail::check_at_least_one("failures of health::Consecutive", failures);
    poise::detail::check_at_least_one("unreachable of health::Consecutive", unreachable);
  }

 private:
  /// Did it begin before the last success ended? A clock that was set back makes none stale.
  static bool is_stale(Finished const& event, State const& state) noexcept {
    auto const recovered = state.recovered_at.load();
    auto const now = event.now.time_since_epoch().count();
    auto const latency = event.latency.value_or(Duration::zero()).count();
    return now >= recovered && now - latency < recovered;
  }
  [[nodiscard, gnu::noinline, gnu::cold]] std::optional<Finding> count(Result result, bool stale,
                                                                       State& state) const {
    if (stale) return {};
    auto const run = state.run.add(1) + 1;
    std::uint32_t unreached = 0;
    if (result == Result::refused || result == Result::connect_timeout)
      unreached = state.unreachable_run.add(1) + 1;
    else state.unreachable_run.store(0);
    // A run that also has other failures is judged as failures: that ejection is longer.
    bool const all_unreached = unreached == run;
    if (run % failures == 0 && !all_unreached)
      return Finding{static_cast<double>(run), static_cast<double>(failures)};
    if (unreached != 0 && unreached % unreachable == 0)
      return Finding{static_cast<double>(unreached), static_cast<double>(unreachable), true};
    if (run % failures == 0)
      return Finding{static_cast<double>(run), static_cast<double>(failures), true};
    return {};
  }
};

/// Too many of an interval's requests failed, and not at every backend.
struct FailureRate {
  static constexpr std::string_view name = "failure rate";
  double limit = 0.85;
  std::uint64_t volume = 20;
  std::size_t backends = 2;  ///< In service; with fewer none is judged.
  Enforcement enforcement{};

  void on_interval(std::span<Subject<>> pool) const {
    if (pool.size() < backends) return;
    std::size_t judged = 0;
    std::size_t over = 0;
    for (auto& each : pool) {
      if (each.tally.volume() < volume) continue;
      ++judged;
      if (each.tally.failure_rate() < limit) continue;
      ++over;
      each.finding = Finding{each.tally.failure_rate(), limit};
    }
    if (judged < 2 || over < judged) return;
    for (auto& each : pool) each.finding.reset();  // what they share has failed: the network, say
  }
  void check() const {
    poise::detail::check_fraction("limit of health::FailureRate", limit);
    poise::detail::check_positive("limit of health::FailureRate", limit);
    poise::detail::check_at_least_one("volume of health::FailureRate", volume);
  }
};

/// A fraction of rejected requests far above that of all other backends together.
///
/// One rejection is the caller's fault. A backend that rejects what others accept is at fault
/// itself: a wrong deployment, a lost configuration. Only detected by default: one caller that
/// always goes to the same backend may be wrong by itself.
struct Rejections {
  static constexpr std::string_view name = "rejections";
  double gap = 0.5;           ///< Above the fraction that the others reject.
  std::uint64_t volume = 20;  ///< Requests of the backend, and of the others together.
  Enforcement enforcement{.probability = 0};

  void on_interval(std::span<Subject<>> pool) const {
    std::uint64_t asked = 0;
    std::uint64_t rejected = 0;
    for (auto const& each : pool) {
      asked += each.tally.asked();
      rejected += each.tally.ended(Result::rejected);
    }
    for (auto& each : pool) {
      auto const own = each.tally.ended(Result::rejected);
      auto const others = asked - each.tally.asked();
      if (each.tally.asked() < volume || others < volume) continue;
      auto const limit = fraction(rejected - own, others) + gap;
      auto const value = fraction(own, each.tally.asked());
      if (value >= limit) each.finding = Finding{value, limit, false, true};
    }
  }
  void check() const {
    poise::detail::check_fraction("gap of health::Rejections", gap);
    poise::detail::check_positive("gap of health::Rejections", gap);
    poise::detail::check_at_least_one("volume of health::Rejections", volume);
  }

 private:
  static double fraction(std::uint64_t part, std::uint64_t whole) noexcept {
    return static_cast<double>(part) / static_cast<double>(whole);
  }
};

/// Success rates far below the pool's: less than mean - deviations * stdev (of the population).
///
/// Of n backends none can lie further than sqrt(n - 1) deviations from the mean, so 1.9 needs five.
/// In a pool where all is well the deviation is tiny, and some backend is always 1.9 below:
/// therefore an absolute gap is required too. *Source* Envoy and gRPC A50, which have no such gap.
struct SuccessRate {
  static constexpr std::string_view name = "success rate";
  double deviations = 1.9;
  double gap = 0.05;
  std::uint64_t volume = 100;
  std::size_t backends = 5;
  Enforcement enforcement{};

  void on_interval(std::span<Subject<>> pool) const {
    std::vector<Subject<>*> judged;
    double sum = 0;
    for (auto& each : pool)
      if (each.tally.volume() >= volume) {
        judged.push_back(&each);
        sum += rate(each);
      }
    if (judged.size() < std::max(backends, std::size_t{1})) return;
    auto const limit = this->limit(judged, sum / static_cast<double>(judged.size()));
    for (auto* each : judged)
      if (rate(*each) < limit) each->finding = Finding{rate(*each), limit};
  }
  void check() const {
    poise::detail::check_positive("deviations of health::SuccessRate", deviations);
    poise::detail::check_fraction("gap of health::SuccessRate", gap);
    poise::detail::check_at_least_one("volume of health::SuccessRate", volume);
  }

 private:
  static double rate(Subject<> const& subject) { return 1 - subject.tally.failure_rate(); }
  [[nodiscard]] double limit(std::vector<Subject<>*> const& judged, double mean) const {
    double squares = 0;
    for (auto const* each : judged) squares += (rate(*each) - mean) * (rate(*each) - mean);
    auto const stdev = std::sqrt(squares / static_cast<double>(judged.size()));
    return mean - std::max(deviations * stdev, gap);
  }
};

/// A median latency far above the others', for several intervals in a row.
///
/// Compared with the median of the *other* backends' medians, so it works with two backends. Only
/// detected by default: a slow backend may be far away, or its requests may be harder. Degrading is
/// milder than ejecting.
struct Latency {
  static constexpr std::string_view name = "latency";
  double factor = 3;
  Duration min = std::chrono::milliseconds{1};  ///< No backend is slow below this.
  std::uint32_t intervals = 2;
  std::uint64_t volume = 20;
  Enforcement enforcement{.probability = 0};

  struct State {
    sync::Relaxed<std::int64_t> median{-1};  // ns; -1: no sample yet
    std::uint32_t slow_intervals = 0;
  };
  /// A step up or down by 1/16 per sample, in proportion: converges where half of them are above. A
  /// failure counts only if it was slower: failing fast is not being fast. *Cost* a load and a
  /// store. *Source* Ma, Muthukrishnan and Sandler 2013, "Frugal streaming".
  [[nodiscard, gnu::always_inline]] std::optional<Finding> on_finish(Finished const& event,
                                                                     State& state) const {
    if (!event.latency) return {};
    auto const sample = event.latency->count();
    auto const median = state.median.load();
    bool const slower = sample > median;
    if (event.outcome.result != Result::success && (!slower || median < 0)) return {};
    if (median < 0) [[unlikely]]
      return state.median.store(sample), std::nullopt;
    // Half of all samples are slower, so a branch would be mispredicted every other time; and what
    // is stored is waited for at the request's end, so these are whole numbers: their chain is a
    // third of floats'. Up by 17/16, down by 16/17, but for rounding; at least 1 ns, else a median
    // of 0 could never grow again.
    auto const step = median / 16;
    auto const up = step + 1;
    auto const down = step - step / 16;
    state.median.store(median + (slower ? up : -down));
    return {};
  }
  void on_interval(std::span<Subject<State>> pool) const {
    std::vector<std::int64_t> medians;
    for (auto const& each : pool)
      if (counts(each)) medians.push_back(each.state.median.load());
    std::ranges::sort(medians);
    bool const judged = medians.size() >= 2;
    auto const limit = judged ? this->limit(medians) : 0;
    for (auto& each : pool) {
      auto const own = static_cast<double>(each.state.median.load());
      bool const slow = judged && counts(each) && own > limit;
      each.state.slow_intervals = slow ? each.state.slow_intervals + 1 : 0;
      if (each.state.slow_intervals >= intervals) each.finding = Finding{own / 1e6, limit / 1e6};
    }
  }
  void reset(State& state) const {
    state.median.store(-1);
    state.slow_intervals = 0;
  }
  void check() const {
    poise::detail::check_positive("factor of health::Latency", factor);
    poise::detail::check_at_least_one("intervals of health::Latency", intervals);
    if (min < Duration::zero())
      poise::detail::reject_option("min of health::Latency", poise::detail::in_words(min),
                                   "use 0 or a longer duration");
  }

 private:
  [[nodiscard]] bool counts(Subject<State> const& subject) const {
    return subject.tally.volume() >= volume && subject.state.median.load() >= 0;
  }
  /// `factor` times the median of these, which are sorted, without the greatest one. For a backend
  /// that lies above it, this is the median of the others: leaving it out moves only what follows.
  [[nodiscard]] double limit(std::vector<std::int64_t> const& sorted) const {
    auto const others = sorted.size() - 1;
    auto const median =
        (static_cast<double>(sorted[(others - 1) / 2]) + static_cast<double>(sorted[others / 2])) /
        2;
    return std::max(factor * median, static_cast<double>(min.count()));
  }
};

}  // namespace poise::inline v0_1_0::health
