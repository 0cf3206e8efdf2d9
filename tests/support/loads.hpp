// SPDX-License-Identifier: MIT
#pragma once

// Loads for tests of the policies that compare by one.

#include <cstddef>
#include <cstdint>
#include <vector>

#include <poise/candidates.hpp>
#include <poise/policy.hpp>

namespace tests {

/// Loads that a test sets, by index; stateless policies need a place outside.
struct Given {
  static inline std::vector<float> loads{};
  float operator()(poise::Candidates const&, std::size_t i, poise::Context const&) const {
    return loads[i];
  }
};

/// The first is the least, and one pick in 64 ignores that.
struct Exploring {
  static constexpr std::uint32_t explores_one_in = 64;
  std::size_t operator()(poise::Candidates const&, std::size_t i, poise::Context const&) const {
    return i;
  }
};

}  // namespace tests
