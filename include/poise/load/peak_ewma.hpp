// SPDX-License-Identifier: MIT
#pragma once

// Peak latency times the requests that the backend would then have. A slow answer raises the
// estimate at once; quick answers lower it slowly.
//
// Use it with PowerOfTwo if backends turn slow now and then (garbage collections, noisy
// neighbours): it backs off after the first slow answer. If latencies scatter widely by nature,
// peaks are random, and Ewma balances more evenly.
//
// Source: Finagle's PeakEwma and tower's; their 10 s window and their decay to zero are replaced,
// see load/latency.hpp.

#include <poise/fwd.hpp>
#include <poise/load/latency.hpp>

namespace poise::inline v0_1_0 {

namespace detail {

struct PeakRule {
  static bool replaces(Duration::rep estimate, Duration::rep sample) noexcept {
    return sample > estimate;
  }
};

}  // namespace detail

/// Decayed peak latency x (requests in flight + 1), in ns. See load/latency.hpp for failures,
/// unknown backends and fading.
///
/// *Threads* any; concurrent updates may lose a sample. *Cost* 64 bytes a backend, a clock read at
/// pick and at finish.
struct PeakEwma : detail::LatencyLoad<detail::PeakRule> {
  static constexpr char const* name = "peak_ewma";
  using LatencyLoad::LatencyLoad;
  PeakEwma() = default;
};

}  // namespace poise::inline v0_1_0
