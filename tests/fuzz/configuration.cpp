// SPDX-License-Identifier: MIT
// Configurations in TOML and JSON: what is accepted can be dumped and read again, and means the
// same; what is refused has a place in the file.

#include <algorithm>
#include <cstddef>
#include <string_view>

#include <poise/config/diff.hpp>
#include <poise/config/effective.hpp>
#include <poise/config/text.hpp>

#include "fuzz.hpp"

void tests::fuzz(std::string_view input) {
  using namespace poise::config;
  // What toml++ 3.3 makes of characters beyond ASCII outside of strings is undefined, and whether
  // TomlScanner finds all of them is not known.
  bool const is_ascii = std::ranges::all_of(input, [](char letter) { return letter >= 0; });
  if (!is_ascii && input.find_first_not_of(" \t\r\n") != input.find('{')) return;
  auto const document = read_text(input);
  if (!document.valid()) {
    auto const lines = static_cast<std::size_t>(std::ranges::count(input, '\n')) + 1;
    for (auto const& each : document.problems) {
      require(each.at.line >= 1 && each.at.line <= lines, "a problem is on a line of the file");
      require(each.at.column >= 1, "a problem is in a column of its line");
    }
    return;
  }
  auto const again = read_text(effective(document));
  require(again.valid(), "a dump is a configuration");
  require(differences(document.settings, again.settings).empty(), "a dump means the same");
  require(document.settings.backends == again.settings.backends, "... and in the same order");
}
