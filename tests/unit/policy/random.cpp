// SPDX-License-Identifier: MIT
// Random and weighted random: shares follow chance and weights, and nothing else.

#include <poise/policy/random.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/servers.hpp"
#include "support/stage.hpp"
#include "support/statistics.hpp"

namespace unit_policy_random {

using tests::Stage;
using Weights = std::vector<std::uint32_t>;

namespace {

/// What each backend got of a million picks through a balancer. The limit is what chance exceeds
/// once in a million seeds.
template <class P>
void check_million(P const& policy, Weights const& weights, std::vector<double> const& shares) {
  auto endpoints = tests::numbered(weights.size());
  for (std::size_t i = 0; i < weights.size(); ++i) endpoints[i].weight = weights[i];
  auto balancer = tests::servers_with(policy, endpoints);
  for (int i = 0; i < 1'000'000; ++i) balancer.pick().finish();
  std::vector<std::uint64_t> counts;
  for (auto const& each : balancer.stats().backends) counts.push_back(each.total);
  tests::check_shares(counts, shares);
}

}  // namespace

TEST_CASE("a million random picks are even to what chance allows") {
  // Expected 100 000 each; 9 degrees of freedom: limit 46.
  check_million(poise::Random{}, Weights(10, 1), std::vector<double>(10, 1));
}

TEST_CASE("random ignores weights") { check_million(poise::Random{}, {1, 1000, 7}, {1, 1, 1}); }

TEST_CASE("a million weighted random picks follow the weights to what chance allows") {
  // Expected 100 000 : 200 000 : 300 000 : 400 000; 3 degrees of freedom: limit 31.
  check_million(poise::WeightedRandom{}, {1, 2, 3, 4}, {1, 2, 3, 4});
}

TEST_CASE("weighted random follows weights that differ a thousandfold") {
  // Expected 990 : 9901 : 989 109.
  check_million(poise::WeightedRandom{}, {1, 10, 999}, {1, 10, 999});
}

TEST_CASE("equal weights of any size are even for weighted random") {
  check_million(poise::WeightedRandom{}, Weights(7, 1'000'000), std::vector<double>(7, 1));
}

TEST_CASE("consecutive random picks do not depend on each other") {
  // n = 250 000 pairs, 25 classes, expected 10 000 each; 24 degrees of freedom, seeded.
  Stage<poise::Random> stage{Weights(5, 1)};
  std::vector<std::uint64_t> pairs(25);
  for (int i = 0; i < 250'000; ++i) {
    auto const before = stage.pick();
    ++pairs[before * 5 + stage.pick()];
  }
  CHECK(tests::chi_squared(pairs, std::vector<double>(25, 1)) < tests::chi_squared_limit(25));
}

TEST_CASE("the share of a drained backend goes to the others by weight") {
  Stage<poise::WeightedRandom> stage{{1, 2, 4, 5}};
  stage.backends.set_eligible(3, false);
  stage.rebuild();
  CHECK(tests::chi_squared(stage.counts(70'000), {1, 2, 4}) < tests::chi_squared_limit(3));
}

TEST_CASE("the greatest weights there are draw within the set at random") {
  constexpr auto greatest = std::numeric_limits<std::uint32_t>::max();
  Stage<poise::WeightedRandom> stage{{greatest, greatest, 1}};
  auto const counts = stage.counts(20'000);
  CHECK(counts[2] == 0);
  CHECK(tests::chi_squared({counts[0], counts[1]}, {1, 1}) < tests::chi_squared_limit(2));
}

TEST_CASE("a single backend is all that random can find") {
  CHECK(Stage<poise::Random>{{3}}.letters(3) == "aaa");
  CHECK(Stage<poise::WeightedRandom>{{3}}.letters(3) == "aaa");
}

TEST_CASE("random policies keep nothing where weights are equal") {
  CHECK(Stage<poise::WeightedRandom>{{2, 2}}.plan->empty());
  CHECK_FALSE(Stage<poise::WeightedRandom>{{2, 3}}.plan->empty());
  STATIC_REQUIRE_FALSE(poise::hooks::has_plan<poise::Random>);
}

}  // namespace unit_policy_random
