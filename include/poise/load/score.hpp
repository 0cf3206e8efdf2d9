// SPDX-License-Identifier: MIT
#pragma once

// The textbook's weighted sum: 0.4 x connections + 0.4 x latency + 0.2 x error rate.
//
// Use it where it is asked for by name. A sum of requests, milliseconds and percents depends on its
// units: at latencies of 10 ms an error rate of 100 % weighs as much as 50 ms more latency, and so
// does its share of attention; at 1 s it hardly counts, and who fails fast wins; at 0.1 ms latency
// does not matter. In simulations it was worse than counting requests in flight (P2C) in five of
// seven kinds of trouble. PeakEwma multiplies instead, and has no units to get wrong.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

#include <poise/error.hpp>
#include <poise/fwd.hpp>
#include <poise/load/ewma.hpp>
#include <poise/load/latency.hpp>

namespace poise {

/// What each thing costs, and what holds for the estimates.
struct ScoreOptions {
  double per_request = 0.4;        ///< ... in flight
  double per_millisecond = 0.4;    ///< ... of mean latency
  double per_error_percent = 0.2;  ///< ... of failures among recent verdicts, 0 to 100
  LatencyOptions estimates{};      ///< The timeout is not used: errors have a term of their own.
};

/// A weighted sum of requests in flight, mean latency in ms and error rate in percent.
///
/// Latency and error rate are estimates of its own that fade while nothing is heard, not
/// Backend::latency() and error_rate(): those wait for samples, and a backend that looks bad gets
/// none. A failure enters the latency only if it was slower.
///
/// *Threads* any; concurrent updates may lose a sample. *Cost* 64 bytes a backend, a clock read at
/// pick and at finish.
struct Score : private detail::LatencyLoad<detail::MeanRule> {
  static constexpr char const* name = "score";
  struct State : detail::LatencyEstimate {
    sync::Relaxed<float> errors{0};  // 0 to 1
  };
  using LatencyLoad::explores_one_in;
  using LatencyLoad::uses_time;

  /// *Errors* ConfigError.
  explicit Score(ScoreOptions const& options = {})
      : LatencyLoad{options.estimates},
        per_request_{factor(options.per_request, "per_request")},
        per_nanosecond_{factor(options.per_millisecond, "per_millisecond") / 1e6F},
        per_error_{factor(options.per_error_percent, "per_error_percent") * 100} {}

  float operator()(Candidates const& candidates, std::size_t i,
                   Context const& context) const noexcept {
    auto& state = candidates.state<State>(i);
    auto requests = static_cast<float>(candidates.in_flight(i));
    auto nanoseconds = static_cast<float>(latency(state, context.now));
    auto const errors = state.errors.load() * pool().left(state.heard(), context.now);
    if (errors > 0) {
      // Who fails at once has nothing in flight: to that extent it counts as the mean backend.
      requests += errors * std::max(pool().busy() - requests, 0.0F);
      nanoseconds += errors * std::max(pool().mean() - nanoseconds, 0.0F);
    }
    return per_request_ * requests + per_nanosecond_ * nanoseconds + per_error_ * errors;
  }

  void on_finish(Finish& finish) const noexcept {
    auto const ending = finish.outcome.ending;
    if (!is_verdict(ending)) return;
    auto& state = finish.state<State>();
    auto const failed = is_failure(ending) ? 1.0F : 0.0F;
    state.errors.store(failed + (state.errors.load() - failed) * keep(state, finish.now));
    auto const measured = finish.latency.value_or(Duration{-1}).count();
    if (ending == Ending::success && finish.latency) learn_success(finish, state);
    else if (measured > state.latency()) learn(state, state.known(), measured, finish.now);
    else state.renew(finish.now);
  }

 private:
  static float factor(double value, char const* what) {
    if (value >= 0 && value < 1e9) return static_cast<float>(value);
    throw ConfigError{std::string{what} + " is " + std::to_string(value) +
                      "; a factor of the score must be 0 or more"};
  }

  float per_request_;
  float per_nanosecond_;
  float per_error_;
};

}  // namespace poise
