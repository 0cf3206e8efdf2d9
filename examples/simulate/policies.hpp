// SPDX-License-Identifier: MIT
#pragma once

// Which policies there are to simulate.

#include <string>
#include <vector>

#include <poise/compose/named.hpp>

namespace simulate {

/// *Errors* ConfigError.
[[nodiscard]] inline poise::AnyPolicy make_policy(std::string const& text) {
  return poise::policy_named(text);
}

/// All that have a name and need no parameters, and the usual loads beside the default ones; the
/// simplest ones first.
[[nodiscard]] inline std::vector<std::string> all_policies() {
  std::vector<std::string> all;
  for (auto const& each : poise::known_policies()) try {
      (void)make_policy(std::string{each.name});
      all.emplace_back(each.name);
    } catch (poise::ConfigError const&) {  // a wrapper that wants to know what it wraps
    }
  for (auto const* each : {"p2c(load=ewma)", "p2c(load=peak_ewma)", "p2c(load=score)",
                           "least(load=peak_ewma)"})
    all.emplace_back(each);
  return all;
}

}  // namespace simulate
