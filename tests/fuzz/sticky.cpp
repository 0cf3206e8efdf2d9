// SPDX-License-Identifier: MIT
// Cookies of sticky sessions: any text is refused or one of ours, and every id survives.

#include <string>
#include <string_view>

#include <poise/sticky.hpp>

#include "fuzz.hpp"

void tests::fuzz(std::string_view input) {
  using tests::require;
  static poise::StickyCookie const sticky{{1, 2}, {{3, 4}}};
  if (auto const id = sticky.read(input))
    require(sticky.read(sticky.write(*id)) == id, "what was read can be written");
  if (!input.empty())
    require(sticky.read(sticky.write(input)) == std::string{input}, "an id survives");
}
