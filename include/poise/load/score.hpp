// SPDX-License-Identifier: MIT
#pragma once

// The textbook's weighted sum: 0.4 x connections + 0.4 x latency + 0.2 x error rate.
//
// Use it only if a requirement names it. A sum of requests, milliseconds and percents depends on
// its units. An error rate of 100 % weighs as much as 50 ms of latency. At latencies of 1 s that
// hardly counts, and a backend that fails fast wins; at 0.1 ms the latency hardly counts. In
// simulations this load was worse than requests in flight alone (P2C) in five of seven kinds of
// trouble. PeakEwma multiplies instead, and so depends on no units.

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include <poise/base/check.hpp>
#include <poise/fwd.hpp>
#include <poise/load/ewma.hpp>
#include <poise/load/latency.hpp>

namespace poise::inline v0_1_0 {

/// The factors of the sum, and the settings of the estimates.
struct ScoreOptions {
  double per_request = 0.4;        ///< ... in flight
  double per_millisecond = 0.4;    ///< ... of mean latency
  double per_error_percent = 0.2;  ///< ... of failures among recent verdicts, 0 to 100
  LatencyOptions estimates{};      ///< The timeout is not used: errors have a term of their own.
};

/// A weighted sum of requests in flight, mean latency in ms and error rate in percent.
///
/// It keeps estimates of its own that fade without samples, and does not use Backend::latency() and
/// error_rate(). Those change only with samples, and a backend that looks bad gets none. A failure
/// counts for the latency only if it took longer.
///
/// *Threads* any; concurrent updates may lose a sample. *Cost* 64 bytes a backend, a clock read at
/// pick and at finish.
struct Score : private detail::LatencyLoad<detail::MeanRule> {
  static constexpr char const* name = "score";
  struct State : detail::LatencyEstimate {
    sync::Relaxed<float> errors{0};  // of recent verdicts, 0 to 1
  };
  using LatencyLoad::explores_one_in;
  using LatencyLoad::uses_time;

  /// *Errors* ConfigError.
  explicit Score(ScoreOptions const& options = {})
      : LatencyLoad{options.estimates},
        per_request_{factor(options.per_request, "per_request of ScoreOptions")},
        per_nanosecond_{factor(options.per_millisecond, "per_millisecond of ScoreOptions") / 1e6F},
        per_error_{factor(options.per_error_percent, "per_error_percent of ScoreOptions") * 100} {}

  float operator()(Candidates const& candidates, std::size_t i,
                   Context const& context) const noexcept {
    auto& state = candidates.state<State>(i);
    auto requests = static_cast<float>(candidates.in_flight(i));
    auto nanoseconds =
        static_cast<float>(latency(state, context.now, context.rehearsal() == nullptr));
    auto const errors = state.errors.load() * pool().left(state.updated(), context.now);
    if (errors > 0) {
      // A backend that fails at once has nothing in flight. In proportion to its error rate it
      // counts as busy and as slow as the mean backend.
      requests += errors * std::max(pool().busy() - requests, 0.0F);
      nanoseconds += errors * std::max(pool().mean() - nanoseconds, 0.0F);
    }
    requests += state.rejected.get(context.now, pool().mean());
    return per_request_ * requests + per_nanosecond_ * nanoseconds + per_error_ * errors;
  }

  void on_finish(Finish& finish) const noexcept {
    auto const result = finish.outcome.result;
    auto& state = finish.state<State>();
    if (result == Result::rejected) return learn_rejection(state, finish.now);
    if (!is_verdict(result)) return;
    auto const failed = is_failure(result) ? 1.0F : 0.0F;
    state.errors.store(failed + (state.errors.load() - failed) * keep(state, finish.now));
    auto const measured = finish.latency.value_or(Duration{-1}).count();
    if (result == Result::success && finish.latency) learn_success(finish, state);
    else if (measured > state.latency()) learn(state, state.load(), measured, finish.now);
    else state.renew(finish.now);
  }

 private:
  void learn_rejection(State& state, Time now) const noexcept {
    if (!pool().known()) return;
    state.rejected.add(now, pool().mean());
    auto const mean = static_cast<Duration::rep>(pool().mean());
    learn(state, state.load(), std::max(latency(state, now), mean), now);
  }

  static float factor(double value, char const* what) {
    detail::check_not_negative(what, value, "use a factor of 0 or more");
    if (value >= 1e9) detail::reject_option(what, detail::in_words(value), "use less than 1e9");
    return static_cast<float>(value);
  }

  float per_request_;
  float per_nanosecond_;
  float per_error_;
};

}  // namespace poise::inline v0_1_0
