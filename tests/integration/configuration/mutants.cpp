// SPDX-License-Identifier: MIT
// A thousand changed configurations: each is accepted with a meaning that its dump shows, or
// refused with a place and a remedy.

#include <array>
#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <poise/config/diff.hpp>
#include <poise/config/effective.hpp>
#include <poise/config/text.hpp>

#include "integration/configuration/full.hpp"
#include "support/catch.hpp"

namespace integration_configuration_mutants {

namespace {

using Random = std::mt19937;

std::size_t below(Random& random, std::size_t end) { return random() % end; }

/// What people and programs get wrong.
constexpr std::array<std::string_view, 26> pieces{
    "\"",      "'",    "=",      "[",    "]",
    "\n",      "#",    "0",      "-1",   "1e400",
    "\"50%\"", "5",    "\"1h\"", "none", ".",
    "\\u00",   "\xc3", "{",      "}",    "true",
    ",",       "\"\"", "nan",    "\t",   "99999999999999999999",
    "x-"};

/// The lines between which tables are cut.
std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    auto const end = text.find('\n');
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return lines;
}

std::string joined(std::vector<std::string> const& lines) {
  std::string text;
  for (auto const& each : lines) text += each + '\n';
  return text;
}

/// Characters that go, come, or change.
std::string with_changed_characters(Random& random, std::string text) {
  auto const at = below(random, text.size());
  switch (below(random, 3)) {
    case 0: text.erase(at, 1 + below(random, 4)); break;
    case 1: text.insert(at, pieces[below(random, pieces.size())]); break;
    default: text[at] = static_cast<char>(32 + below(random, 95));
  }
  return text;
}

/// Lines that go, come twice, or change places; values that are those of another field.
std::string with_changed_lines(Random& random, std::string_view text) {
  auto lines = lines_of(text);
  auto const a = below(random, lines.size());
  auto const b = below(random, lines.size());
  auto const index = static_cast<std::ptrdiff_t>(a);
  switch (below(random, 4)) {
    case 0: lines.erase(lines.begin() + index); break;
    case 1: lines.insert(lines.begin() + index, lines[b]); break;
    case 2: std::swap(lines[a], lines[b]); break;
    default: {
      auto const from = lines[b].find('=');
      auto const to = lines[a].find('=');
      if (from != std::string::npos && to != std::string::npos)
        lines[a] = lines[a].substr(0, to) + lines[b].substr(from);
    }
  }
  return joined(lines);
}

}  // namespace

TEST_CASE("a thousand mutants are accepted with a meaning, or refused with a place and a remedy") {
  using namespace poise::config;
  Random random{20};
  std::size_t accepted = 0;
  std::size_t refused = 0;
  for (int i = 0; i < 1000; ++i) {
    std::string text{tests::full_config};
    for (auto changes = 1 + below(random, 3); changes != 0; --changes)
      text = below(random, 2) == 0 ? with_changed_characters(random, text)
                                   : with_changed_lines(random, text);
    INFO(i << '\n' << text);
    auto const document = read_text(text);
    if (document.valid()) {
      ++accepted;
      auto const again = read_text(effective(document));
      REQUIRE(again.valid());
      REQUIRE(differences(document.settings, again.settings).empty());
      REQUIRE(again.settings.backends == document.settings.backends);
      continue;
    }
    ++refused;
    auto const lines = lines_of(text).size();
    for (auto const& each : document.problems) {
      INFO(each.text);
      REQUIRE(each.at.line >= 1);
      REQUIRE(each.at.line <= lines + 1);
      REQUIRE(each.at.column >= 1);
      bool const says_more =
          each.text.find(": ") != std::string::npos || each.text.find("; ") != std::string::npos;
      REQUIRE(says_more);
    }
  }
  REQUIRE(accepted >= 100);  // else the mutations are too coarse to say anything
  REQUIRE(refused >= 100);
}

}  // namespace integration_configuration_mutants
