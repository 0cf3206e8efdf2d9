// SPDX-License-Identifier: MIT
// Round robin: every backend in turn, weights ignored.

#include <poise/policy/round_robin.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/stage.hpp"

using tests::Stage;

TEST_CASE("round robin takes the backends in their order") {
  Stage<poise::RoundRobin> stage{{1, 1, 1}};
  CHECK(stage.letters(7) == "abcabca");
}

TEST_CASE("round robin ignores weights") {
  Stage<poise::RoundRobin> stage{{5, 1, 1}};
  CHECK(stage.letters(6) == "abcabc");
}

TEST_CASE("with one of 8 equal backends out the other 7 get exactly equal counts") {
  for (std::size_t const out : {0U, 3U, 7U}) {
    Stage<poise::RoundRobin> stage{std::vector<std::uint32_t>(8, 1)};
    stage.backends.set_eligible(out, false);
    stage.rebuild();
    CHECK(stage.counts(7000) == std::vector<std::uint64_t>(7, 1000));
  }
}

TEST_CASE("a neighbour of the backend that is out is not doubled at any moment") {
  Stage<poise::RoundRobin> stage{std::vector<std::uint32_t>(8, 1)};
  stage.backends.set_eligible(3, false);
  stage.rebuild();
  CHECK(stage.letters(14) == "abcefghabcefgh");
}

TEST_CASE("a thread with a lane of its own starts anywhere and then takes everyone in turn") {
  poise::RoundRobin const policy;
  tests::Backends backends{{1, 1, 1, 1, 1}};
  auto const roster = backends.roster();
  poise::Candidates const candidates{roster};
  poise::Chance chance{1, &poise::detail::mix};
  poise::Context context{poise::any_request, chance, poise::sync::Lane{7}};
  std::vector<int> counts(5);
  auto const first = policy.pick(candidates, context);
  for (std::size_t step = 1; step < 500; ++step) {
    auto const i = policy.pick(candidates, context);
    REQUIRE(i == (first + step) % 5);
    ++counts[i];
  }
  ++counts[first];
  CHECK(counts == std::vector<int>(5, 100));
}

TEST_CASE("when the set shrinks under a rotation the next pick is within the new set") {
  poise::RoundRobin const policy;
  tests::Backends large{std::vector<std::uint32_t>(1000, 1)};
  tests::Backends small{{1, 1, 1}};
  auto const large_roster = large.roster();
  auto const small_roster = small.roster();
  poise::Chance chance{1, &poise::detail::mix};
  for (auto const lane : {poise::sync::Lane::shared, poise::sync::Lane{1}}) {
    poise::Context context{poise::any_request, chance, lane};
    for (int i = 0; i < 998; ++i) (void)policy.pick(poise::Candidates{large_roster}, context);
    for (int i = 0; i < 10; ++i) REQUIRE(policy.pick(poise::Candidates{small_roster}, context) < 3);
  }
}

TEST_CASE("the exact variant rotates once over all lanes") {
  poise::ExactRoundRobin const policy;
  tests::Backends backends{{1, 1, 1}};
  auto const roster = backends.roster();
  poise::Chance chance{1, &poise::detail::mix};
  std::string order;
  for (std::uint32_t lane = 0; lane < 6; ++lane) {
    poise::Context context{poise::any_request, chance, poise::sync::Lane{lane}};
    poise::Candidates const candidates{roster};
    order += candidates[policy.pick(candidates, context)].id();
  }
  CHECK(order == "abcabc");
}

TEST_CASE("a copy of a cursor starts a rotation of its own") {
  poise::RoundRobin const policy;
  tests::Backends backends{{1, 1, 1}};
  auto const roster = backends.roster();
  poise::Chance chance{1, &poise::detail::mix};
  poise::Context context{poise::any_request, chance, poise::sync::Lane::shared};
  (void)policy.pick(poise::Candidates{roster}, context);
  auto const copy = policy;  // NOLINT: copying is what is tested
  CHECK(copy.pick(poise::Candidates{roster}, context) == 0);
  CHECK(policy.pick(poise::Candidates{roster}, context) == 1);
}
