// SPDX-License-Identifier: MIT
#pragma once

// What readers of other programs' configurations share. They translate nodes into the nodes of a
// poise file, with the places of the foreign file, so that config::read() checks them as any file.

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <poise/config/document.hpp>
#include <poise/config/effective.hpp>
#include <poise/config/node.hpp>
#include <poise/error.hpp>

namespace poise::inline v0_1_0::config {

/// A foreign configuration as one of poise.
struct Translation {
  Document document{};  ///< Its places are those of the foreign file.
  /// What has no counterpart, or not the same meaning, in the order of the file.
  std::vector<Problem> ignored{};
};

/// As a file: what was ignored as comments, and the fields that the foreign file gives.
/// *Requires* a valid document.
[[nodiscard]] inline std::string given(Translation const& translation) {
  std::string text;
  for (auto const& each : translation.ignored)
    text += "# line " + std::to_string(each.at.line) + ": " + each.text + '\n';
  return text + (text.empty() ? "" : "\n") + given(translation.document);
}

namespace detail {

[[nodiscard]] inline Node text_node(std::string text, Position at) {
  return {.kind = Node::Kind::text, .at = at, .text = std::move(text)};
}
[[nodiscard]] inline Node whole_node(std::int64_t value, Position at) {
  return {.kind = Node::Kind::integer, .at = at, .integer = value};
}
[[nodiscard]] inline Node number_node(double value, Position at) {
  return {.kind = Node::Kind::number, .at = at, .number = value};
}
[[nodiscard]] inline Node flag_node(bool value, Position at) {
  return {.kind = Node::Kind::flag, .at = at, .flag = value};
}
[[nodiscard]] inline Node table_node(Position at) { return {.kind = Node::Kind::table, .at = at}; }

inline Node& add_member(Node& table, std::string name, Node value) {
  table.keys.push_back({std::move(name), value.at});
  return table.items.emplace_back(std::move(value));
}

/// The member of this name. It is made where it is missing.
inline Node& member(Node& table, std::string_view name, Position at) {
  auto const found = std::ranges::find(table.keys, name, &Key::name);
  if (found == table.keys.end()) return add_member(table, std::string{name}, table_node(at));
  return table.items[static_cast<std::size_t>(found - table.keys.begin())];
}

/// Are these two spellings of protobuf's JSON the same name: max_hosts and maxHosts?
[[nodiscard]] inline bool same_member(std::string_view a, std::string_view b) {
  auto const skip = [](std::string_view& text) {
    while (text.starts_with('_')) text.remove_prefix(1);
  };
  for (;; a.remove_prefix(1), b.remove_prefix(1)) {
    skip(a);
    skip(b);
    if (a.empty() || b.empty()) return a.empty() && b.empty();
    if (std::tolower(static_cast<unsigned char>(a[0])) !=
        std::tolower(static_cast<unsigned char>(b[0])))
      return false;
  }
}

/// The poise file as it grows.
class Translator {
 public:
  /// Puts a value at "health.ejection.base".
  void put(std::string_view path, Node value) {
    auto* table = &root_;
    for (auto dot = path.find('.'); dot != std::string_view::npos; dot = path.find('.')) {
      table = &member(*table, path.substr(0, dot), value.at);
      path.remove_prefix(dot + 1);
    }
    add_member(*table, std::string{path}, std::move(value));
  }
  void add_backend(Node backend) {
    auto& list = member(root_, "backends", backend.at);
    list.kind = Node::Kind::list;
    list.items.push_back(std::move(backend));
  }
  [[nodiscard]] bool has(std::string_view name) const {
    return std::ranges::find(root_.keys, name, &Key::name) != root_.keys.end();
  }
  void ignore(Position at, std::string text) { ignored_.push_back({at, std::move(text)}); }
  void refuse(Position at, std::string text) { problems_.push_back({at, std::move(text)}); }

  /// Where the foreign file has no backends, `source` says where they come from.
  [[nodiscard]] Translation finish(std::string const& source, char const* without) {
    if (!has("backends") && !has("source")) {
      if (source.empty()) refuse({1, 1}, without);
      else put("source", text_node(source, {1, 1}));
    }
    std::ranges::stable_sort(ignored_, {}, &Problem::at);
    if (!problems_.empty()) return {{.problems = std::move(problems_)}, std::move(ignored_)};
    return {read(root_), std::move(ignored_)};
  }

 private:
  Node root_{};
  std::vector<Problem> problems_{};
  std::vector<Problem> ignored_{};
};

/// What a reader makes of a file, unless its text has problems. `without` is said of a file that
/// has no backends, if there is no `source` either.
template <class Reader>
[[nodiscard]] Translation translated(std::optional<Node> const& root, std::vector<Problem> problems,
                                     std::string const& source, char const* without) {
  if (!problems.empty() || !root) return {{.problems = std::move(problems)}, {}};
  Translator to;
  Reader{to}.read(*root);
  return to.finish(source, without);
}

/// {"value": 7} as 7: the wrappers of protobuf, and Envoy's percentages and runtime values.
Node const& unwrapped(Node const&& node) = delete;
[[nodiscard]] inline Node const& unwrapped(Node const& node) {
  if (node.kind != Node::Kind::table) return node;
  for (std::size_t i = 0; i < node.items.size(); ++i)
    if (same_member(node.keys[i].name, "value") || same_member(node.keys[i].name, "default_value"))
      return unwrapped(node.items[i]);
  return node;
}

/// A number divided, or else the node as it is. 64 bits may stand in quotes, and a wrapper without
/// a value stands for 0.
[[nodiscard]] inline Node scaled(Node const& node, double divisor) {
  auto number = node;
  if (node.kind == Node::Kind::table && node.items.empty()) number = whole_node(0, node.at);
  if (node.kind == Node::Kind::text) {
    auto const* const end = node.text.data() + node.text.size();
    auto const [stop, error] = std::from_chars(node.text.data(), end, number.integer);
    if (error != std::errc{} || stop != end) return node;
    number = whole_node(number.integer, node.at);
  }
  bool const is_whole = number.kind == Node::Kind::integer;
  if (divisor == 1 || (!is_whole && number.kind != Node::Kind::number)) return number;
  return number_node((is_whole ? static_cast<double>(number.integer) : number.number) / divisor,
                     node.at);
}

/// A member of a foreign table that is a field here.
struct Counterpart {
  std::string_view from;
  std::string_view to;
  double divisor = 1;          ///< 100 for a percentage.
  std::int64_t fallback = -1;  ///< The other program's default; -1: the same as here.
};

/// A foreign table. What is asked for is taken; done() reports the rest as ignored.
class Members {
 public:
  /// A node that is no table is refused, and has no members.
  Members(Translator& to, std::string path, Node const& table)
      : to_{to}, path_{std::move(path)}, table_{table}, taken_(table.keys.size()) {
    if (table.kind != Node::Kind::table)
      to.refuse(table.at, (path_.empty() ? "the file" : path_) + " is " + in_words(table) +
                              ": a table is expected here");
  }

  [[nodiscard]] Position at() const noexcept { return table_.at; }
  [[nodiscard]] std::string path_of(std::string_view name) const {
    return path_.empty() ? std::string{name} : path_ + '.' + std::string{name};
  }

  /// Null if it is missing.
  [[nodiscard]] Node const* find(std::string_view name) {
    for (std::size_t i = 0; i < taken_.size(); ++i) {
      if (taken_[i] || !same_member(table_.keys[i].name, name)) continue;
      taken_[i] = true;
      return &table_.items[i];
    }
    return nullptr;
  }
  /// Its text; empty if it is missing or no text.
  [[nodiscard]] std::string text(std::string_view name) {
    auto const* const found = find(name);
    return found == nullptr ? std::string{} : found->text;
  }
  /// The items of a list; none if it is missing. What is no list is refused.
  [[nodiscard]] std::vector<Node> const& list(std::string_view name) {
    static std::vector<Node> const none;
    auto const* const found = find(name);
    if (found == nullptr) return none;
    if (found->kind == Node::Kind::list) return found->items;
    to_.refuse(found->at, path_of(name) + " is " + in_words(*found) + ": a list is expected here");
    return none;
  }
  void take(std::initializer_list<Counterpart> fields) {
    for (auto const& each : fields) {
      if (auto const* const found = find(each.from))
        to_.put(each.to, scaled(unwrapped(*found), each.divisor));
      else if (each.fallback >= 0)
        to_.put(each.to, scaled(whole_node(each.fallback, table_.at), each.divisor));
    }
  }
  void ignore(std::string_view name, std::string const& why) {
    if (auto const* const found = find(name)) to_.ignore(found->at, path_of(name) + ": " + why);
  }
  /// Reports what nothing asked for. `quiet` are names that say nothing of behaviour.
  void done(std::initializer_list<std::string_view> quiet = {"@type"}) {
    for (std::size_t i = 0; i < taken_.size(); ++i) {
      auto const& key = table_.keys[i];
      bool const is_quiet = std::ranges::find(quiet, key.name) != quiet.end();
      if (taken_[i] || is_quiet) continue;
      to_.ignore(key.at, path_of(poise::detail::escaped(key.name)) + ": no counterpart");
    }
  }

 private:
  Translator& to_;
  std::string path_;
  Node const& table_;
  std::vector<bool> taken_;
};

/// Weights by load reports, which have the same options in Envoy and gRPC.
inline void take_load_reports(Translator& to, Members& options) {
  to.put("load_reports.enabled", flag_node(true, options.at()));
  options.take({{"blackout_period", "load_reports.blackout"},
                {"weight_expiration_period", "load_reports.expiration"},
                {"weight_update_period", "load_reports.update_period"},
                {"error_utilization_penalty", "load_reports.error_penalty"}});
  for (auto const* name : {"enable_oob_load_report", "oob_reporting_period"})
    options.ignore(name, "reports are read from answers");
  options.ignore("metric_names_for_computing_utilization",
                 "the utilization is the application's, else the processor's");
}

}  // namespace detail

}  // namespace poise::inline v0_1_0::config
