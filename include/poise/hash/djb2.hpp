// SPDX-License-Identifier: MIT
#pragma once

// Daniel J. Bernstein's string hash: h = 33 h + c, from 5381.

#include <cstdint>
#include <string_view>

#include <poise/hash/bytes.hpp>

namespace poise::inline v0_1_0::hash {

[[nodiscard]] constexpr std::uint32_t djb2(std::string_view text) noexcept {
  std::uint32_t sum = 5381;
  for (char const letter : text) sum = sum * 33 + detail::byte(letter);
  return sum;
}

}  // namespace poise::inline v0_1_0::hash
