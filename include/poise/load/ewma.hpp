// SPDX-License-Identifier: MIT
#pragma once

// Mean latency: the decayed mean of a backend's recent latencies, times the requests it would then
// have.
//
// Use it with Least (that is LeastLatency) or PowerOfTwo when some backends are slower than others
// for reasons that weights don't cover. PeakEwma reacts sooner to a slow spell. Without requests in
// flight in the product, all clients would pick the same fastest backend.

#include <string_view>

#include <poise/fwd.hpp>
#include <poise/load/latency.hpp>

namespace poise::inline v0_1_0 {

namespace detail {

struct MeanRule {
  /// Never: every sample is averaged in.
  static bool replaces(Duration::rep, Duration::rep) noexcept { return false; }
};

}  // namespace detail

/// Decayed mean latency x (requests in flight + 1), in ns. See load/latency.hpp for failures,
/// unknown backends and fading.
///
/// *Threads* any; concurrent updates may lose a sample. *Cost* 64 bytes a backend, a clock read at
/// pick and at finish.
struct Ewma : detail::LatencyLoad<detail::MeanRule> {
  static constexpr char const* name = "ewma";
  using LatencyLoad::LatencyLoad;
  Ewma() = default;
};

}  // namespace poise::inline v0_1_0
