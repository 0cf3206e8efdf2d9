// SPDX-License-Identifier: MIT
#pragma once

// TOML to nodes, by toml++.
//
// Where toml++ is not installed, this header is empty.

#if __has_include(<toml++/toml.h>)

#include <toml++/toml.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/config/node.hpp>

namespace poise::inline v0_1_0::config {

namespace detail {

[[nodiscard]] inline Position position_of(toml::source_region const& region) {
  return {static_cast<std::uint32_t>(region.begin.line),
          static_cast<std::uint32_t>(region.begin.column)};
}

/// Copies toml++'s tree, whose tables are sorted by key, into nodes in the order of the file.
class TomlReader {
 public:
  explicit TomlReader(std::vector<Problem>& problems) : problems_{problems} {}

  Node read(toml::node const& from, std::size_t depth = 0) {
    Node node{.kind = Node::Kind::other, .at = position_of(from.source())};
    if (auto const* const table = from.as_table()) read_table(*table, node, depth);
    else if (auto const* const list = from.as_array()) read_list(*list, node, depth);
    else read_value(from, node);
    return node;
  }

 private:
  bool is_too_deep(Node const& node, std::size_t depth) {
    if (depth < max_depth) return false;
    problems_.push_back({node.at, "more than " + std::to_string(max_depth) +
                                      " tables and lists inside each other: nothing here is that "
                                      "deep"});
    return true;
  }

  void read_table(toml::table const& table, Node& node, std::size_t depth) {
    node.kind = Node::Kind::table;
    if (is_too_deep(node, depth)) return;
    struct Entry {
      Key key;
      toml::node const* value;
    };
    std::vector<Entry> entries;
    for (auto const& [key, value] : table)
      entries.push_back({{std::string{key.str()}, position_of(key.source())}, &value});
    std::ranges::sort(entries, {}, [](Entry const& each) { return each.key.at; });
    for (auto& each : entries) {
      node.items.push_back(read(*each.value, depth + 1));
      node.keys.push_back(std::move(each.key));
    }
  }

  void read_list(toml::array const& list, Node& node, std::size_t depth) {
    node.kind = Node::Kind::list;
    if (is_too_deep(node, depth)) return;
    for (auto const& each : list) node.items.push_back(read(each, depth + 1));
  }

  static void read_value(toml::node const& from, Node& node) {
    if (auto const* const text = from.as_string()) {
      node.kind = Node::Kind::text;
      node.text = text->get();
    } else if (auto const* const integer = from.as_integer()) {
      node.kind = Node::Kind::integer;
      node.integer = integer->get();
    } else if (auto const* const number = from.as_floating_point()) {
      node.kind = Node::Kind::number;
      node.number = number->get();
    } else if (auto const* const flag = from.as_boolean()) {
      node.kind = Node::Kind::flag;
      node.flag = flag->get();
    } else {
      node.text = "a date or a time";
    }
  }

  std::vector<Problem>& problems_;
};

/// What toml++ 3.3 does not survive, as a problem: a line with thousands of dots, since it makes a
/// table of each, one in the other, and destroys them recursively; and a table's name that begins
/// with a character that no name has, which it takes for granted (an assertion, or worse without).
[[nodiscard]] inline std::optional<Problem> refused_line(std::string_view line,
                                                         std::uint32_t number) {
  constexpr std::ptrdiff_t most = 1000;
  if (std::ranges::count(line, '.') > most)
    return Problem{{number, 1}, "a line with more than 1000 dots: write it as several lines"};
  auto const skip_spaces = [&] {
    line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
  };
  auto const size = line.size();
  skip_spaces();
  if (!line.starts_with('[')) return std::nullopt;
  line.remove_prefix(1);
  skip_spaces();
  if (line.starts_with('[')) line.remove_prefix(1);
  skip_spaces();
  constexpr std::string_view others{"-_\"']"};
  auto const first = line.empty() ? '\0' : line[0];
  bool const begins = (first >= 'a' && first <= 'z') || (first >= 'A' && first <= 'Z') ||
                      (first >= '0' && first <= '9') || others.find(first) != others.npos;
  if (begins) return std::nullopt;
  return Problem{{number, static_cast<std::uint32_t>(size - line.size() + 1)},
                 "this is no TOML: a table's name begins with a letter, a digit, - or _; others "
                 "stand in quotes"};
}

[[nodiscard]] inline std::optional<Problem> refused_early(std::string_view text) {
  constexpr std::string_view byte_order_mark{"\xef\xbb\xbf"};
  if (text.starts_with(byte_order_mark)) text.remove_prefix(byte_order_mark.size());
  for (std::uint32_t number = 1; !text.empty(); ++number) {
    auto const line = text.substr(0, text.find('\n'));
    if (auto problem = refused_line(line, number)) return problem;
    text.remove_prefix(std::min(text.size(), line.size() + 1));
  }
  return std::nullopt;
}

}  // namespace detail

/// The file as nodes. What toml++ refuses is a problem, and the only one: it stops there.
[[nodiscard]] inline std::optional<Node> parse_toml(std::string_view text,
                                                    std::vector<Problem>& problems) {
  if (auto const problem = detail::refused_early(text)) {
    problems.push_back(*problem);
    return std::nullopt;
  }
  try {
    return detail::TomlReader{problems}.read(toml::parse(text));
  } catch (toml::parse_error const& error) {
    problems.push_back({detail::position_of(error.source()),
                        "this is no TOML: " + std::string{error.description()}});
    return std::nullopt;
  }
}

}  // namespace poise::inline v0_1_0::config

#endif
