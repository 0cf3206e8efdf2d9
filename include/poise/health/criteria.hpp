// SPDX-License-Identifier: MIT
#pragma once

// What speaks against a backend: criteria over the stream of outcomes, to be listed in a Monitor.
//
// One of your own is a small struct. It may have either hook, or both:
//
//   State                                per-backend data, zero at first
//   on_finish(Finished const&, State&)   after each request that says anything; on any thread, so
//                                        State holds sync::Relaxed numbers. Returns
//                                        std::optional<Finding>: acted upon at once.
//   on_interval(span<Subject<State>>)    at the end of each interval, one thread: compares the
//                                        pool, sets finding
//   reset(State&)                        the backend came back: start counting anew
//   check()                              throws ConfigError
//
//   name                                 for messages
//   enforcement                          a member: what comes of it
//
//   struct Resets {
//     static constexpr std::string_view name = "resets";
//     poise::health::Enforcement enforcement{};
//     void on_interval(std::span<poise::health::Subject<>> pool) const {
//       for (auto& each : pool)
//         if (auto const n = each.tally.ended(poise::Ending::reset); n > 3)
//           each.finding = poise::health::Finding{double(n), 3};
//     }
//   };

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <poise/backend.hpp>
#include <poise/health/options.hpp>
#include <poise/outcome.hpp>
#include <poise/policy.hpp>
#include <poise/runtime.hpp>
#include <poise/sync/relaxed.hpp>
#include <poise/time.hpp>

namespace poise::health {

/// What follows from a finding: for this share of them; the rest is only noted.
struct Enforcement {
  double share = 1;      ///< 0: detect only.
  bool degrade = false;  ///< Less traffic instead of none.
};

/// What was found, and what it was compared with.
struct Finding {
  double value = 0;
  double limit = 0;
  bool unreachable = false;  ///< No connection: Ejection::unreachable instead of base.
};

/// What ended during an interval.
struct Tally {
  std::array<std::uint64_t, ending_count> endings{};

  [[nodiscard]] std::uint64_t ended(Ending ending) const noexcept {
    return endings[static_cast<std::size_t>(ending)];
  }
  [[nodiscard]] std::uint64_t failures() const noexcept {
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < ending_count; ++i)
      if (is_failure(static_cast<Ending>(i))) sum += endings[i];
    return sum;
  }
  /// Those that say anything about the backend.
  [[nodiscard]] std::uint64_t volume() const noexcept {
    return failures() + ended(Ending::success);
  }
  [[nodiscard]] double failure_share() const noexcept {
    auto const all = volume();
    return all == 0 ? 0 : static_cast<double>(failures()) / static_cast<double>(all);
  }

  /// Everything so far. Reads what the backend counts anyway, so criteria cost requests nothing.
  static Tally of(Backend const& backend) {
    Tally tally;
    auto others = std::uint64_t{backend.in_flight()};
    for (std::size_t i = 1; i < ending_count; ++i)
      others += tally.endings[i] = backend.ended(static_cast<Ending>(i));
    auto const total = backend.total();
    tally.endings[0] = total > others ? total - others : 0;
    return tally;
  }
  /// The difference. Never below 0: the numbers are not of one moment.
  [[nodiscard]] Tally since(Tally const& before) const noexcept {
    Tally result;
    for (std::size_t i = 0; i < ending_count; ++i)
      result.endings[i] = endings[i] - std::min(endings[i], before.endings[i]);
    return result;
  }
};

/// A backend in the pool that on_interval compares: those that are in service.
template <class State = hooks::NoState>
struct Subject {
  Backend const& backend;
  State& state;
  Tally tally;
  std::optional<Finding> finding{};
};

/// So many failures in a row. The only one that acts between intervals.
struct Consecutive {
  static constexpr std::string_view name = "consecutive failures";
  std::uint32_t failures = 5;
  std::uint32_t unreachable =
      1;  ///< Of failures to connect: nothing was sent, and nothing will be.
  Enforcement enforcement{};

  struct State {
    sync::Relaxed<std::uint32_t> run{};
  };
  /// *Cost* of a success: one load. Finds at each multiple, so a backend that could not be ejected
  /// is found again.
  [[nodiscard, gnu::always_inline]] std::optional<Finding> on_finish(Finished const& event,
                                                                     State& state) const {
    if (event.outcome.ending != Ending::success) [[unlikely]]
      return count(event.outcome.ending, state);
    if (state.run.load() != 0) [[unlikely]]
      state.run.store(0);
    return {};
  }
  void reset(State& state) const { state.run.store(0); }
  void check() const {
    detail::check_at_least_one("failures of health::Consecutive", failures);
    detail::check_at_least_one("unreachable of health::Consecutive", unreachable);
  }

 private:
  [[nodiscard, gnu::noinline, gnu::cold]] std::optional<Finding> count(Ending ending,
                                                                       State& state) const {
    auto const run = state.run.add(1) + 1;
    bool const no_way = ending == Ending::refused || ending == Ending::connect_timeout;
    auto const limit = no_way ? std::min(unreachable, failures) : failures;
    if (run % limit != 0) return {};
    return Finding{static_cast<double>(run), static_cast<double>(limit), no_way};
  }
};

/// Too many of an interval's requests failed.
struct FailureShare {
  static constexpr std::string_view name = "failure share";
  double limit = 0.85;
  std::uint64_t volume = 20;
  std::size_t backends = 2;  ///< In service; with fewer nobody is judged.
  Enforcement enforcement{};

  void on_interval(std::span<Subject<>> pool) const {
    if (pool.size() < backends) return;
    for (auto& each : pool)
      if (each.tally.volume() >= volume && each.tally.failure_share() >= limit)
        each.finding = Finding{each.tally.failure_share(), limit};
  }
  void check() const {
    detail::check_share("limit of health::FailureShare", limit);
    detail::check_positive("limit of health::FailureShare", limit);
    detail::check_at_least_one("volume of health::FailureShare", volume);
  }
};

/// Success rates far below the pool's: less than mean - deviations * stdev (of the population).
///
/// Of n backends none can lie further than sqrt(n - 1) deviations from the mean, so 1.9 needs five.
/// In a pool where all is well the deviation is tiny, and somebody is always 1.9 below: therefore a
/// gap in absolute terms is asked for too. *Source* Envoy and gRPC A50, which have no such gap.
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
    detail::check_positive("deviations of health::SuccessRate", deviations);
    detail::check_share("gap of health::SuccessRate", gap);
    detail::check_at_least_one("volume of health::SuccessRate", volume);
  }

 private:
  static double rate(Subject<> const& subject) { return 1 - subject.tally.failure_share(); }
  [[nodiscard]] double limit(std::vector<Subject<>*> const& judged, double mean) const {
    double squares = 0;
    for (auto const* each : judged) squares += (rate(*each) - mean) * (rate(*each) - mean);
    auto const stdev = std::sqrt(squares / static_cast<double>(judged.size()));
    return mean - std::max(deviations * stdev, gap);
  }
};

/// A median latency far above the others', for several intervals on end.
///
/// Against the median of the *other* backends' medians, so that it works with two. Only watched by
/// default: slow may mean far, or asked for harder things. Degrading is milder than ejecting.
struct Latency {
  static constexpr std::string_view name = "latency";
  double factor = 3;
  Duration least = std::chrono::milliseconds{1};  ///< Nobody is slow below this.
  std::uint32_t intervals = 2;
  std::uint64_t volume = 20;
  Enforcement enforcement{.share = 0};

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
    if (event.outcome.ending != Ending::success && (!slower || median < 0)) return {};
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
    detail::check_positive("factor of health::Latency", factor);
    detail::check_at_least_one("intervals of health::Latency", intervals);
    if (least < Duration::zero())
      detail::refuse("least of health::Latency", detail::text(least), "it can't be negative");
  }

 private:
  [[nodiscard]] bool counts(Subject<State> const& subject) const {
    return subject.tally.volume() >= volume && subject.state.median.load() >= 0;
  }
  /// `factor` times the median of these, which are sorted, without the greatest: for whoever lies
  /// above it, that is the median of the others, since leaving him out moves only what follows him.
  [[nodiscard]] double limit(std::vector<std::int64_t> const& sorted) const {
    auto const others = sorted.size() - 1;
    auto const median =
        (static_cast<double>(sorted[(others - 1) / 2]) + static_cast<double>(sorted[others / 2])) /
        2;
    return std::max(factor * median, static_cast<double>(least.count()));
  }
};

}  // namespace poise::health
