// SPDX-License-Identifier: MIT
#pragma once

// The policies that take part.

#include <functional>
#include <string>
#include <vector>

#include "log.hpp"
#include "scenario.hpp"
#include "screen.hpp"

namespace demo {

struct Contender {
  std::string name;
  std::function<Log(Scenario const&, Screen&)> run;
};

/// By name and parameters; "all", or "" for the usual ones.
/// *Errors* poise::ConfigError: what is wrong with the text, and the known names.
[[nodiscard]] std::vector<Contender> contenders(std::string const& policy);
/// All known names, a line each.
[[nodiscard]] std::string known();

}  // namespace demo
