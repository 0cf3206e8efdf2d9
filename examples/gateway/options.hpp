// SPDX-License-Identifier: MIT
#pragma once

// The command line.

#include <string>
#include <vector>

#include <command_line.hpp>

namespace gateway {

using examples::BadOption;

struct Options {
  std::string file{};
  std::string listen{};  // instead of the file's, if it is not empty
  std::string admin{};
  bool check = false;
  bool help = false;
};

/// *Errors* BadOption.
[[nodiscard]] Options parse(std::vector<std::string> words);
[[nodiscard]] std::string help();

}  // namespace gateway
