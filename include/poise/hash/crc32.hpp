// SPDX-License-Identifier: MIT
#pragma once

// CRC-32 as zlib, gzip and nginx compute it (IEEE 802.3, reflected polynomial 0xEDB88320).
//
// *Cost* 8 bytes a step with 8 KiB of tables (slicing by 8: Kounavis and Berry 2005).

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include <poise/hash/bytes.hpp>

namespace poise::inline v0_1_0::hash {

namespace detail {

using CrcTables = std::array<std::array<std::uint32_t, 256>, 8>;

/// tables[k][b] is what byte b does to the remainder when k more zero bytes follow.
inline constexpr CrcTables crc_tables = [] {
  CrcTables tables{};
  for (std::uint32_t first = 0; first < 256; ++first) {
    auto rest = first;
    for (int bit = 0; bit < 8; ++bit) rest = (rest >> 1U) ^ ((rest & 1U) != 0 ? 0xedb88320U : 0U);
    tables[0][first] = rest;
  }
  for (std::size_t zeros = 1; zeros < tables.size(); ++zeros)
    for (std::size_t first = 0; first < 256; ++first) {
      auto const before = tables[zeros - 1][first];
      tables[zeros][first] = (before >> 8U) ^ tables[0][before & 255U];
    }
  return tables;
}();

}  // namespace detail

/// A checksum in progress: `Crc32{}.add("a").add("b").value() == crc32("ab")`.
class Crc32 {
 public:
  constexpr Crc32& add(std::string_view text) noexcept {
    auto const& tables = detail::crc_tables;
    for (; text.size() >= 8; text.remove_prefix(8)) {
      auto const low = state_ ^ detail::load_little<std::uint32_t>(text);
      auto const high = detail::load_little<std::uint32_t>(text.substr(4));
      state_ = tables[7][low & 255U] ^ tables[6][low >> 8U & 255U] ^ tables[5][low >> 16U & 255U] ^
               tables[4][low >> 24U] ^ tables[3][high & 255U] ^ tables[2][high >> 8U & 255U] ^
               tables[1][high >> 16U & 255U] ^ tables[0][high >> 24U];
    }
    for (char const letter : text)
      state_ = (state_ >> 8U) ^ tables[0][(state_ ^ detail::byte(letter)) & 255U];
    return *this;
  }
  [[nodiscard]] constexpr std::uint32_t value() const noexcept { return ~state_; }

 private:
  std::uint32_t state_ = ~std::uint32_t{0};
};

[[nodiscard]] constexpr std::uint32_t crc32(std::string_view text) noexcept {
  return Crc32{}.add(text).value();
}

}  // namespace poise::inline v0_1_0::hash
