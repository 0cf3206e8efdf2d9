// SPDX-License-Identifier: MIT
#pragma once

// Every policy that poise ships: what tests hold of all of them, they hold of these lists.

#include <array>
#include <cstddef>
#include <string_view>
#include <tuple>
#include <vector>

#include <poise/compose/any_policy.hpp>
#include <poise/load/ewma.hpp>
#include <poise/load/peak_ewma.hpp>
#include <poise/load/score.hpp>
#include <poise/policy/adaptive.hpp>
#include <poise/policy/least.hpp>
#include <poise/policy/power_of_two.hpp>
#include <poise/policy/random.hpp>
#include <poise/policy/round_robin.hpp>
#include <poise/policy/smooth_weighted.hpp>

#include "sanitized.hpp"

namespace tests {

/// poise::policy_named(text), which takes long to compile, compiled once: in policies.cpp, which
/// CMakeLists.txt gives to those programs that need it.
poise::AnyPolicy policy(std::string_view text);

/// The policies without keys.
inline constexpr std::array<std::string_view, 12> all_policies{"round_robin",
                                                               "exact_round_robin",
                                                               "smooth_weighted",
                                                               "random",
                                                               "weighted_random",
                                                               "least_connections",
                                                               "p2c",
                                                               "least_latency",
                                                               "least(peak_ewma)",
                                                               "p2c(peak_ewma)",
                                                               "p2c(score)",
                                                               "adaptive"};

/// Whether a long simulation goes through all_policies[number]: under a sanitizer only through
/// every third. .ci/nightly runs all of them.
constexpr bool in_long_tests(std::size_t number) { return !sanitized || number % 3 == 2; }
inline std::vector<std::string_view> policies_in_long_tests() {
  std::vector<std::string_view> result;
  for (std::size_t i = 0; i < all_policies.size(); ++i)
    if (in_long_tests(i)) result.push_back(all_policies[i]);
  return result;
}

/// The same by type, for programs without tests::policy and where the type matters.
using AllPolicies =
    std::tuple<poise::RoundRobin, poise::ExactRoundRobin, poise::SmoothWeighted, poise::Random,
               poise::WeightedRandom, poise::LeastConnections, poise::P2C, poise::LeastLatency,
               poise::Least<poise::PeakEwma>, poise::PowerOfTwo<poise::PeakEwma>,
               poise::PowerOfTwo<poise::Score>, poise::Adaptive>;

/// Each of them erased.
inline std::vector<poise::AnyPolicy> erased(AllPolicies const& policies) {
  return std::apply(
      [](auto const&... each) { return std::vector<poise::AnyPolicy>{poise::AnyPolicy{each}...}; },
      policies);
}

}  // namespace tests
