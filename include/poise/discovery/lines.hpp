// SPDX-License-Identifier: MIT
#pragma once

// Endpoints as lines of text, one each:
//
//   host:port [weight=N] [zone=Z] [tier=N] [id=NAME] [max_in_flight=N] [label.KEY=VALUE ...]
//
// Empty lines and what follows a # after a space or at the start of a line are skipped. Any byte
// of a word can be written as %XX: a space is %20, a percent sign %25.

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <poise/base/percent.hpp>
#include <poise/discovery/look.hpp>
#include <poise/discovery/normalize.hpp>
#include <poise/endpoint.hpp>
#include <poise/error.hpp>

namespace poise::inline v0_1_0::discovery {

namespace detail {

inline std::optional<std::uint32_t> parse_number(std::string_view text) {
  std::uint32_t value = 0;
  auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

inline std::optional<std::string> unescape(std::string_view text) {
  return poise::detail::percent_decoded(text, false);
}

inline std::string escape(std::string_view text) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string result;
  for (char const letter : text) {
    auto const byte = static_cast<unsigned char>(letter);
    if (byte > 0x20U && byte != 0x7fU && letter != '%' && letter != '#' && letter != '=') {
      result += letter;
      continue;
    }
    result += '%';
    result += digits[byte >> 4U];
    result += digits[byte & 15U];
  }
  return result;
}

/// Takes the next word; empty at the end of the line or at a comment.
inline std::string_view take_word(std::string_view& line) {
  auto const begin = line.find_first_not_of(" \t\r");
  if (begin == std::string_view::npos || line[begin] == '#') return line = {};
  line.remove_prefix(begin);
  auto const word = line.substr(0, line.find_first_of(" \t\r"));
  line.remove_prefix(word.size());
  return word;
}

/// Stores one `key=value`; what is wrong with it, or nothing.
inline std::string add_fact(Endpoint& endpoint, std::string_view word) {
  auto const equals = word.find('=');
  auto const key = word.substr(0, equals);
  auto value = unescape(equals == std::string_view::npos ? "" : word.substr(equals + 1));
  if (!value || value->empty()) return "needs a value, in which % is followed by two hex digits";
  if (key == "weight" || key == "tier" || key == "max_in_flight") {
    auto const number = parse_number(*value);
    if (!number) return "needs a whole number from 0 to 4294967295";
    (key == "weight" ? endpoint.weight
     : key == "tier" ? endpoint.tier
                     : endpoint.max_in_flight) = *number;
  } else if (key == "zone") {
    endpoint.zone = std::move(*value);
  } else if (key == "id") {
    endpoint.id = std::move(*value);
  } else if (key.starts_with("label.") && key.size() > 6) {
    auto label = unescape(key.substr(6));
    if (!label) return "has a % without two hex digits";
    endpoint.labels.push_back({std::move(*label), std::move(*value)});
  } else {
    return "is none of weight=N, zone=Z, tier=N, id=NAME, max_in_flight=N, label.KEY=VALUE";
  }
  return {};
}

}  // namespace detail

/// One line: an endpoint, or nothing if it holds none. `error` says what is wrong with it: an
/// address that is no host:port, too, unless it is not to be checked.
[[nodiscard]] inline std::optional<Endpoint> parse_line(std::string_view line, std::string& error,
                                                        bool check_address = true) {
  error.clear();
  auto const first = detail::take_word(line);
  if (first.empty()) return std::nullopt;
  auto address = detail::unescape(first);
  if (!address) error = "has a % without two hex digits";
  else if (check_address) error = detail::address_error(*address);
  if (!error.empty()) {
    error = poise::detail::in_quotes(first) + " " + error;
    return std::nullopt;
  }
  Endpoint endpoint{.address = std::move(*address)};
  for (auto word = detail::take_word(line); !word.empty(); word = detail::take_word(line)) {
    error = detail::add_fact(endpoint, word);
    if (error.empty()) continue;
    error.insert(0, poise::detail::in_quotes(word) + " ");
    return std::nullopt;
  }
  if (endpoint.id.empty()) endpoint.id = endpoint.address;
  return endpoint;
}

/// All lines. A line that is wrong is left out and named in `problems`, with its number.
[[nodiscard]] inline Found parse_lines(std::string_view text, bool check_addresses = true) {
  constexpr std::string_view byte_order_mark = "\xef\xbb\xbf";
  if (text.starts_with(byte_order_mark)) text.remove_prefix(byte_order_mark.size());
  Found found;
  std::string error;
  for (std::size_t number = 1; !text.empty(); ++number) {
    auto const line = text.substr(0, text.find('\n'));
    text.remove_prefix(line.size() == text.size() ? text.size() : line.size() + 1);
    if (auto endpoint = parse_line(line, error, check_addresses))
      found.endpoints.push_back(std::move(*endpoint));
    else if (!error.empty())
      detail::add_problem(found.problems, "line " + std::to_string(number) + ": " + error);
  }
  return found;
}

/// The line of an endpoint, without its newline; parse_line() gives the same endpoint back.
[[nodiscard]] inline std::string to_line(Endpoint const& endpoint) {
  auto line = detail::escape(endpoint.address);
  auto const add = [&](std::string_view key, std::string_view value) {
    line.append(" ").append(key).append("=").append(detail::escape(value));
  };
  if (endpoint.weight != 1) add("weight", std::to_string(endpoint.weight));
  if (!endpoint.zone.empty()) add("zone", endpoint.zone);
  if (endpoint.tier != 0) add("tier", std::to_string(endpoint.tier));
  if (endpoint.id != endpoint.address) add("id", endpoint.id);
  if (endpoint.max_in_flight != Endpoint{}.max_in_flight)
    add("max_in_flight", std::to_string(endpoint.max_in_flight));
  for (auto const& label : endpoint.labels)
    if (!label.value.empty()) add("label." + detail::escape(label.key), label.value);
  return line;
}

}  // namespace poise::inline v0_1_0::discovery
