// SPDX-License-Identifier: MIT
#pragma once

// Bob Jenkins' one-at-a-time hash as memcached clients compute it: libmemcached's default. Bytes
// from 0x80 on are taken as negative numbers, because `char` is signed on x86.
//
// Source: libhashkit's one_at_a_time.cc, twemproxy's nc_one_at_a_time.c.

#include <cstdint>
#include <string_view>

#include <poise/hash/bytes.hpp>

namespace poise::inline v0_1_0::hash {

[[nodiscard]] constexpr std::uint32_t one_at_a_time(std::string_view text) noexcept {
  std::uint32_t sum = 0;
  for (char const letter : text) {
    sum += detail::signed_byte(letter);
    sum += sum << 10U;
    sum ^= sum >> 6U;
  }
  sum += sum << 3U;
  sum ^= sum >> 11U;
  return sum + (sum << 15U);
}

}  // namespace poise::inline v0_1_0::hash
