// SPDX-License-Identifier: MIT
#pragma once

// From a file's text to a document: TOML, or JSON if the first character is {.
//
// Where toml++ or nlohmann's JSON is not installed, this header is empty.

#if __has_include(<toml++/toml.h>) && __has_include(<nlohmann/json.hpp>)

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/config/document.hpp>
#include <poise/config/json.hpp>
#include <poise/config/node.hpp>
#include <poise/config/toml.hpp>
#include <poise/discovery/files.hpp>

namespace poise::inline v0_1_0::config {

/// The greatest file that is read, in bytes.
inline constexpr std::size_t max_file = std::size_t{1} << 20U;

/// *Errors* none: they are in the document.
[[nodiscard]] inline Document read_text(std::string_view text) {
  std::vector<Problem> problems;
  auto const first = text.find_first_not_of(" \t\r\n");
  bool const is_json = first != std::string_view::npos && text[first] == '{';
  auto const root = is_json ? parse_json(text, problems) : parse_toml(text, problems);
  if (!root) return {.problems = std::move(problems)};
  return read(*root, std::move(problems));
}

/// *Errors* none: they are in the document. A file that can't be read is a problem at 0:0.
[[nodiscard]] inline Document read_file(std::string const& path) {
  auto const file = discovery::detail::read_file(path, max_file);
  if (!file.error.empty()) return {.problems = {{{}, file.error}}};
  return read_text(file.text);
}

}  // namespace poise::inline v0_1_0::config

#endif
