// SPDX-License-Identifier: MIT
#pragma once

// The chi-squared test: do counts follow the shares they should?
//
// The limit is the value that chance alone exceeds with probability 1e-6, from the Wilson-Hilferty
// approximation; since every test injects its seed, one that passes once always passes.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <vector>

#include "catch.hpp"

namespace tests {

/// The sum of (count - expected)^2 / expected for counts that should be in proportion to `shares`.
inline double chi_squared(std::vector<std::uint64_t> const& counts,
                          std::vector<double> const& shares) {
  auto const n =
      static_cast<double>(std::accumulate(counts.begin(), counts.end(), std::uint64_t{0}));
  auto const whole = std::accumulate(shares.begin(), shares.end(), 0.0);
  double sum = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    auto const expected = n * shares[i] / whole;
    auto const error = static_cast<double>(counts[i]) - expected;
    sum += error * error / expected;
  }
  return sum;
}

/// What chi_squared exceeds by chance once in a million times, for so many classes.
inline double chi_squared_limit(std::size_t classes) {
  auto const freedom = static_cast<double>(classes - 1);
  constexpr double normal_quantile = 4.753;  // of 1 - 1e-6
  auto const spread = 2 / (9 * freedom);
  return freedom * std::pow(1 - spread + normal_quantile * std::sqrt(spread), 3);
}

inline void check_shares(std::vector<std::uint64_t> const& counts,
                         std::vector<double> const& shares) {
  CAPTURE(counts);
  CHECK(chi_squared(counts, shares) < chi_squared_limit(counts.size()));
}

}  // namespace tests
