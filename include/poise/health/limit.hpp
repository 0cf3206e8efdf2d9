// SPDX-License-Identifier: MIT
#pragma once

// How many requests a backend may have in flight: a number, or one that adapts. Rules for the
// runtime; a request over the limit goes to another backend, and is refused if all are full.
//
//   poise::Runtime<poise::CycleClock, poise::health::Standard, poise::health::AdaptiveLimit>
//
// Rules only lower what the operator set with set_admission(), and what other rules made of it.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include <poise/backend.hpp>
#include <poise/error.hpp>
#include <poise/observer.hpp>
#include <poise/outcome.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::health {

/// The same limit for each backend.
class FixedLimit {
 public:
  // NOLINTNEXTLINE(*-explicit-*): the number stands for it in a list of observers
  FixedLimit(std::uint32_t max_in_flight = 100) noexcept : max_in_flight_{max_in_flight} {}

  void on_tick(Time, std::span<BackendView> all) const {
    for (auto& each : all)
      each.admission.max_in_flight = std::min(each.admission.max_in_flight, max_in_flight_);
  }

 private:
  std::uint32_t max_in_flight_;
};

/// Where the adaptive limit starts, its bounds, and how quickly it moves.
struct AdaptiveLimitOptions {
  std::uint32_t initial = 20;
  std::uint32_t min = 4;
  std::uint32_t max = 1000;
  double tolerance = 1.5;  ///< So much longer than the floor is not yet queueing.
  double smoothing = 0.2;
  Duration step = std::chrono::seconds{1};
};

/// A limit per backend that follows its latency: as long as requests take what they take when
/// nothing queues, it grows by its root; when they take longer, it shrinks in proportion.
///
///   limit <- limit + smoothing * (limit * clamp(tolerance * floor / latency, 1/2, 1)
///                                 + sqrt(limit) - limit)
///
/// with latency the backend's decayed mean, floor the least of it, which is forgotten by 0.1 % a
/// step so that a backend that became slower for good is accepted in time. Where less than half of
/// the limit is in use, nothing is learned. A backend that says it is overloaded loses a tenth.
/// *Source* Netflix concurrency-limits, Gradient; the floor's decay is not tuned.
class AdaptiveLimit {
 public:
  static constexpr bool uses_time = true;

  struct State {
    double limit = 0;
    double floor_ns = 0;
    std::uint64_t overloaded = 0;
  };

  AdaptiveLimit() : AdaptiveLimit{AdaptiveLimitOptions{}} {}
  // NOLINTNEXTLINE(*-explicit-*): options stand for it in a list of observers
  AdaptiveLimit(AdaptiveLimitOptions options) : options_{options} { check(options); }

  void on_tick(Time now, std::span<BackendView> all) {
    bool const due = !stepped_ || now - *stepped_ >= options_.step || now < *stepped_;
    if (due) stepped_ = now;
    for (auto& each : all) {
      auto& state = each.state<State>();
      if (state.limit == 0) state.limit = options_.initial;
      else if (due) learn(each.backend, state);
      each.admission.max_in_flight =
          std::min(each.admission.max_in_flight, static_cast<std::uint32_t>(state.limit));
    }
  }

 private:
  void learn(Backend const& backend, State& state) const {
    auto const overloaded = backend.ended(Result::overloaded);
    if (std::exchange(state.overloaded, overloaded) != overloaded) return set(state, 0.9);
    auto const latency = backend.latency();
    if (!latency || latency->count() <= 0) return;
    auto const now_ns = static_cast<double>(latency->count());
    constexpr double forgetting = 1.001;
    state.floor_ns = state.floor_ns == 0 ? now_ns : std::min(now_ns, state.floor_ns * forgetting);
    auto const gradient = std::clamp(options_.tolerance * state.floor_ns / now_ns, 0.5, 1.0);
    bool const used = backend.in_flight() * 2.0 >= state.limit;
    if (gradient == 1 && !used) return;  // no request needs more
    auto const wanted = gradient + 1 / std::sqrt(state.limit);
    set(state, 1 + options_.smoothing * (wanted - 1));
  }

  void set(State& state, double factor) const {
    state.limit = std::clamp(state.limit * factor, static_cast<double>(options_.min),
                             static_cast<double>(options_.max));
  }

  static void check(AdaptiveLimitOptions const& options) {
    if (options.min == 0 || options.min > options.initial || options.initial > options.max)
      throw ConfigError{"limits of AdaptiveLimit are min " + std::to_string(options.min) +
                        ", initial " + std::to_string(options.initial) + ", max " +
                        std::to_string(options.max) + ": they must rise, from 1 or more"};
    if (!(options.tolerance >= 1 && std::isfinite(options.tolerance)))
      throw ConfigError{"tolerance of AdaptiveLimit is " + std::to_string(options.tolerance) +
                        ": below 1 even the fastest latency would be too long"};
    if (!(options.smoothing > 0 && options.smoothing <= 1))
      throw ConfigError{"smoothing of AdaptiveLimit is " + std::to_string(options.smoothing) +
                        ": a share above 0, at most 1"};
    if (options.step <= Duration::zero())
      throw ConfigError{"step of AdaptiveLimit is " + std::to_string(options.step.count()) +
                        " ns: it must be longer than 0"};
  }

  AdaptiveLimitOptions options_;
  std::optional<Time> stepped_{};
};

}  // namespace poise::inline v0_1_0::health
