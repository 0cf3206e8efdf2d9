// SPDX-License-Identifier: MIT
#pragma once

// FNV-1 and FNV-1a as memcached clients compute them (libmemcached, twemproxy).
//
// They differ from the published functions. All results have 32 bits: the "64" ones are the low
// halves. Bytes from 0x80 on count as negative numbers, because `char` is signed on x86. So keys
// that are not ASCII get other hashes than the published ones.
//
// Source: Fowler, Noll, Vo; libhashkit's fnv_32.cc and fnv_64.cc, twemproxy's nc_fnv.c.

#include <cstdint>
#include <string_view>

#include <poise/hash/bytes.hpp>

namespace poise::inline v0_1_0::hash {

namespace detail {

struct Fnv32 {
  static constexpr std::uint32_t basis = 0x811c9dc5;
  static constexpr std::uint32_t prime = 0x01000193;
};
/// The low halves of the 64-bit basis and prime: the high ones never reach the low half of the sum.
struct Fnv64 {
  static constexpr std::uint32_t basis = 0x84222325;
  static constexpr std::uint32_t prime = 0x000001b3;
};

template <class F>
constexpr std::uint32_t fnv1(std::string_view text) noexcept {
  auto sum = F::basis;
  for (char const letter : text) sum = (sum * F::prime) ^ signed_byte(letter);
  return sum;
}
template <class F>
constexpr std::uint32_t fnv1a(std::string_view text) noexcept {
  auto sum = F::basis;
  for (char const letter : text) sum = (sum ^ signed_byte(letter)) * F::prime;
  return sum;
}

}  // namespace detail

[[nodiscard]] constexpr std::uint32_t fnv1_32(std::string_view text) noexcept {
  return detail::fnv1<detail::Fnv32>(text);
}
[[nodiscard]] constexpr std::uint32_t fnv1a_32(std::string_view text) noexcept {
  return detail::fnv1a<detail::Fnv32>(text);
}
[[nodiscard]] constexpr std::uint32_t fnv1_64(std::string_view text) noexcept {
  return detail::fnv1<detail::Fnv64>(text);
}
[[nodiscard]] constexpr std::uint32_t fnv1a_64(std::string_view text) noexcept {
  return detail::fnv1a<detail::Fnv64>(text);
}

}  // namespace poise::inline v0_1_0::hash
