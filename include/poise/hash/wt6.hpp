// SPDX-License-Identifier: MIT
#pragma once

// Willy Tarreau's wt6, one of HAProxy's functions for keys.
//
// Source: HAProxy, hash.c.

#include <bit>
#include <cstdint>
#include <string_view>

#include <poise/hash/bytes.hpp>

namespace poise::inline v0_1_0::hash {

[[nodiscard]] constexpr std::uint32_t wt6(std::string_view text) noexcept {
  std::uint32_t a = 0xa53c965a;
  std::uint32_t b = 0x5ca6953a;
  std::uint32_t turn_b = 6;
  std::uint32_t turn_a = 18;
  for (char const letter : text) {
    auto const c = detail::byte(letter);
    a = ~(a ^ c);
    b = ~(b + c);
    auto const turned = std::rotl(b, static_cast<int>(turn_b));
    b = std::rotl(a, static_cast<int>(turn_a));
    a = turned;
    auto const mixed = ((a >> 16U) ^ b) & 0xffffU;
    turn_b = mixed & 31U;
    turn_a = mixed >> 11U;
  }
  return a ^ b;
}

}  // namespace poise::inline v0_1_0::hash
