// SPDX-License-Identifier: MIT
#pragma once

// The command line.

#include <stdexcept>
#include <string>
#include <vector>

#include "scenario.hpp"

namespace demo {

/// What is wrong with the command line, and what is allowed, in one line.
class BadOption : public std::invalid_argument {
 public:
  using std::invalid_argument::invalid_argument;
};

struct Options {
  Scenario scenario;
  bool help = false;
};

[[nodiscard]] Options parse(std::vector<std::string> const& words);
[[nodiscard]] std::string help();

}  // namespace demo
