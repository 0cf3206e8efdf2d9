// SPDX-License-Identifier: MIT
#pragma once

// SipHash-2-4: a hash with a secret. An attacker who does not know the secret can't make keys
// collide. For short keys it takes three times as long as XXH64; use it for keys from untrusted
// clients.
//
// Source: Aumasson and Bernstein 2012, "SipHash: a fast short-input PRF".

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include <poise/hash/bytes.hpp>

namespace poise::inline v0_1_0::hash {

/// 128 random bits. All processes that must map a key to the same backend need the same secret.
struct Secret {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  friend bool operator==(Secret const&, Secret const&) = default;
};

[[nodiscard]] constexpr std::uint64_t siphash(std::string_view text, Secret secret) noexcept {
  std::array<std::uint64_t, 4> v{0x736f6d6570736575 ^ secret.low, 0x646f72616e646f6d ^ secret.high,
                                 0x6c7967656e657261 ^ secret.low, 0x7465646279746573 ^ secret.high};
  auto const rounds = [&v](int count) {
    for (int i = 0; i < count; ++i) {
      v[0] += v[1];
      v[2] += v[3];
      v[1] = std::rotl(v[1], 13) ^ v[0];
      v[3] = std::rotl(v[3], 16) ^ v[2];
      v[0] = std::rotl(v[0], 32) + v[3];
      v[2] += v[1];
      v[3] = std::rotl(v[3], 21) ^ v[0];
      v[1] = std::rotl(v[1], 17) ^ v[2];
      v[2] = std::rotl(v[2], 32);
    }
  };
  auto const take = [&](std::uint64_t word) {
    v[3] ^= word;
    rounds(2);
    v[0] ^= word;
  };
  auto rest = text;
  for (; rest.size() >= 8; rest.remove_prefix(8)) take(detail::load_little<std::uint64_t>(rest));
  auto last = static_cast<std::uint64_t>(text.size()) << 56U;
  for (std::size_t i = 0; i < rest.size(); ++i)
    last |= static_cast<std::uint64_t>(detail::byte(rest[i])) << (8 * i);
  take(last);
  v[2] ^= 255;
  rounds(4);
  return v[0] ^ v[1] ^ v[2] ^ v[3];
}

}  // namespace poise::inline v0_1_0::hash
