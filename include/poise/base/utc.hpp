// SPDX-License-Identifier: MIT
#pragma once

// The time of day for log lines.

#include <chrono>
#include <cstdint>
#include <string>

namespace poise::inline v0_1_0::detail {

/// "2026-03-01T12:34:56.789Z".
[[nodiscard]] inline std::string in_utc(std::chrono::system_clock::time_point time) {
  auto const day = std::chrono::floor<std::chrono::days>(time);
  std::chrono::year_month_day const date{day};
  auto const milliseconds =
      std::chrono::duration_cast<std::chrono::milliseconds>(time - day).count();
  auto const digits = [](std::int64_t number, std::size_t width) {
    auto const text = std::to_string(number);
    return std::string(text.size() < width ? width - text.size() : 0, '0') + text;
  };
  return digits(int{date.year()}, 4) + '-' + digits(unsigned{date.month()}, 2) + '-' +
         digits(unsigned{date.day()}, 2) + 'T' + digits(milliseconds / 3'600'000, 2) + ':' +
         digits(milliseconds / 60'000 % 60, 2) + ':' + digits(milliseconds / 1000 % 60, 2) + '.' +
         digits(milliseconds % 1000, 3) + 'Z';
}

}  // namespace poise::inline v0_1_0::detail
