// SPDX-License-Identifier: MIT
#pragma once

// HAProxy's full_hash(): spreads a number over 32 bits, so that close numbers end far apart. It
// places servers on HAProxy's ring, and is the `avalanche` modifier for keys.
//
// Source: HAProxy, tools.h; after Bob Jenkins' 6-shift integer hash.

#include <cstdint>

namespace poise::inline v0_1_0::hash {

[[nodiscard]] constexpr std::uint32_t avalanche(std::uint32_t value) noexcept {
  value = (value + 0x7ed55d16U) + (value << 12U);
  value = (value ^ 0xc761c23cU) ^ (value >> 19U);
  value = (value + 0x165667b1U) + (value << 5U);
  value = (value + 0xd3a2646cU) ^ (value << 9U);
  value = (value + 0xfd7046c5U) + (value << 3U);
  value = (value ^ 0xb55a4f09U) ^ (value >> 16U);
  return value * 3221225473U;
}

}  // namespace poise::inline v0_1_0::hash
