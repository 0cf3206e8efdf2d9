// SPDX-License-Identifier: MIT
#pragma once

// How traffic is divided when some backends are not healthy, for tiers (compose/failover.hpp) and
// for healthy and degraded backends.
//
//   capacity = min(100, 140 * healthy / total)         whole percent, fraction cut off
//   load     = capacity * 100 / min(100, the sum of all capacities)      rounded to the nearest
//
// A capacity is cut off, as in Envoy: 71.4 % healthy is the first value that counts as 100 %. A
// load is rounded, as in Envoy's documentation: 25, 25 and 20 % healthy give 36, 36 and 28. Envoy's
// code cuts loads off too, and adds the rest to the first tier: 37, 35 and 28.
//
// Source: Envoy, priority levels and degraded endpoints, overprovisioning factor 140 %.

#include <algorithm>
#include <cstdint>

namespace poise::inline v0_1_0::detail {

/// The traffic that a group can carry, in percent of all. *Requires* healthy <= total < 2^56.
constexpr std::uint64_t capacity_percent(std::uint64_t healthy, std::uint64_t total) noexcept {
  constexpr std::uint64_t overprovisioning = 140;
  if (total == 0) return 0;
  return std::min<std::uint64_t>(100, overprovisioning * healthy / total);
}

/// A group's load in percent, out of the capacities of all groups, of which `sum` is above 0.
constexpr std::uint64_t load_percent(std::uint64_t capacity, std::uint64_t sum) noexcept {
  auto const whole = std::min<std::uint64_t>(100, sum);
  return (capacity * 100 + whole / 2) / whole;
}

/// The percentage of picks that healthy backends take while others are degraded.
constexpr std::uint32_t healthy_percent(std::uint64_t healthy, std::uint64_t degraded,
                                        std::uint64_t total) noexcept {
  auto const capacity = capacity_percent(healthy, total);
  auto const sum = capacity + capacity_percent(degraded, total);
  if (sum == 0) return healthy != 0 ? 100 : 0;
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(100, load_percent(capacity, sum)));
}

}  // namespace poise::inline v0_1_0::detail
