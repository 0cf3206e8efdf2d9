// SPDX-License-Identifier: MIT
#pragma once

// Letters of ASCII, whatever the locale says.

namespace poise::inline v0_1_0::detail {

[[nodiscard]] constexpr bool is_letter_or_digit(char letter) noexcept {
  return (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') ||
         (letter >= '0' && letter <= '9');
}

}  // namespace poise::inline v0_1_0::detail
