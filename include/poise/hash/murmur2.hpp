// SPDX-License-Identifier: MIT
#pragma once

// MurmurHash64A in the form that libstdc++ uses for std::hash, and Envoy for its ring
// (MURMUR_HASH_2).
//
// Source: Austin Appleby, MurmurHash2 (public domain); libstdc++, hash_bytes.cc.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <poise/hash/bytes.hpp>

namespace poise::inline v0_1_0::hash {

inline constexpr std::uint64_t murmur2_std_seed = 0xc70f6907;

[[nodiscard]] constexpr std::uint64_t murmur2_64(std::string_view text,
                                                 std::uint64_t seed = murmur2_std_seed) noexcept {
  constexpr std::uint64_t factor = 0xc6a4a7935bd1e995;
  constexpr auto shift_mix = [](std::uint64_t value) { return value ^ (value >> 47U); };
  auto sum = seed ^ (static_cast<std::uint64_t>(text.size()) * factor);
  auto rest = text;
  for (; rest.size() >= 8; rest.remove_prefix(8)) {
    auto const word = detail::load_little<std::uint64_t>(rest);
    sum = (sum ^ (shift_mix(word * factor) * factor)) * factor;
  }
  if (!rest.empty()) {
    std::uint64_t word = 0;
    for (std::size_t i = rest.size(); i-- > 0;) word = word << 8U | detail::byte(rest[i]);
    sum = (sum ^ word) * factor;
  }
  return shift_mix(shift_mix(sum) * factor);
}

}  // namespace poise::inline v0_1_0::hash
