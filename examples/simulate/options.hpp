// SPDX-License-Identifier: MIT
#pragma once

// The command line.

#include <string>
#include <vector>

#include "run.hpp"

namespace simulate {

struct Options {
  Plan plan;
  std::string csv{};
  std::string picture{};
  bool list = false;
  bool help = false;
};

/// *Errors* ConfigError: what is wrong, and what is allowed.
[[nodiscard]] Options parse(std::vector<std::string> const& words);
[[nodiscard]] std::string help();
/// The scenarios that come with poise, and every policy.
[[nodiscard]] std::string list();

}  // namespace simulate
