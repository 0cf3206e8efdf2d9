// SPDX-License-Identifier: MIT
#pragma once

// sdbm's hash, HAProxy's default for keys: h = c + 65599 h.
//
// Source: the sdbm database library; HAProxy, hash.c.

#include <cstdint>
#include <string_view>

#include <poise/hash/bytes.hpp>

namespace poise::inline v0_1_0::hash {

[[nodiscard]] constexpr std::uint32_t sdbm(std::string_view text) noexcept {
  std::uint32_t sum = 0;
  for (char const letter : text) sum = detail::byte(letter) + (sum << 6U) + (sum << 16U) - sum;
  return sum;
}

}  // namespace poise::inline v0_1_0::hash
