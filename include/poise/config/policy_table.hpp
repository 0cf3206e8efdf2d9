// SPDX-License-Identifier: MIT
#pragma once

// A policy that a file has as a table, written as the text that policy_named() reads:
//
//   [policy]
//   name = "retry"
//   attempts = 3
//   policy = {name = "p2c", load = "peak_ewma"}
//
// is retry(attempts=3, policy=p2c(load=peak_ewma)). Which names and options there are is known to
// policy_named() alone: its errors say where in the text a mistake is, and the table where in the
// file that is.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/base/files.hpp>
#include <poise/compose/policy_error.hpp>
#include <poise/compose/policy_named.hpp>
#include <poise/compose/policy_parser.hpp>
#include <poise/config/node.hpp>
#include <poise/config/quantity.hpp>
#include <poise/error.hpp>
#include <poise/hash/siphash.hpp>
#include <poise/random.hpp>

namespace poise::inline v0_1_0::config::detail {

/// What is wrong with a policy's text, and where; nothing if it makes a policy.
[[nodiscard]] inline std::optional<PolicyError> policy_mistake(std::string const& text) {
  try {
    (void)policy_named(text);
    return std::nullopt;
  } catch (PolicyError const& error) {
    return error;
  }
}

/// A mark of each secret that the policy reads from a file, by the file's path: another one if the
/// secret is another one. It tells nothing of the secret outside of this process.
/// *Errors* ConfigError: a file can't be read.
inline void mark_secrets(poise::detail::PolicyText const& policy,
                         std::map<std::string, std::uint64_t>& marks) {
  static hash::Secret const own{fresh_seed(), fresh_seed()};
  if (auto const file = poise::detail::secret_file(policy); file && policy.key == "secret")
    marks[*file] = hash::siphash(poise::detail::secret_of(*file), own);
  for (auto const& each : policy.arguments) mark_secrets(each, marks);
}

/// Writes one table as text. Its mistakes become problems.
class PolicyTable {
 public:
  PolicyTable(std::string const& path, Node const& table, std::vector<Problem>& problems)
      : problems_{problems} {
    auto const before = problems.size();
    put_table(path, table);
    if (problems.size() != before) return;
    if (auto const mistake = policy_mistake(text_))
      add(place_of(mistake->at()), path + ": " + mistake->what());
  }

  /// *Requires* that there were no problems.
  [[nodiscard]] std::string const& text() const noexcept { return text_; }

 private:
  struct Mark {
    std::size_t at;  // in the text
    Position place;  // in the file
  };

  void add(Position at, std::string text) { problems_.push_back({at, std::move(text)}); }

  /// Where in the file the text at this offset was.
  [[nodiscard]] Position place_of(std::size_t at) const {
    auto const next = std::ranges::upper_bound(marks_, at, {}, &Mark::at);
    return next == marks_.begin() ? Position{1, 1} : std::prev(next)->place;
  }

  void put_table(std::string const& path, Node const& table) {
    auto const name = std::ranges::find(table.keys, "name", &Key::name);
    if (name == table.keys.end())
      return add(table.at, path + " has no name: add the policy's name, such as name = \"p2c\"");
    auto const& node = table.items[static_cast<std::size_t>(name - table.keys.begin())];
    if (node.kind != Node::Kind::text)
      return add(node.at, path + ".name is " + in_words(node) + ": use a text in quotes");
    put_name(path + ".name", node.text, node.at);
    char separator = '(';
    for (std::size_t i = 0; i < table.items.size(); ++i) {
      auto const& key = table.keys[i];
      if (key.name == "name" || key.name.starts_with("x-")) continue;
      text_ += std::exchange(separator, ',');
      put_argument(path, key, table.items[i]);
    }
    if (separator == ',') text_ += ')';
  }

  void put_argument(std::string const& path, Key const& key, Node const& value) {
    if (text_.ends_with(',')) text_ += ' ';
    auto const own = path + '.' + poise::detail::escaped(key.name);
    if (key.name.empty()) return add(key.at, path + " has an empty key: give it a name");
    put_name("the key", key.name, key.at);
    text_ += '=';
    put_value(own, value);
  }

  void put_value(std::string const& path, Node const& value) {
    switch (value.kind) {
      case Node::Kind::text: return put_text(path, value);
      case Node::Kind::table:
        if (auto const file = file_of_secret(value))
          return put_name(path, "file:" + *file, value.at);
        return put_table(path, value);
      case Node::Kind::integer: return put(std::to_string(value.integer), value.at);
      case Node::Kind::number: return put(plain(value.number), value.at);
      case Node::Kind::flag: return put(value.flag ? "yes" : "no", value.at);
      case Node::Kind::list:
      case Node::Kind::other: break;
    }
    add(value.at, path + " is " + in_words(value) +
                      ": use a text, a number, true, false, or a table with a name");
  }

  /// With arguments it is a policy's text; else a name, whatever its characters.
  void put_text(std::string const& path, Node const& value) {
    if (value.text.find('(') == std::string::npos) return put_name(path, value.text, value.at);
    try {
      (void)poise::detail::PolicyParser::parse(value.text);
      put(value.text, value.at);
    } catch (PolicyError const& error) {
      add(value.at, path + ": " + error.what());
    }
  }

  void put_name(std::string const& path, std::string const& name, Position at) {
    if (poise::detail::PolicyParser::is_name(name)) return put(name, at);
    if (name.find('"') != std::string::npos)
      add(at, path + " is " + poise::detail::in_quotes(name) + ": remove the quotes inside of it");
    put('"' + name + '"', at);
  }

  void put(std::string_view text, Position at) {
    marks_.push_back({text_.size(), at});
    text_ += text;
  }

  std::vector<Problem>& problems_;
  std::string text_{};
  std::vector<Mark> marks_{};
};

}  // namespace poise::inline v0_1_0::config::detail
