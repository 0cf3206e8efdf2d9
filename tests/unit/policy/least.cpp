// SPDX-License-Identifier: MIT
// Least: the backend with the least load of all, ties at random in proportion to weight.

#include <poise/policy/least.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <vector>

#include "support/catch.hpp"
#include "support/loads.hpp"
#include "support/stage.hpp"
#include "support/statistics.hpp"

namespace unit_policy_least {

using tests::check_shares;
using tests::Exploring;
using tests::Given;
using tests::Stage;
using Weights = std::vector<std::uint32_t>;

namespace {

struct Timed {
  static constexpr bool uses_time = true;
  float operator()(poise::Candidates const&, std::size_t, poise::Context const&) const { return 0; }
};

}  // namespace

TEST_CASE("least connections takes the backend with the fewest requests in flight") {
  Stage<poise::LeastConnections> stage{{1, 1, 1, 1}};
  stage.backends[0].claim(3);
  stage.backends[1].claim(2);
  stage.backends[2].claim(1);
  stage.backends[3].claim(2);
  for (int i = 0; i < 20; ++i) REQUIRE(stage.pick() == 2);
}

TEST_CASE("least connections finds the least among a thousand wherever it stands") {
  Stage<poise::LeastConnections> stage{Weights(1000, 1)};
  for (std::size_t i = 0; i < 1000; ++i) stage.backends[i].claim(2);
  for (std::size_t const least : {0U, 63U, 64U, 500U, 999U}) {
    stage.backends[least].release();
    REQUIRE(stage.pick() == least);
    stage.backends[least].claim();
  }
}

TEST_CASE("a backend of weight 3 is as busy with three requests as one of weight 1 with one") {
  Stage<poise::LeastConnections> stage{{3, 1}};
  stage.backends[0].claim(2);
  stage.backends[1].claim(1);
  for (int i = 0; i < 20; ++i) REQUIRE(stage.pick() == 0);
  stage.backends[0].claim(2);
  for (int i = 0; i < 20; ++i) REQUIRE(stage.pick() == 1);
}

TEST_CASE("idle backends of equal weight are drawn evenly") {
  // n = 50 000, expected 10 000 each; chi-squared with 4 degrees of freedom, seeded.
  Stage<poise::LeastConnections> stage{Weights(5, 1)};
  check_shares(stage.counts(50'000), std::vector<double>(5, 1));
}

TEST_CASE("idle backends are drawn in proportion to weight") {
  // n = 60 000, expected 1 : 2 : 3; chi-squared with 2 degrees of freedom, seeded.
  Stage<poise::LeastConnections> stage{{1, 2, 3}};
  check_shares(stage.counts(60'000), {1, 2, 3});
}

TEST_CASE("only those tied for the least share the picks") {
  Stage<poise::LeastConnections> stage{{1, 5, 1, 2}};
  stage.backends[0].claim();
  stage.backends[2].claim();
  // n = 70 000, expected 0 : 5 : 0 : 2.
  auto const counts = stage.counts(70'000);
  CHECK(counts[0] == 0);
  CHECK(counts[2] == 0);
  check_shares({counts[1], counts[3]}, {5, 2});
}

TEST_CASE("a hundred idle backends are drawn evenly") {
  // More ties than fit a short list. n = 100 000, expected 1000 each, 99 degrees of freedom.
  Stage<poise::LeastConnections> stage{Weights(100, 7)};
  check_shares(stage.counts(100'000), std::vector<double>(100, 1));
}

TEST_CASE("a hundred idle backends of unequal weight are drawn in proportion") {
  // n = 100 000, 99 degrees of freedom.
  Weights weights(100);
  for (std::size_t i = 0; i < weights.size(); ++i)
    weights[i] = 1 + static_cast<std::uint32_t>(i % 4);
  Stage<poise::LeastConnections> stage{weights};
  check_shares(stage.counts(100'000), {weights.begin(), weights.end()});
}

TEST_CASE("twenty idle backends among a thousand busy ones are drawn evenly") {
  // Too many ties to list, too few to be hit soon. n = 20 000, expected 1000 each, 19 degrees.
  Stage<poise::LeastConnections> stage{Weights(1000, 1)};
  for (std::size_t i = 0; i < 1000; ++i)
    if (i % 50 != 7) stage.backends[i].claim();
  auto const counts = stage.counts(20'000);
  std::vector<std::uint64_t> idle;
  for (std::size_t i = 7; i < 1000; i += 50) idle.push_back(counts[i]);
  CHECK(std::accumulate(idle.begin(), idle.end(), std::uint64_t{0}) == 20'000);
  check_shares(idle, std::vector<double>(20, 1));
}

TEST_CASE("a second pick for a request avoids backends that refused it and that it excludes") {
  Stage<poise::LeastConnections> stage{{1, 1, 1}};
  stage.backends[2].claim(5);
  std::uint64_t const excluded[]{1};
  poise::Request const request{.excluded = excluded};
  poise::Context context{request, stage.chance, poise::sync::Lane::shared};
  context.refuse(stage.backends[1]);
  for (int i = 0; i < 20; ++i)
    REQUIRE(stage.policy.pick(poise::Candidates{stage.roster}, context) == 2);
}

TEST_CASE("without a usable backend least still returns a valid index") {
  Stage<poise::LeastConnections> stage{{1, 1}};
  std::uint64_t const excluded[]{1, 2};
  poise::Request const request{.excluded = excluded};
  CHECK(stage.pick(request) < 2);
}

TEST_CASE("the greatest weights tie without overflow") {
  constexpr auto greatest = std::numeric_limits<std::uint32_t>::max();
  Stage<poise::LeastConnections> stage{{greatest, greatest, 1}};
  // n = 20 000, expected half and half; the third is due 5e-6 picks.
  auto const counts = stage.counts(20'000);
  CHECK(counts[2] == 0);
  check_shares({counts[0], counts[1]}, {1, 1});
}

TEST_CASE("any load of a user's own can be the measure") {
  Given::loads = {3.5F, 0.25F, 7.0F};
  Stage<poise::Least<Given>> stage{{1, 1, 1}};
  for (int i = 0; i < 20; ++i) REQUIRE(stage.pick() == 1);
}

TEST_CASE("a load that is not a number loses against any that is") {
  constexpr auto nan = std::numeric_limits<float>::quiet_NaN();
  constexpr auto infinity = std::numeric_limits<float>::infinity();
  Stage<poise::Least<Given>> stage{{1, 1, 1}};
  for (auto const& loads :
       {std::vector<float>{nan, 2, nan}, {nan, 2, 3}, {3, 2, nan}, {nan, infinity, nan}}) {
    Given::loads = loads;
    for (int i = 0; i < 50; ++i) REQUIRE(stage.pick() == 1);
  }
}

TEST_CASE("ties are still ties beside loads that are not numbers") {
  constexpr auto nan = std::numeric_limits<float>::quiet_NaN();
  Given::loads = {nan, 2, nan, 2};
  Stage<poise::Least<Given>> stage{{1, 1, 1, 1}};
  // n = 20 000, expected half and half.
  auto const counts = stage.counts(20'000);
  CHECK(counts[0] + counts[2] == 0);
  check_shares({counts[1], counts[3]}, {1, 1});
}

TEST_CASE("if no load is a number any backend is taken") {
  Given::loads = std::vector<float>(3, std::numeric_limits<float>::quiet_NaN());
  Stage<poise::Least<Given>> stage{{1, 1, 1}};
  check_shares(stage.counts(30'000), {1, 1, 1});
}

TEST_CASE("policies are named as users search for them") {
  CHECK(poise::hooks::name(poise::LeastConnections{}) == "least_connections");
  CHECK(poise::hooks::name(poise::Least<poise::InFlight>{}) == "least(in_flight)");
}

TEST_CASE("a load may ask that one pick in 64 goes to any backend") {
  // n = 160 000; of each 640 picks 10 explore 10 backends.
  Stage<poise::Least<Exploring>> stage{Weights(10, 1)};
  std::vector<double> shares(10, 1);
  shares[0] = 631;
  check_shares(stage.counts(160'000), shares);
}

TEST_CASE("exploring picks heed exclusions") {
  Stage<poise::Least<Exploring>> stage{{1, 1, 1}};
  std::uint64_t const excluded[]{2, 3};
  poise::Request const request{.excluded = excluded};
  for (int i = 0; i < 5000; ++i) REQUIRE(stage.pick(request) == 0);
}

TEST_CASE("a load that needs time makes its policy need time") {
  CHECK(poise::hooks::traits(poise::Least<poise::Weighted<Timed>>{}).uses_time);
  CHECK_FALSE(poise::hooks::traits(poise::LeastConnections{}).uses_time);
}

}  // namespace unit_policy_least
