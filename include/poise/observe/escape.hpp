// SPDX-License-Identifier: MIT
#pragma once

// Text that poise did not write, such as ids of backends, made fit for the formats that carry it.

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <poise/error.hpp>
#include <poise/hash/xxhash.hpp>

namespace poise::inline v0_1_0::observe {

/// How many bytes the UTF-8 sequence at the front has; 0 if there is none. *Source* RFC 3629.
[[nodiscard]] constexpr std::size_t utf8_length(std::string_view text) noexcept {
  if (text.empty()) return 0;
  auto const byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  auto const first = byte(0);
  if (first < 0x80) return 1;
  std::size_t const length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i)
    if ((byte(i) & 0xc0U) != 0x80) return 0;
  auto const second = byte(1);
  bool const overlong = (first == 0xe0 && second < 0xa0) || (first == 0xf0 && second < 0x90);
  bool const surrogate = first == 0xed && second > 0x9f;
  bool const beyond = first == 0xf4 && second > 0x8f;
  return overlong || surrogate || beyond ? 0 : length;
}

/// The text with U+FFFD for each byte that is not UTF-8.
[[nodiscard]] inline std::string as_utf8(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    auto const length = utf8_length(text);
    if (length == 0) result += "\xef\xbf\xbd";
    else result += text.substr(0, length);
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return result;
}

/// At most `max` bytes of UTF-8 that stand for this text and for no other: what is too long or not
/// UTF-8 ends with "~" and 16 digits of its hash. *Requires* a max of 32 or more.
[[nodiscard]] inline std::string as_label(std::string_view text, std::size_t max) {
  auto result = as_utf8(text);
  if (result == text && result.size() <= max) return result;
  constexpr std::string_view digits = "0123456789abcdef";
  constexpr std::size_t hash_size = 17;  // with its ~
  auto size = result.size() <= max - hash_size ? result.size() : max - hash_size;
  while (size > 0 && size < result.size() &&
         (static_cast<unsigned char>(result[size]) & 0xc0U) == 0x80)
    --size;  // not within a character
  result.resize(size);
  result += '~';
  auto const hash = hash::xxh64(text);
  for (unsigned shift = 64; shift > 0;) result += digits[hash >> (shift -= 4) & 15U];
  return result;
}

/// A label's value in the formats of Prometheus: backslash, quote and line feed are escaped.
[[nodiscard]] inline std::string escape_label(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (char const letter : text) {
    if (letter == '\\' || letter == '"') result += '\\';
    if (letter == '\n') result += "\\n";
    else result += letter;
  }
  return result;
}

/// A string of JSON with its quotes; also safe within a page's script element.
[[nodiscard]] inline std::string json_string(std::string_view text) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string result{'"'};
  for (char const letter : as_utf8(text)) {
    auto const byte = static_cast<unsigned char>(letter);
    if (byte < 0x20 || byte == 0x7f || letter == '<' || letter == '>' || letter == '&') {
      result += "\\u00";
      result += digits[byte >> 4U];
      result += digits[byte & 15U];
    } else {
      if (letter == '"' || letter == '\\') result += '\\';
      result += letter;
    }
  }
  return result + '"';
}

/// For a terminal: control characters become dots, those that turn the direction of text escapes
/// such as "\u202e", and what is longer than `max` characters ends with three dots.
[[nodiscard]] inline std::string as_cell(std::string_view text, std::size_t max) {
  std::string result;
  std::size_t characters = 0;
  auto const whole = as_utf8(text);
  for (std::string_view rest = whole; !rest.empty(); ++characters) {
    if (characters == max) return result + "...";
    auto const length = utf8_length(rest);
    auto const byte = static_cast<unsigned char>(rest[0]);
    bool const control =
        byte < 0x20 || byte == 0x7f ||
        (byte == 0xc2 && length == 2 && static_cast<unsigned char>(rest[1]) < 0xa0);
    if (control) {
      result += '.';
    } else if (poise::detail::bidi_control_length(rest) != 0) {
      auto const escape = poise::detail::bidi_escape(rest.substr(0, length));
      if (characters + escape.size() > max) return result + "...";
      result += escape;
      characters += escape.size() - 1;
    } else {
      result += rest.substr(0, length);
    }
    rest.remove_prefix(length);
  }
  return result;
}

}  // namespace poise::inline v0_1_0::observe
