// SPDX-License-Identifier: MIT
#pragma once

// The command line.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <command_line.hpp>

namespace status {

using examples::BadOption;

struct Options {
  std::size_t backends = 5;
  std::string policy = "adaptive";
  std::uint16_t port = 0;
  std::chrono::seconds length{0};  // 0: until it is interrupted
  double rate = 200;               // requests a second
  std::uint64_t seed = 1;
  std::size_t cap = 100;
  bool histograms = false;
  bool calm = false;
  bool help = false;
};

/// *Errors* BadOption.
[[nodiscard]] Options parse(std::vector<std::string> const& words);
[[nodiscard]] std::string help();

}  // namespace status
