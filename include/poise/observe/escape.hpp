// SPDX-License-Identifier: MIT
#pragma once

// Text that poise did not write, such as ids of backends, made fit for the formats that carry it.

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

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

namespace detail {

inline void append_hex(std::string& to, unsigned char byte) {
  constexpr std::string_view digits = "0123456789abcdef";
  to += "\\x";
  to += digits[byte >> 4U];
  to += digits[byte & 15U];
}
[[nodiscard]] constexpr bool is_hex(char letter) noexcept {
  return (letter >= '0' && letter <= '9') || (letter >= 'a' && letter <= 'f');
}
/// Does it hold what looks like an escape, "\x0a" or "\u200b"?
[[nodiscard]] inline bool looks_escaped(std::string_view text) noexcept {
  for (std::size_t i = 0; i + 3 < text.size(); ++i)
    if (text[i] == '\\' && (text[i + 1] == 'x' || text[i + 1] == 'u') && is_hex(text[i + 2]) &&
        is_hex(text[i + 3]))
      return true;
  return false;
}
/// How many bytes the character at the front has that nobody sees: a control, a blank other than
/// U+0020, or one without width. 0 if it is another one.
[[nodiscard]] inline std::size_t unseen_length(std::string_view text) noexcept {
  auto const first = static_cast<unsigned char>(text[0]);
  if (first < 0x20 || first == 0x7f) return 1;
  auto const second = text.size() > 1 ? static_cast<unsigned char>(text[1]) : 0U;
  if (first == 0xc2 && (second < 0xa1 || second == 0xad)) return second < 0x80 ? 0 : 2;
  bool const three = text.size() > 2 && utf8_length(text) == 3;
  if (!three) return 0;
  auto const code = (first & 0xfU) << 12U | (second & 0x3fU) << 6U |
                    (static_cast<unsigned char>(text[2]) & 0x3fU);
  bool const unseen = (code >= 0x2000 && code <= 0x200d) || code == 0x2028 || code == 0x2029 ||
                      code == 0x202f || (code >= 0x205f && code <= 0x2064) || code == 0x3000 ||
                      code == 0x115f || code == 0x1160 || code == 0x3164 || code == 0xfeff;
  return unseen ? 3 : 0;
}

}  // namespace detail

/// UTF-8 that stands for this text and for no other: bytes that are not UTF-8 as "\xff". Then, and
/// if it holds what looks like that, its backslashes are doubled.
[[nodiscard]] inline std::string as_exact_utf8(std::string_view text) {
  if (as_utf8(text) == text && !detail::looks_escaped(text)) return std::string{text};
  std::string result;
  while (!text.empty()) {
    auto const length = utf8_length(text);
    if (text[0] == '\\') result += '\\';
    if (length == 0) detail::append_hex(result, static_cast<unsigned char>(text[0]));
    else result += text.substr(0, length);
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return result;
}

/// An id for people, so that ids which differ look different: what can't be seen is escaped, as in
/// "\x20" for blanks at the ends and after a blank, "\u202e" for what turns the direction of text,
/// "\xff" for bytes that are not UTF-8.
[[nodiscard]] inline std::string shown_id(std::string_view id) {
  std::string result;
  bool escapes = detail::looks_escaped(id);
  for (std::size_t i = 0; i < id.size();) {
    auto const rest = id.substr(i);
    auto const length = utf8_length(rest);
    auto const unseen = length == 0 ? 1 : detail::unseen_length(rest);
    bool const odd_blank = rest[0] == ' ' && (i == 0 || rest.size() == 1 || id[i - 1] == ' ');
    if (poise::detail::bidi_control_length(rest) != 0) {
      result += poise::detail::bidi_escape(rest.substr(0, length));
      escapes = true;
    } else if (unseen != 0 || odd_blank) {
      for (char const byte : rest.substr(0, length == 0 || odd_blank ? 1 : length))
        detail::append_hex(result, static_cast<unsigned char>(byte));
      escapes = true;
    } else {
      if (rest[0] == '\\') result += '\\';
      result += rest.substr(0, length);
    }
    i += length == 0 ? 1 : length;
  }
  return escapes ? result : std::string{id};
}

/// The two ends of a text of more than so many characters: ids of one service often begin alike.
/// *Requires* UTF-8.
[[nodiscard]] inline std::string shortened(std::string_view text, std::size_t max) {
  auto const begins = [](char byte) { return (static_cast<unsigned char>(byte) & 0xc0U) != 0x80; };
  std::vector<std::size_t> starts;
  for (std::size_t i = 0; i < text.size(); ++i)
    if (begins(text[i])) starts.push_back(i);
  if (starts.size() <= max) return std::string{text};
  auto const end = (max - 1) / 2;
  return std::string{text.substr(0, starts[max - 1 - end])} + "\xe2\x80\xa6" +
         std::string{text.substr(starts[starts.size() - end])};
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
