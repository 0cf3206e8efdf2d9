// SPDX-License-Identifier: MIT
#pragma once

// How much traffic degraded backends get: what the healthy ones can't be expected to carry.

#include <algorithm>
#include <cstdint>

namespace poise::detail {

/// The share of picks, in percent, that healthy backends take while others are degraded.
///
/// health = min(100, 140 * healthy / total), degraded likewise; healthy ones take what they can
/// carry of the sum, degraded ones the rest. Source: Envoy, degraded endpoints, overprovisioning
/// 140 %.
constexpr std::uint32_t healthy_percent(std::uint64_t healthy, std::uint64_t degraded,
                                        std::uint64_t total) noexcept {
  constexpr std::uint64_t overprovision = 140;
  if (total == 0) return 0;
  auto const health = std::min<std::uint64_t>(100, overprovision * healthy / total);
  auto const rest = std::min<std::uint64_t>(100, overprovision * degraded / total);
  auto const sum = std::min<std::uint64_t>(100, health + rest);
  if (sum == 0) return healthy != 0 ? 100 : 0;
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(100, health * 100 / sum));
}

}  // namespace poise::detail
