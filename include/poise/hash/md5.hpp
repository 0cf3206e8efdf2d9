// SPDX-License-Identifier: MIT
#pragma once

// MD5, which the memcached family uses to place servers and keys on its ring. Not for secrets.
//
// Source: RFC 1321.

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include <poise/hash/bytes.hpp>

namespace poise::inline v0_1_0::hash {

/// The digest as the four numbers it consists of; its 16 bytes are these, little-endian.
using Md5 = std::array<std::uint32_t, 4>;

namespace detail {

// floor(2^32 * |sin(i + 1)|)
inline constexpr std::array<std::uint32_t, 64> md5_sines{
    0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501,
    0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821,
    0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
    0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,
    0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
    0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
    0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
    0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391};

/// Mixes the first 64 bytes into the digest.
constexpr void md5_block(Md5& digest, std::string_view text) noexcept {
  constexpr std::array<std::array<int, 4>, 4> turns{
      {{7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}}};
  auto [a, b, c, d] = digest;
  for (std::size_t step = 0; step < 64; ++step) {
    auto const round = step / 16;
    std::uint32_t mixed = 0;
    std::size_t word = 0;
    if (round == 0) {
      mixed = (b & c) | (~b & d);
      word = step;
    } else if (round == 1) {
      mixed = (d & b) | (~d & c);
      word = 5 * step + 1;
    } else if (round == 2) {
      mixed = b ^ c ^ d;
      word = 3 * step + 5;
    } else {
      mixed = c ^ (b | ~d);
      word = 7 * step;
    }
    auto const sum =
        a + mixed + md5_sines[step] + load_little<std::uint32_t>(text.substr(word % 16 * 4));
    a = d;
    d = c;
    c = b;
    b += std::rotl(sum, turns[round][step % 4]);
  }
  digest[0] += a;
  digest[1] += b;
  digest[2] += c;
  digest[3] += d;
}

}  // namespace detail

[[nodiscard]] constexpr Md5 md5(std::string_view text) noexcept {
  Md5 digest{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};
  auto rest = text;
  for (; rest.size() >= 64; rest.remove_prefix(64)) detail::md5_block(digest, rest);
  // What is left, then 0x80, zeros, and the length in bits: one block more, or two.
  std::array<char, 128> end{};
  for (std::size_t i = 0; i < rest.size(); ++i) end[i] = rest[i];
  end[rest.size()] = static_cast<char>(0x80);
  std::size_t const size = rest.size() + 9 <= 64 ? 64 : 128;
  auto const bits = static_cast<std::uint64_t>(text.size()) * 8;
  for (std::size_t i = 0; i < 8; ++i)
    end[size - 8 + i] = static_cast<char>(static_cast<unsigned char>(bits >> (8 * i)));
  for (std::size_t at = 0; at < size; at += 64)
    detail::md5_block(digest, std::string_view{end.data() + at, 64});
  return digest;
}

}  // namespace poise::inline v0_1_0::hash
