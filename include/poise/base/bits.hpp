// SPDX-License-Identifier: MIT
#pragma once

// Two 32-bit numbers in one 64-bit word. A function returns them in one register, and they are
// stored and loaded at once, so that a load never waits for two stores.

#include <cstdint>

namespace poise::inline v0_1_0::detail {

constexpr std::uint64_t pack(std::uint32_t high, std::uint32_t low) noexcept {
  return std::uint64_t{high} << 32U | low;
}
constexpr std::uint32_t high_half(std::uint64_t word) noexcept {
  return static_cast<std::uint32_t>(word >> 32U);
}
constexpr std::uint32_t low_half(std::uint64_t word) noexcept {
  return static_cast<std::uint32_t>(word);
}

}  // namespace poise::inline v0_1_0::detail
