// SPDX-License-Identifier: MIT
#pragma once

// Reads decimal numbers. (libc++ 19 has no std::from_chars for them.)

#include <cmath>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>

namespace simulate::detail {

/// The number that the text begins with, and what follows it; NaN if it begins with none.
inline std::pair<double, std::string_view> leading_number(std::string_view text) {
  auto const begins = std::string_view{"0123456789.-"}.find(text.empty() ? 'x' : text[0]);
  // Neither hexadecimal numbers nor "-inf": those are slips.
  auto const digits = text.substr(0, text.find_first_not_of("0123456789.-+eE"));
  if (begins == std::string_view::npos) return {std::nan(""), text};
  std::string const number{digits};
  char* end = nullptr;
  auto const value = std::strtod(number.c_str(), &end);
  if (end == number.c_str()) return {std::nan(""), text};
  return {value, text.substr(static_cast<std::size_t>(end - number.c_str()))};
}

/// Drops what some editors put before the first line.
inline void drop_byte_order_mark(std::string& line) {
  if (line.starts_with("\xEF\xBB\xBF")) line.erase(0, 3);
}

}  // namespace simulate::detail
