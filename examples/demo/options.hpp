// SPDX-License-Identifier: MIT
#pragma once

// The command line.

#include <string>
#include <vector>

#include "../command_line.hpp"
#include "scenario.hpp"

namespace demo {

using examples::BadOption;

struct Options {
  Scenario scenario;
  bool help = false;
};

[[nodiscard]] Options parse(std::vector<std::string> const& words);
[[nodiscard]] std::string help();

}  // namespace demo
