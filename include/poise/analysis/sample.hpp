// SPDX-License-Identifier: MIT
#pragma once

// What the analysis sees of a balancer: plain numbers of one interval, by backend.
//
// They come from a reader of statistics, a simulator or a recorded file. The analysis reads no
// clock: the time of a sample is the time line of every verdict.

#include <chrono>
#include <cstdint>
#include <limits>
#include <span>
#include <string_view>

#include <poise/time.hpp>

namespace poise::inline v0_1_0::analysis {

/// A duration in seconds.
[[nodiscard]] inline double seconds_of(Duration time) noexcept {
  return std::chrono::duration<double>{time}.count();
}

/// One backend in one interval.
struct BackendSample {
  std::string_view id{};
  std::uint64_t requests = 0;  ///< Completed with a verdict: successes and failures.
  std::uint64_t failures = 0;
  std::uint64_t rejected = 0;  ///< Not in `requests`.
  /// Seconds; a quantile of the interval's latencies, always the same one. NaN: no sample.
  double latency = std::numeric_limits<double>::quiet_NaN();
  std::uint64_t picks = 0;    ///< Requests that the balancer sent to it.
  double intended_share = 0;  ///< Of the picks, by weights, 0 to 1. 0: none is intended.
};

/// All backends in one interval, which ended at `now`.
struct PoolSample {
  Time now{};
  std::span<BackendSample const> backends{};
};

}  // namespace poise::inline v0_1_0::analysis
