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

  /// Not a date or a time: TomlScanner refuses those.
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
    }
  }

  std::vector<Problem>& problems_;
};

/// Tells keys from values. Letters in strings and comments do not count.
class TomlAssignments {
 public:
  /// Is the next letter part of a value?
  [[nodiscard]] bool in_value() const noexcept {
    return assigned_ || (!open_.empty() && open_.back() == '[');
  }
  /// False if this letter is an = that belongs to no key. `begins`: it is the first of its line.
  [[nodiscard]] bool take(char letter, bool begins) {
    bool const in_list = !open_.empty() && open_.back() == '[';
    if (letter == '=') return !in_list && !std::exchange(assigned_, true);
    if (letter == '\n' || (letter == '[' && begins && open_.empty())) in_header_ = letter == '[';
    if (in_header_) return true;
    if (letter == '{' || letter == '[') open_.push_back(letter);
    if ((letter == ']' || letter == '}') && !open_.empty()) open_.pop_back();
    if (letter == '{' || (letter == ',' && !in_list) || (letter == '\n' && open_.empty()))
      assigned_ = false;
    if (letter == '}') assigned_ = true;  // what it ends is a value
    return true;
  }

 private:
  std::string open_{};      // brackets and braces
  bool in_header_ = false;  // of a table: its brackets hold keys
  bool assigned_ = false;
};

/// Finds what toml++ 3.3 does not survive, which fuzzing found. Outside of strings and comments:
/// characters beyond ASCII; a quote or bracket inside of what began without one; an = that belongs
/// to no key; three quotes that begin no value; a table's name that begins with a character that no
/// name has; } where a list wants a value; parts of a date or a time; and a line with thousands
/// of dots, since it makes a table of each, and destroys them recursively. In strings: characters
/// beyond ASCII after a backslash. None of these is a configuration.
class TomlScanner {
 public:
  explicit TomlScanner(std::string_view text) : text_{text} {
    if (text_.starts_with("\xef\xbb\xbf")) at_ = 3;  // a byte order mark
  }

  [[nodiscard]] std::optional<Problem> scan() {
    while (at_ < text_.size()) {
      if (begins_time()) return problem("a date or a time, which no field takes: put it in quotes");
      if (auto const* const wrong = wrong_here()) return not_toml(wrong);
      if (!take()) return not_toml("only ASCII may follow a backslash; use \\\\ for itself");
    }
    return std::nullopt;
  }

 private:
  static constexpr std::size_t most_dots = 1000;

  [[nodiscard]] static bool is_beyond_ascii(char letter) noexcept {
    return (static_cast<unsigned char>(letter) & 0x80U) != 0;
  }
  [[nodiscard]] static bool is_among(char letter, std::string_view letters) noexcept {
    return letters.find(letter) != std::string_view::npos;
  }
  [[nodiscard]] bool follows(std::string_view text) const {
    return text_.substr(at_).starts_with(text);
  }

  /// What TOML does not allow here; nullptr if nothing is wrong.
  [[nodiscard]] char const* wrong_here() {
    auto const letter = text_[at_];
    bool const opens = is_among(letter, "\"'[{");
    bool const begins_value = is_among(last_, "=[,");
    if (letter == '[' && begins_ && !name_follows())
      return "a table's name begins with a letter, a digit, - or _; others stand in quotes";
    if (is_beyond_ascii(letter)) return "put what is beyond ASCII in quotes";
    if (letter == '}' && is_among(last_, "[,")) return "a value is missing before }";
    if (opens && !is_among(previous_, " \t\r\n=[{,.\"'"))
      return "a quote or bracket inside of what began without one";
    if (opens && assignments_.in_value() && !begins_value)
      return "a quote or bracket inside of a value";
    if (!begins_value && (follows("\"\"\"") || follows("'''")))
      return "three quotes begin a value, not a name";
    if (!assignments_.take(letter, begins_)) return "a key has one =; texts stand in quotes";
    dots_ = letter == '\n' ? 0 : dots_ + (letter == '.' ? 1 : 0);
    if (dots_ > most_dots) return "a line with more than 1000 dots: write it as several lines";
    return nullptr;
  }

  /// Goes on to what follows this letter, this string or this comment. False if a string has what
  /// toml++ does not survive.
  [[nodiscard]] bool take() {
    auto const letter = text_[at_];
    if (!is_among(letter, " \t\r\n#")) last_ = letter;
    begins_ = letter == '\n' || (begins_ && (letter == ' ' || letter == '\t'));
    previous_ = letter;
    if (letter == '"' || letter == '\'') return skip_string(letter);
    if (letter == '#') at_ = std::min(text_.find('\n', at_), text_.size());
    else ++at_;
    return true;
  }

  /// Is this the first letter of a date or a time, such as 2026-01-31 or 12:30?
  [[nodiscard]] bool begins_time() const {
    if (!assignments_.in_value() || !is_among(last_, "=[,")) return false;
    auto const rest = text_.substr(at_);
    auto const digits = rest.find_first_not_of("0123456789");
    if (digits == std::string_view::npos) return false;
    return (digits == 4 && rest[digits] == '-') || (digits == 2 && rest[digits] == ':');
  }

  /// After [ or [[ at at_.
  [[nodiscard]] bool name_follows() const {
    auto rest = text_.substr(at_ + 1);
    auto const skip_spaces = [&] {
      rest.remove_prefix(std::min(rest.find_first_not_of(" \t"), rest.size()));
    };
    skip_spaces();
    if (rest.starts_with('[')) rest.remove_prefix(1);
    skip_spaces();
    if (rest.empty()) return false;
    auto const first = rest[0];
    return (first >= 'a' && first <= 'z') || (first >= 'A' && first <= 'Z') ||
           (first >= '0' && first <= '9') ||
           std::string_view{"-_\"']"}.find(first) != std::string_view::npos;
  }

  /// One that is not closed ends with its line, or, in three quotes, with the file. False at a
  /// backslash before what is beyond ASCII.
  [[nodiscard]] bool skip_string(char quote) {
    std::string const three(3, quote);
    bool const is_long = text_.substr(at_).starts_with(three);
    auto const end = is_long ? std::string_view{three} : std::string_view{three}.substr(2);
    for (at_ += end.size(); at_ < text_.size(); ++at_) {
      if (text_[at_] == '\n' && !is_long) return true;
      if (text_[at_] == '\\' && quote == '"') {
        ++at_;  // in three quotes spaces and lines may follow, which do not count
        auto const next = text_.find_first_not_of(" \t\r\n", at_);
        if (next != std::string_view::npos && is_beyond_ascii(text_[next])) return false;
      } else if (text_.substr(at_).starts_with(end)) {
        at_ += end.size();
        return true;
      }
    }
    return true;
  }

  [[nodiscard]] Problem not_toml(std::string const& why) const {
    return problem("this is no TOML: " + why);
  }
  [[nodiscard]] Problem problem(std::string text) const {
    Position at{1, 1};
    for (char const letter : text_.substr(0, at_)) {
      if (letter == '\n') at = {at.line + 1, 1};
      else if ((static_cast<unsigned char>(letter) & 0xc0U) != 0x80U) ++at.column;
    }
    return {at, std::move(text)};
  }

  std::string_view text_;
  std::size_t at_ = 0;
  char last_ = '\n';      // but for spaces and comments
  char previous_ = '\n';  // of all
  bool begins_ = true;    // the line; spaces do not count
  std::size_t dots_ = 0;  // of the line
  TomlAssignments assignments_{};
};

}  // namespace detail

/// The file as nodes. What toml++ refuses is a problem, and the only one: it stops there.
[[nodiscard]] inline std::optional<Node> parse_toml(std::string_view text,
                                                    std::vector<Problem>& problems) {
  if (auto const problem = detail::TomlScanner{text}.scan()) {
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
