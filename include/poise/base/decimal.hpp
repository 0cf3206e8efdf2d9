// SPDX-License-Identifier: MIT
#pragma once

// Decimal numbers as text, whatever the locale says.

#include <charconv>
#include <cmath>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#ifndef __cpp_lib_to_chars
#include <locale>
#include <sstream>
#endif

namespace poise::inline v0_1_0::detail {

/// The shortest text that decimal_of() reads as this number.
[[nodiscard]] inline std::string decimal(double number) {
  char text[32];  // at most 24: "-2.2250738585072014e-308"
  return {text, std::to_chars(text, text + sizeof text, number).ptr};
}

/// Takes the digits at the front. False if there are none.
constexpr bool skip_digits(std::string_view& text) noexcept {
  auto const size = text.size();
  while (!text.empty() && text[0] >= '0' && text[0] <= '9') text.remove_prefix(1);
  return text.size() < size;
}
constexpr bool skip_any(std::string_view& text, std::string_view letters) noexcept {
  if (text.empty() || letters.find(text[0]) == std::string_view::npos) return false;
  text.remove_prefix(1);
  return true;
}

/// True for "3", "-0.5", "+.5", "5." and "1e-3"; false for "inf", "nan" and "0x10".
[[nodiscard]] constexpr bool is_decimal(std::string_view text) noexcept {
  skip_any(text, "+-");
  bool const whole = skip_digits(text);
  bool const fraction = skip_any(text, ".") && skip_digits(text);
  if (!whole && !fraction) return false;
  if (skip_any(text, "eE")) {
    skip_any(text, "+-");
    if (!skip_digits(text)) return false;
  }
  return text.empty();
}

/// The nearest number to a decimal text. Nothing for other text, and out of the range of a double.
/// libc++ has no std::from_chars for a double (clang 19), so a stream reads it there.
[[nodiscard]] inline std::optional<double> decimal_of(std::string_view text) {
  if (!is_decimal(text)) return std::nullopt;
  double number = 0;
#ifdef __cpp_lib_to_chars
  skip_any(text, "+");
  auto const result = std::from_chars(text.data(), text.data() + text.size(), number);
  if (result.ec != std::errc{}) return std::nullopt;
#else
  std::istringstream stream{std::string{text}};
  stream.imbue(std::locale::classic());
  stream >> number;
#endif
  return std::isfinite(number) ? std::optional{number} : std::nullopt;
}

}  // namespace poise::inline v0_1_0::detail
