// SPDX-License-Identifier: MIT
// Random picks: even, seedable, in proportion to weights.

#include <poise/base/alias_table.hpp>
#include <poise/hash/local.hpp>
#include <poise/random.hpp>

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/statistics.hpp"

namespace unit_random {

using poise::sync::Lane;
using tests::check_shares;

namespace {

/// A random source and the numbers drawn from it on the shared lane.
struct Dice {
  explicit Dice(std::uint64_t seed) : chance{seed, &poise::detail::mix} {}
  poise::RandomSource chance;
  poise::Rng random{chance, Lane::shared};
};

std::vector<std::uint64_t> draw(std::vector<std::uint32_t> const& weights, std::size_t draws) {
  poise::AliasTable const table{weights};
  Dice dice{3};
  std::vector<std::uint64_t> counts(weights.size());
  for (std::size_t i = 0; i < draws; ++i) ++counts.at(table.draw(dice.random));
  return counts;
}

}  // namespace

TEST_CASE("the same seed gives the same numbers") {
  Dice one{42};
  Dice other{42};
  for (int i = 0; i < 100; ++i) REQUIRE(one.random() == other.random());
}

TEST_CASE("different seeds give different numbers") {
  Dice one{1};
  Dice other{2};
  int same = 0;
  for (int i = 0; i < 1000; ++i) same += one.random() == other.random() ? 1 : 0;
  CHECK(same == 0);
}

TEST_CASE("no number comes twice in a short run") {
  Dice dice{5};
  std::set<std::uint64_t> seen;
  for (int i = 0; i < 10'000; ++i) seen.insert(dice.random());
  CHECK(seen.size() >= 9'999);  // 10^4 of 2^64: one repetition has a chance of 3e-12
}

TEST_CASE("numbers below a bound are even") {
  // n = 70 000, expected 10 000 each, 6 degrees of freedom, seeded.
  Dice dice{6};
  std::vector<std::uint64_t> counts(7);
  for (int i = 0; i < 70'000; ++i) ++counts.at(dice.random.below(7));
  check_shares(counts, std::vector<double>(7, 1));
}

TEST_CASE("numbers below a bound that hardly divides the range are even too") {
  // Without the redraw the lower half of [0, 3 * 2^62) would come twice as often as the upper.
  // n = 30 000, expected 10 000 in each third, 2 degrees of freedom.
  Dice dice{7};
  constexpr auto third = std::uint64_t{1} << 62U;
  std::vector<std::uint64_t> counts(3);
  for (int i = 0; i < 30'000; ++i) ++counts.at(dice.random.below(3 * third) / third);
  check_shares(counts, {1, 1, 1});
}

TEST_CASE("two different numbers below a bound are even, each pair in either order") {
  for (std::uint64_t const bound : {2U, 3U, 7U}) {
    Dice dice{5};
    // By pair, and within each by the top bit of what is left: that must not tell the pair.
    std::vector<std::uint64_t> counts(bound * (bound - 1) * 2);
    for (int i = 0; i < 100000; ++i) {
      auto const [first, second, rest] = dice.random.two_below(bound);
      REQUIRE(first < bound);
      REQUIRE(second < bound);
      REQUIRE(first != second);
      auto const other = second - (second > first ? 1 : 0);
      ++counts.at((first * (bound - 1) + other) * 2 + (rest >> 63U));
    }
    check_shares(counts, std::vector<double>(counts.size(), 1));
  }
}

TEST_CASE("two numbers below a bound whose pairs hardly divide the range are even too") {
  // There are 9/16 as many pairs as draws: without the redraw seven pairs in nine would come twice.
  // n = 90 000, expected 10 000 in each pair of thirds, 8 degrees of freedom.
  Dice dice{10};
  constexpr auto third = std::uint64_t{1} << 30U;
  std::vector<std::uint64_t> counts(9);
  for (int i = 0; i < 90'000; ++i) {
    auto const [first, second, rest] = dice.random.two_below(3 * third);
    REQUIRE(first != second);
    ++counts.at(first / third * 3 + second / third);
  }
  check_shares(counts, std::vector<double>(9, 1));
}

TEST_CASE("below 1 there is only 0") {
  Dice dice{8};
  for (int i = 0; i < 100; ++i) REQUIRE(dice.random.below(1) == 0);
}

TEST_CASE("unit numbers are at least 0 and less than 1") {
  // n = 10 000: the mean is 0.5 with a standard error of 0.0029; tolerance 5 of them.
  Dice dice{9};
  double sum = 0;
  for (int i = 0; i < 10'000; ++i) {
    auto const number = dice.random.unit();
    REQUIRE((number >= 0 && number < 1));
    sum += number;
  }
  CHECK(std::abs(sum / 10'000 - 0.5) < 0.0145);
}

TEST_CASE("every bit of a number is set half of the time") {
  // n = 10 000 numbers: each of 64 bits 5000 times, standard deviation 50; tolerance 6 of them.
  Dice dice{10};
  std::array<int, 64> set{};
  for (int i = 0; i < 10'000; ++i) {
    auto const number = dice.random();
    for (unsigned bit = 0; bit < 64; ++bit) set[bit] += static_cast<int>(number >> bit & 1U);
  }
  for (auto const count : set) CHECK(std::abs(count - 5000) < 300);
}

TEST_CASE("fresh seeds differ") { CHECK(poise::fresh_seed() != poise::fresh_seed()); }

TEST_CASE("an alias table draws in proportion to weight") {
  // n = 100 000, 4 degrees of freedom, seeded.
  check_shares(draw({1, 2, 3, 4, 10}, 100'000), {1, 2, 3, 4, 10});
}

TEST_CASE("an alias table draws in proportion when many share their columns") {
  // n = 200 000 over 50 weights from 1 to 999, 49 degrees of freedom, seeded.
  Dice dice{4};
  std::vector<std::uint32_t> weights(50);
  for (auto& weight : weights) weight = static_cast<std::uint32_t>(1 + dice.random.below(999));
  check_shares(draw(weights, 200'000), {weights.begin(), weights.end()});
}

TEST_CASE("an alias table never draws weight 0") {
  auto const counts = draw({0, 5, 0, 1, 0}, 20'000);
  CHECK(counts[0] == 0);
  CHECK(counts[2] == 0);
  CHECK(counts[4] == 0);
  check_shares({counts[1], counts[3]}, {5, 1});
}

TEST_CASE("an alias table holds a single weight") {
  CHECK(draw({7}, 100) == std::vector<std::uint64_t>{100});
}

TEST_CASE("an alias table of the greatest weights does not overflow") {
  // n = 100 000 over 1000 weights of 2^32 - 1: expected 100 each, 999 degrees of freedom.
  std::vector<std::uint32_t> const weights(1000, std::numeric_limits<std::uint32_t>::max());
  check_shares(draw(weights, 100'000), std::vector<double>(1000, 1));
}

TEST_CASE("an alias table keeps the share of the lightest") {
  // One of weight 1 beside 2^32 - 1 is due 2.3e-6 of 100 000 draws; one of 1e4 beside 1e6 about
  // 990.
  CHECK(draw({1, std::numeric_limits<std::uint32_t>::max()}, 100'000)[0] <= 5);
  check_shares(draw({10'000, 1'000'000}, 100'000), {1, 100});
}

TEST_CASE("close texts hash far apart") {
  std::set<std::uint64_t> buckets;
  for (int i = 0; i < 1000; ++i)
    buckets.insert(poise::detail::hash_text("backend-" + std::to_string(i)) >> 44U);
  CHECK(buckets.size() > 990);  // 1000 of 2^20: 0.5 collisions expected
}

}  // namespace unit_random
