// SPDX-License-Identifier: MIT
// What a policy sees: eligible backends first and dense, all members in their stable order.

#include <poise/candidates.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/stage.hpp"

namespace unit_candidates {

using poise::Candidates;
using tests::Backends;

namespace {

std::string names(Candidates const& candidates) {
  std::string text;
  for (std::size_t i = 0; i < candidates.size(); ++i) text += candidates[i].id();
  return text;
}

std::string member_names(Candidates const& candidates) {
  std::string text;
  for (std::size_t i = 0; i < candidates.members(); ++i) text += candidates.member(i).id();
  return text;
}

}  // namespace

TEST_CASE("candidates are the eligible backends in their order") {
  Backends backends{{1, 1, 1, 1, 1}};
  backends.set_eligible(0, false);
  backends.set_eligible(3, false);
  auto const roster = backends.roster();
  CHECK(names(Candidates{roster}) == "bce");
}

TEST_CASE("members keep their places when eligibility changes") {
  Backends backends{{1, 1, 1, 1, 1}};
  backends.set_eligible(0, false);
  backends.set_eligible(3, false);
  auto const roster = backends.roster();
  CHECK(member_names(Candidates{roster}) == "abcde");
}

TEST_CASE("a member's index among the candidates is none while it is out") {
  Backends backends{{1, 1, 1}};
  backends.set_eligible(1, false);
  auto const roster = backends.roster();
  Candidates const candidates{roster};
  CHECK(candidates.index_of(0) == 0);
  CHECK(candidates.index_of(1) == Candidates::none);
  CHECK(candidates.index_of(2) == 1);
}

TEST_CASE("weights are equal or not among the eligible only") {
  Backends backends{{2, 2, 7}};
  CHECK_FALSE(backends.roster().equal_weights);
  backends.set_eligible(2, false);
  CHECK(backends.roster().equal_weights);
}

TEST_CASE("each candidate brings its weight and what one request adds per unit of it") {
  Backends backends{{2, 8}};
  auto const roster = backends.roster();
  Candidates const candidates{roster};
  CHECK(candidates.weight(1) == 8);
  CHECK(candidates.per_weight(0) == 0.5F);
  CHECK(candidates.member_weight(1) == 8);
}

TEST_CASE("if all backends are out there are members but no candidates") {
  Backends backends{{1, 1}};
  backends.set_eligible(0, false);
  backends.set_eligible(1, false);
  auto const roster = backends.roster();
  CHECK(Candidates{roster}.size() == 0);
  CHECK(Candidates{roster}.members() == 2);
}

TEST_CASE("an empty roster is allowed") {
  Backends backends{{}};
  auto const roster = backends.roster();
  CHECK(Candidates{roster}.size() == 0);
}

TEST_CASE("a subset keeps those asked for in their order") {
  Backends backends{{1, 1, 1, 1}};
  auto const roster = backends.roster();
  auto const part =
      Candidates{roster}.subset([](auto const& backend) { return backend.id() != "b"; });
  CHECK(names(Candidates{part}) == "acd");
}

TEST_CASE("a subset maps its indexes back to the wider candidates") {
  Backends backends{{1, 1, 1, 1, 1}};
  backends.set_eligible(2, false);
  auto const roster = backends.roster();
  Candidates const whole{roster};
  auto const part = whole.subset([](auto const& backend) { return backend.id() > "a"; });
  Candidates const narrow{part};
  REQUIRE(names(narrow) == "bde");
  for (std::size_t i = 0; i < narrow.size(); ++i) CHECK(&whole[part.origins[i]] == &narrow[i]);
}

TEST_CASE("a subset knows its ineligible members and changes its generation with its members") {
  Backends backends{{1, 1, 1}};
  backends.set_eligible(2, false);
  auto const roster = backends.roster(77);
  auto const part =
      Candidates{roster}.subset([](auto const& backend) { return backend.id() != "a"; });
  CHECK(member_names(Candidates{part}) == "bc");
  CHECK(Candidates{part}.index_of(1) == Candidates::none);
  CHECK(Candidates{part}.generation() == 77);
}

TEST_CASE("a subset of a subset leads back one step") {
  Backends backends{{1, 1, 1, 1}};
  auto const roster = backends.roster();
  auto const part =
      Candidates{roster}.subset([](auto const& backend) { return backend.id() != "a"; });
  auto const inner =
      Candidates{part}.subset([](auto const& backend) { return backend.id() != "c"; });
  REQUIRE(names(Candidates{inner}) == "bd");
  CHECK(inner.origins == std::vector<std::uint32_t>{0, 2});
}

TEST_CASE("a subset carries the states of its backends along") {
  Backends backends{{1, 1, 1}};
  backends.set_eligible(0, false);
  auto roster = backends.roster();
  std::vector<int> states{10, 20, 30};  // of b, c, a: eligible ones come first
  roster.states = {&states[0], &states[1], &states[2]};
  auto const part =
      Candidates{roster}.subset([](auto const& backend) { return backend.id() != "b"; });
  CHECK(Candidates{part}.state<int>(0) == 20);
}

TEST_CASE("a request excludes by serial, and refusals are remembered") {
  Backends backends{{1, 1, 1}};
  auto const roster = backends.roster();
  Candidates const candidates{roster};
  poise::RandomSource chance{1, &poise::detail::mix};
  std::uint64_t const excluded[]{backends[0].serial()};
  poise::Request const request{.excluded = excluded};
  poise::Context context{request, chance, poise::sync::Lane::shared};
  context.refuse(backends[2]);
  CHECK_FALSE(context.usable(candidates, 0));
  CHECK(context.usable(candidates, 1));
  CHECK_FALSE(context.usable(candidates, 2));
  CHECK_FALSE(context.unrestricted());
}

TEST_CASE("of more than eight refusals the last eight are remembered") {
  Backends backends{std::vector<std::uint32_t>(10, 1)};
  auto const roster = backends.roster();
  Candidates const candidates{roster};
  poise::RandomSource chance{1, &poise::detail::mix};
  poise::Context context{poise::any_request, chance, poise::sync::Lane::shared};
  for (std::size_t i = 0; i < 9; ++i) context.refuse(backends[i]);
  CHECK(context.usable(candidates, 0));
  for (std::size_t i = 1; i < 9; ++i) CHECK_FALSE(context.usable(candidates, i));
}

TEST_CASE("a path gives back the children in reverse order") {
  poise::Path path;
  path.push(1, 1);
  path.push(5, 3);
  path.push(0, 2);
  CHECK(path.pop(2) == 0);
  CHECK(path.pop(3) == 5);
  CHECK(path.pop(1) == 1);
  CHECK(path == poise::Path{});
}

}  // namespace unit_candidates
