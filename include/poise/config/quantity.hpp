// SPDX-License-Identifier: MIT
#pragma once

// Durations and fractions as text, with their units: "250ms", "1m30s", "50%".

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <poise/base/check.hpp>
#include <poise/base/decimal.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::config {

namespace detail {

/// Takes a decimal number without sign and exponent from the front of the text; at most 18 digits.
[[nodiscard]] inline std::optional<double> take_decimal(std::string_view& rest) {
  constexpr std::size_t most = 18;
  std::uint64_t digits = 0;
  double scale = 1;
  std::size_t count = 0;
  bool fraction = false;
  char last = '.';
  for (; !rest.empty() && (rest[0] == '.' || (rest[0] >= '0' && rest[0] <= '9'));
       rest.remove_prefix(1)) {
    last = rest[0];
    if (last == '.') {
      if (fraction || count == 0) return std::nullopt;
      fraction = true;
      continue;
    }
    if (++count > most) return std::nullopt;
    digits = digits * 10 + static_cast<std::uint64_t>(last - '0');
    if (fraction) scale *= 10;
  }
  if (last == '.') return std::nullopt;
  return static_cast<double>(digits) / scale;
}

/// The nanoseconds of a unit; 0 for a word that is none.
[[nodiscard]] constexpr double nanoseconds_of(std::string_view unit) noexcept {
  if (unit == "ns") return 1;
  if (unit == "us") return 1e3;
  if (unit == "ms") return 1e6;
  if (unit == "s") return 1e9;
  if (unit == "m") return 60e9;
  return unit == "h" ? 3600e9 : 0;
}

}  // namespace detail

/// "250ms", "1.5s", "1m30s"; units are ns, us, ms, s, m and h. Nothing for other text, and above
/// 1e18 ns.
[[nodiscard]] inline std::optional<Duration> duration_of(std::string_view text) {
  constexpr double longest = 1e18;
  double sum = 0;
  if (text.empty()) return std::nullopt;
  while (!text.empty()) {
    auto const value = detail::take_decimal(text);
    if (!value) return std::nullopt;
    auto const size = std::min(text.find_first_of("0123456789."), text.size());
    auto const scale = detail::nanoseconds_of(text.substr(0, size));
    text.remove_prefix(size);
    sum += *value * scale;
    if (scale == 0 || sum > longest) return std::nullopt;
  }
  return Duration{std::llround(sum)};
}

/// The same as text, exact, in the largest unit that keeps it whole: "90s", "3m", "1500ms".
[[nodiscard]] inline std::string text_of(Duration time) {
  constexpr Duration::rep minute = 60'000'000'000;
  auto const count = time.count();
  if (count != 0 && count % (60 * minute) == 0) return std::to_string(count / (60 * minute)) + "h";
  if (count != 0 && count % minute == 0) return std::to_string(count / minute) + "m";
  auto text = poise::detail::in_words(time);
  std::erase(text, ' ');
  return text;
}

/// "50%", "0.5%". Nothing for other text; not limited to 100 %.
[[nodiscard]] inline std::optional<double> percentage_of(std::string_view text) {
  auto const value = detail::take_decimal(text);
  if (!value || text != "%") return std::nullopt;
  return *value / 100;
}

/// A number so that reading it gives the same one; never as an integer, never with an exponent
/// alone.
[[nodiscard]] inline std::string text_of(double number) {
  auto result = poise::detail::decimal(number);
  if (result.find_first_of(".en") == std::string::npos) result += ".0";
  return result;
}

namespace detail {

/// A number without exponent, which a policy's text does not know; to 9 decimals.
[[nodiscard]] inline std::string plain(double number) {
  char text[336];  // the greatest double has 309 digits before the point
  auto const end = std::to_chars(text, text + sizeof text, number, std::chars_format::fixed, 9).ptr;
  std::string result{text, end};
  auto const last = result.find_last_not_of('0');  // infinity and NaN have no point
  if (result.find('.') != std::string::npos) result.resize(last + (result[last] == '.' ? 0 : 1));
  return result;
}

}  // namespace detail

/// A text in quotes, with the escapes that TOML and JSON share.
[[nodiscard]] inline std::string toml_text(std::string_view text) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string result{'"'};
  for (char const letter : text) {
    auto const byte = static_cast<unsigned char>(letter);
    if (letter == '"' || letter == '\\') result += '\\';
    if (byte >= 0x20 && byte != 0x7f) {
      result += letter;
    } else {
      result += "\\u00";
      result += digits[byte >> 4U];
      result += digits[byte & 15U];
    }
  }
  return result + '"';
}

}  // namespace poise::inline v0_1_0::config
