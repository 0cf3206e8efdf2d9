// SPDX-License-Identifier: MIT
#pragma once

// How hashes read text: as bytes, and as little-endian words at any alignment.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace poise::inline v0_1_0::hash::detail {

constexpr std::uint32_t byte(char letter) noexcept { return static_cast<unsigned char>(letter); }

/// A char as x86 compilers widen it: from 0x80 on it is negative, and all higher bits are set.
constexpr std::uint32_t signed_byte(char letter) noexcept {
  return static_cast<std::uint32_t>(static_cast<signed char>(letter));
}

/// The number made of the text's first bytes, the least significant first.
template <class Word>
[[nodiscard]] constexpr Word load_little(std::string_view text) noexcept {
  if (!std::is_constant_evaluated() && std::endian::native == std::endian::little) {
    Word word;
    auto const* const bytes = text.data();
    std::memcpy(&word, bytes, sizeof word);
    return word;
  }
  Word word = 0;
  for (std::size_t i = 0; i < sizeof(Word); ++i)
    word |= static_cast<Word>(static_cast<Word>(byte(text[i])) << (8 * i));
  return word;
}

}  // namespace poise::inline v0_1_0::hash::detail
