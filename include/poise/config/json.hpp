// SPDX-License-Identifier: MIT
#pragma once

// JSON to nodes, by nlohmann's parser, with the places of keys and values.
//
// Where nlohmann's JSON is not installed, this header is empty.

#if __has_include(<nlohmann/json.hpp>)

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <poise/config/node.hpp>

namespace poise::inline v0_1_0::config {

namespace detail {

/// An iterator over text that says how far the parser has come: its events have no position.
class CountingIterator {
 public:
  // NOLINTBEGIN(readability-identifier-naming): the names of the standard library
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = char const*;
  using reference = char const&;
  // NOLINTEND(readability-identifier-naming)

  CountingIterator() = default;
  CountingIterator(char const* at, char const** latest) : at_{at}, latest_{latest} {}

  reference operator*() const { return *at_; }
  CountingIterator& operator++() {
    *latest_ = ++at_;
    return *this;
  }
  CountingIterator operator++(int) {
    auto const before = *this;
    ++*this;
    return before;
  }
  friend bool operator==(CountingIterator const& a, CountingIterator const& b) {
    return a.at_ == b.at_;
  }
  friend bool operator!=(CountingIterator const& a, CountingIterator const& b) {
    return a.at_ != b.at_;
  }

 private:
  char const* at_ = nullptr;
  char const** latest_ = nullptr;
};

/// Builds nodes from the parser's events. A value begins at the first character after the event
/// before it that is neither space nor comma nor colon.
class JsonReader {
 public:
  JsonReader(std::string_view text, std::vector<Problem>& problems)
      : text_{text}, latest_{text.data()}, problems_{problems} {}

  std::optional<Node> read() {
    auto const* const first = text_.data();
    CountingIterator const begin{first, &latest_};
    CountingIterator const end{first + text_.size(), &latest_};
    if (!nlohmann::json::sax_parse(begin, end, this)) return std::nullopt;
    return std::move(root_);
  }

  // -- events of nlohmann::json::sax_parse -----------------------------------------------------

  bool null() { return put({.kind = Node::Kind::other, .text = "null"}); }
  bool boolean(bool value) { return put({.kind = Node::Kind::flag, .flag = value}); }
  bool number_integer(std::int64_t value) {
    return put({.kind = Node::Kind::integer, .integer = value});
  }
  bool number_unsigned(std::uint64_t value) {
    constexpr std::uint64_t most = std::numeric_limits<std::int64_t>::max();
    return put(
        {.kind = Node::Kind::integer, .integer = static_cast<std::int64_t>(std::min(value, most))});
  }
  bool number_float(double value, std::string const&) {
    return put({.kind = Node::Kind::number, .number = value});
  }
  bool string(std::string& value) {
    return put({.kind = Node::Kind::text, .text = std::move(value)});
  }
  bool binary(std::vector<std::uint8_t>&) { return false; }  // no JSON has it
  bool start_object(std::size_t) { return open({.kind = Node::Kind::table}); }
  bool start_array(std::size_t) { return open({.kind = Node::Kind::list}); }
  bool end_object() { return close(); }
  bool end_array() { return close(); }
  bool key(std::string& name) {
    auto& table = *open_.back();
    auto const at = next_position();
    if (std::ranges::find(table.keys, name, &Key::name) != table.keys.end())
      problems_.push_back(
          {at, "the key " + poise::detail::in_quotes(name) + " is given twice: remove one"});
    table.keys.push_back({std::move(name), at});
    return true;
  }
  bool parse_error(std::size_t read, std::string const&, nlohmann::json::exception const& error) {
    std::string_view what{error.what()};
    auto const begin = what.find("] ");
    if (begin != std::string_view::npos) what.remove_prefix(begin + 2);
    auto const* const at = text_.data() + std::min(read == 0 ? 0 : read - 1, text_.size());
    problems_.push_back({position_of(at), "this is no JSON: " + std::string{what}});
    return false;
  }

 private:
  bool put(Node node) {
    place(std::move(node));
    return true;
  }
  Node& place(Node node) {
    node.at = next_position();
    if (open_.empty()) return root_ = std::move(node);
    return open_.back()->items.emplace_back(std::move(node));
  }
  bool open(Node node) {
    auto& placed = place(std::move(node));
    if (open_.size() >= max_depth) {
      problems_.push_back({placed.at, "more than " + std::to_string(max_depth) +
                                          " tables and lists inside each other: nothing here is "
                                          "that deep"});
      return false;
    }
    open_.push_back(&placed);
    return true;
  }
  bool close() {
    open_.pop_back();
    event_ = latest_;
    return true;
  }

  Position next_position() {
    auto const* at = event_ == nullptr ? text_.data() : event_;
    while (at < latest_ && std::string_view{" \t\r\n,:"}.find(*at) != std::string_view::npos) ++at;
    event_ = latest_;
    return position_of(at);
  }
  /// Columns count characters, not bytes.
  Position position_of(char const* at) {
    for (; counted_ < at && counted_ < text_.data() + text_.size(); ++counted_) {
      if (*counted_ == '\n') {
        ++position_.line;
        position_.column = 1;
      } else if ((static_cast<unsigned char>(*counted_) & 0xc0U) != 0x80U) {
        ++position_.column;
      }
    }
    return position_;
  }

  std::string_view text_;
  char const* latest_;
  char const* event_ = nullptr;
  char const* counted_ = text_.data();
  Position position_{1, 1};
  std::vector<Problem>& problems_;
  Node root_{};
  std::vector<Node*> open_{};
};

}  // namespace detail

/// The file as nodes. What is no JSON is a problem, and the only one.
[[nodiscard]] inline std::optional<Node> parse_json(std::string_view text,
                                                    std::vector<Problem>& problems) {
  if (text.empty()) {
    problems.push_back({{1, 1}, "this is no JSON: the file is empty"});
    return std::nullopt;
  }
  return detail::JsonReader{text, problems}.read();
}

}  // namespace poise::inline v0_1_0::config

#endif
