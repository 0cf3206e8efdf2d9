// SPDX-License-Identifier: MIT
#pragma once

// Which policies there are to simulate.

#include <algorithm>
#include <string>
#include <vector>

#include <poise/compose/named.hpp>

namespace simulate {

/// *Errors* ConfigError.
[[nodiscard]] inline poise::AnyPolicy make_policy(std::string const& text) {
  return poise::policy_named(text);
}

/// All that have a name, and the usual loads beside the default ones; the simplest ones first.
/// Wrappers are not among them: without further parameters they are what they wrap.
[[nodiscard]] inline std::vector<std::string> all_policies() {
  std::vector<std::string> all;
  std::vector<std::string> seen;
  auto const add = [&](std::string const& text) {
    auto const name = make_policy(text).name();
    if (std::find(seen.begin(), seen.end(), name) != seen.end()) return;
    seen.push_back(name);
    all.push_back(text);
  };
  for (auto const& each : poise::known_policies())
    if (!each.wraps) add(std::string{each.name});
  for (auto const* each :
       {"p2c(load=ewma)", "p2c(load=peak_ewma)", "p2c(load=score)", "least(load=peak_ewma)"})
    add(each);
  return all;
}

}  // namespace simulate
