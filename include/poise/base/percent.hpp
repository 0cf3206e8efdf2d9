// SPDX-License-Identifier: MIT
#pragma once

// Percent-encoding of any bytes. Source: RFC 3986, 2.1.

#include <charconv>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include <poise/base/ascii.hpp>

namespace poise::inline v0_1_0::detail {

/// The byte that "%2F" at the front of a text stands for. Nothing if there is no % that two
/// hexadecimal digits follow.
[[nodiscard]] inline std::optional<char> percent_byte(std::string_view text) noexcept {
  if (text.size() < 3 || text[0] != '%') return std::nullopt;
  unsigned byte = 0;
  auto const* const end = text.data() + 3;
  auto const read = std::from_chars(text.data() + 1, end, byte, 16);
  if (read.ec != std::errc{} || read.ptr != end) return std::nullopt;
  return static_cast<char>(byte);
}

/// "a%2Fb" -> "a/b"; in queries also "+" -> " ". Nothing if a % is not followed by two hexadecimal
/// digits. The result may be any bytes.
[[nodiscard]] inline std::optional<std::string> percent_decoded(std::string_view text,
                                                                bool is_query) {
  std::string result;
  result.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      result += is_query && text[i] == '+' ? ' ' : text[i];
      continue;
    }
    auto const byte = percent_byte(text.substr(i));
    if (!byte) return std::nullopt;
    result += *byte;
    i += 2;
  }
  return result;
}

/// "a/b" -> "a%2Fb": letters, digits and `marks` stay.
[[nodiscard]] inline std::string percent_encoded(std::string_view text, std::string_view marks) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  std::string result;
  for (char const letter : text) {
    auto const byte = static_cast<unsigned char>(letter);
    if (is_letter_or_digit(letter) || marks.find(letter) != std::string_view::npos)
      result += letter;
    else ((result += '%') += digits[byte >> 4U]) += digits[byte & 15U];
  }
  return result;
}

}  // namespace poise::inline v0_1_0::detail
