// SPDX-License-Identifier: MIT
#pragma once

// Base64 with the standard alphabet. Source: RFC 4648, 4.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace poise::inline v0_1_0::detail {

inline constexpr std::string_view base64_digits =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// With padding, which every reader takes.
[[nodiscard]] inline std::string base64(std::string_view bytes) {
  std::string result;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t word = 0;
    for (std::size_t j = 0; j < 3; ++j)
      word = word << 8U | (i + j < bytes.size() ? static_cast<unsigned char>(bytes[i + j]) : 0U);
    for (std::size_t j = 0; j < 4; ++j)
      result += i + j <= bytes.size() ? base64_digits[word >> (18U - 6U * j) & 63U] : '=';
  }
  return result;
}

/// With padding or without. Nothing if the text has other characters, is cut off, or has bits left
/// over that are not 0.
[[nodiscard]] inline std::optional<std::string> from_base64(std::string_view text) {
  if (text.size() % 4 == 0)
    for (int padding = 0; padding < 2 && text.ends_with('='); ++padding) text.remove_suffix(1);
  if (text.size() % 4 == 1) return std::nullopt;
  std::string result;
  result.reserve(text.size() * 3 / 4);
  std::uint32_t word = 0;
  unsigned bits = 0;
  for (char const letter : text) {
    auto const digit = base64_digits.find(letter);
    if (digit == std::string_view::npos) return std::nullopt;
    word = word << 6U | static_cast<std::uint32_t>(digit);
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    result += static_cast<char>(word >> bits & 255U);
  }
  if ((word & ((1U << bits) - 1U)) != 0) return std::nullopt;
  return result;
}

}  // namespace poise::inline v0_1_0::detail
