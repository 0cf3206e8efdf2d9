// SPDX-License-Identifier: MIT
// Round robin: every backend in turn, weights ignored.

#include <poise/policy/round_robin.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/stage.hpp"

namespace unit_policy_round_robin {

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

TEST_CASE("a thread with its own lane starts anywhere and then takes all backends in turn") {
  poise::RoundRobin const policy;
  tests::Backends backends{{1, 1, 1, 1, 1}};
  auto const roster = backends.roster();
  poise::Candidates const candidates{roster};
  poise::RandomSource chance{1, &poise::detail::mix};
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
  poise::RandomSource chance{1, &poise::detail::mix};
  for (auto const lane : {poise::sync::Lane::shared, poise::sync::Lane{1}}) {
    poise::Context context{poise::any_request, chance, lane};
    for (int i = 0; i < 998; ++i) (void)policy.pick(poise::Candidates{large_roster}, context);
    for (int i = 0; i < 10; ++i) REQUIRE(policy.pick(poise::Candidates{small_roster}, context) < 3);
  }
}

TEST_CASE("the exact variant rotates once over all threads, from a random start") {
  tests::Backends backends{{1, 1, 1}};
  auto const roster = backends.roster();
  poise::Candidates const candidates{roster};
  poise::RandomSource chance{1, &poise::detail::mix};
  std::set<std::string> orders;
  for (int fresh = 0; fresh < 100; ++fresh) {
    poise::ExactRoundRobin const policy;
    std::string order;
    for (std::uint32_t lane = 1; lane <= 6; ++lane) {
      poise::Context context{poise::any_request, chance, poise::sync::Lane{lane}};
      order += candidates[policy.pick(candidates, context)].id();
    }
    orders.insert(order);
  }
  // By chance, one of the three is missing once in 10^17 runs.
  CHECK(orders == std::set<std::string>{"abcabc", "bcabca", "cabcab"});
}

TEST_CASE("with a seed the exact variant starts with the first backend") {
  poise::ExactRoundRobin const policy;
  tests::Backends backends{{1, 1, 1}};
  auto const roster = backends.roster();
  poise::Candidates const candidates{roster};
  poise::RandomSource chance{1, &poise::detail::mix};
  poise::Context context{poise::any_request, chance, poise::sync::Lane::shared};
  for (auto const* id : {"a", "b", "c", "a"})
    CHECK(candidates[policy.pick(candidates, context)].id() == id);
}

TEST_CASE("a retry does not move the rotation") {
  poise::RoundRobin const policy;
  tests::Backends backends{{1, 1, 1}};
  auto const roster = backends.roster();
  poise::Candidates const candidates{roster};
  poise::RandomSource chance{1, &poise::detail::mix};
  poise::Context first{poise::any_request, chance, poise::sync::Lane::shared};
  std::array<std::uint64_t, 1> const tried{candidates[0].serial()};
  poise::Request const request{.attempt = 2, .excluded = tried};
  poise::Context retry{request, chance, poise::sync::Lane::shared};
  for (std::size_t turn = 0; turn < 6; ++turn) {
    CHECK(policy.pick(candidates, first) == turn % 3);
    for (int i = 0; i < 5; ++i) CHECK(policy.pick(candidates, retry) < 3);
  }
}

TEST_CASE("a copy of a cursor starts a rotation of its own") {
  poise::RoundRobin const policy;
  tests::Backends backends{{1, 1, 1}};
  auto const roster = backends.roster();
  poise::RandomSource chance{1, &poise::detail::mix};
  poise::Context context{poise::any_request, chance, poise::sync::Lane::shared};
  (void)policy.pick(poise::Candidates{roster}, context);
  auto const copy = policy;  // NOLINT: copying is what is tested
  CHECK(copy.pick(poise::Candidates{roster}, context) == 0);
  CHECK(policy.pick(poise::Candidates{roster}, context) == 1);
}

}  // namespace unit_policy_round_robin
