// SPDX-License-Identifier: MIT
#pragma once

// What a balancer takes from its surroundings: a clock, a seed, and observers (observer.hpp).

#include <cstdint>
#include <optional>
#include <tuple>

#include <poise/observer.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0 {

/// Real time, fresh randomness, and the observers that you name.
///
/// With a seed the balancer is deterministic: all threads share one cursor and one random source.
/// Use a seed in tests and simulations only: all threads write the same cache lines then.
template <class Clock, class... Observers>
struct Runtime {
  Clock clock{};
  std::optional<std::uint64_t> seed{};
  std::tuple<Observers...> observers{};
};

/// Real time, and latencies measured: `Balancer<P2C, void, Measured>`.
using Measured = Runtime<CycleClock, MeasureLatency>;

}  // namespace poise::inline v0_1_0
