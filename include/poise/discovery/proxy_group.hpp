// SPDX-License-Identifier: MIT
#pragma once

// A group of servers as a proxy's configuration has it: an `upstream` of nginx
// (discovery/nginx.hpp) or a `backend` of HAProxy (discovery/haproxy.hpp). So one list can serve a
// proxy and poise.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/base/ascii.hpp>
#include <poise/discovery/lines.hpp>
#include <poise/discovery/look.hpp>
#include <poise/discovery/normalize.hpp>
#include <poise/endpoint.hpp>
#include <poise/error.hpp>

namespace poise::inline v0_1_0::discovery {

struct ProxyGroup {
  std::string name{};
  std::string policy{};              ///< The one of poise that comes closest, as policy_named().
  Found found{};                     ///< Its servers; what could not be read, in `problems`.
  std::vector<std::string> notes{};  ///< What poise has elsewhere, or not at all: "line 3: zone".
};

/// The group of this name, as a source's answer; with an empty name the only one.
/// *Errors* Failed: no such group; several, and none is named.
[[nodiscard]] inline Look group_named(std::vector<ProxyGroup> groups, std::string_view name) {
  if (name.empty() && groups.size() == 1) return std::move(groups[0].found);
  auto const group = std::ranges::find(groups, name, &ProxyGroup::name);
  if (group != groups.end()) return std::move(group->found);
  if (groups.empty()) return Failed{"has no group of servers", {}};
  std::string known;
  for (auto const& each : groups)
    known += (known.empty() ? "" : ", ") + poise::detail::in_quotes(each.name);
  return Failed{
      (name.empty() ? "has several groups" : "has no group " + poise::detail::in_quotes(name)) +
          std::string{": name one of "} + known,
      {}};
}

namespace detail {

[[nodiscard]] inline std::string at_line(std::size_t line, std::string_view what) {
  return "line " + std::to_string(line) + ": " + std::string{what};
}

/// False if it is no whole number.
[[nodiscard]] inline bool set_weight(Endpoint& endpoint, std::string_view text) {
  auto const number = parse_number(text);
  endpoint.weight = number.value_or(endpoint.weight);
  return number.has_value();
}
/// The same of a limit of requests in flight; 0 is none.
[[nodiscard]] inline bool set_limit(Endpoint& endpoint, std::string_view text) {
  auto const number = parse_number(text);
  if (number) endpoint.max_in_flight = *number == 0 ? Endpoint{}.max_in_flight : *number;
  return number.has_value();
}

/// Adds a server, or says why its address can't be used.
inline void add_server(ProxyGroup& group, std::size_t line, Endpoint endpoint) {
  if (auto const error = address_error(endpoint.address); !error.empty())
    return add_problem(
        group.found.problems,
        at_line(line, poise::detail::in_quotes(endpoint.address) + " ") + std::string{error});
  group.found.endpoints.push_back(std::move(endpoint));
}

/// For texts that become part of a configuration: nothing in them may end a word.
/// *Errors* ConfigError.
inline void check_word(std::string_view word, std::string_view what, std::string_view others) {
  auto const is_safe = [&](char letter) {
    return poise::detail::is_letter_or_digit(letter) ||
           others.find(letter) != std::string_view::npos;
  };
  if (!word.empty() && std::ranges::all_of(word, is_safe)) return;
  throw ConfigError{poise::detail::in_quotes(word) + " can't be " + std::string{what} +
                    ": use letters, digits and " + std::string{others}};
}

/// The lowest tier serves, the others are backups.
[[nodiscard]] inline std::uint32_t lowest_tier(std::vector<Endpoint> const& endpoints) {
  std::uint32_t lowest = ~std::uint32_t{0};
  for (auto const& each : endpoints) lowest = std::min(lowest, each.tier);
  return lowest;
}

}  // namespace detail

}  // namespace poise::inline v0_1_0::discovery
