// SPDX-License-Identifier: MIT
#pragma once

// A configuration as its file has it: values with their places, whatever the format was.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <poise/base/check.hpp>
#include <poise/error.hpp>

namespace poise::inline v0_1_0::config {

/// A place in a file, counted from 1; 0 stands for the file as a whole.
struct Position {
  std::uint32_t line = 0;
  std::uint32_t column = 0;
  friend bool operator==(Position const&, Position const&) = default;
  friend auto operator<=>(Position const&, Position const&) = default;
};

/// What is wrong, for people: the key, the value, what is allowed.
struct Problem {
  Position at{};
  std::string text{};
};

/// "poise.toml:12:3: ..."
[[nodiscard]] inline std::string message(std::string_view file, Problem const& problem) {
  return std::string{file} + ':' + std::to_string(problem.at.line) + ':' +
         std::to_string(problem.at.column) + ": " + problem.text;
}

/// A key of a table.
struct Key {
  std::string name{};
  Position at{};
};

/// A value. What belongs to another kind is empty.
struct Node {
  enum class Kind : std::uint8_t { text, integer, number, flag, list, table, other };
  Kind kind = Kind::table;
  Position at{};
  std::string text{};  ///< For other (a date, null): what it is.
  std::int64_t integer = 0;
  double number = 0;
  bool flag = false;
  std::vector<Node> items{};  ///< Of a list, or of a table in the order of the file.
  std::vector<Key> keys{};    ///< Of a table: one for each item.
};

/// Deeper than any configuration is; a limit, since nodes are handled recursively.
inline constexpr std::size_t max_depth = 32;

/// How a value looks in a message: `"abc"`, `7`, `a table`.
[[nodiscard]] inline std::string in_words(Node const& node) {
  switch (node.kind) {
    case Node::Kind::text: return poise::detail::in_quotes(node.text);
    case Node::Kind::integer: return std::to_string(node.integer);
    case Node::Kind::number: return poise::detail::in_words(node.number);
    case Node::Kind::flag: return node.flag ? "true" : "false";
    case Node::Kind::list: return "a list";
    case Node::Kind::table: return "a table";
    case Node::Kind::other: break;
  }
  return node.text;
}

/// The path of a secret, which is written {file = "PATH"}.
[[nodiscard]] inline std::optional<std::string> file_of_secret(Node const& node) {
  bool const names_file = node.kind == Node::Kind::table && node.keys.size() == 1 &&
                          node.keys[0].name == "file" && node.items[0].kind == Node::Kind::text &&
                          !node.items[0].text.empty();
  return names_file ? std::optional{node.items[0].text} : std::nullopt;
}

}  // namespace poise::inline v0_1_0::config
