// SPDX-License-Identifier: MIT
#pragma once

// Two numbers of 32 bits in one word: what is returned so needs one register, and what is written
// and read so never makes a load wait for two stores.

#include <cstdint>

namespace poise::detail {

constexpr std::uint64_t in_one_word(std::uint32_t high, std::uint32_t low) noexcept {
  return std::uint64_t{high} << 32U | low;
}
constexpr std::uint32_t upper_half(std::uint64_t word) noexcept {
  return static_cast<std::uint32_t>(word >> 32U);
}
constexpr std::uint32_t lower_half(std::uint64_t word) noexcept {
  return static_cast<std::uint32_t>(word);
}

}  // namespace poise::detail
