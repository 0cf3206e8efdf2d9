// SPDX-License-Identifier: MIT
// Rendezvous hashing: exact weights, least movement, no table.

#include <poise/policy/rendezvous.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <poise/balancer.hpp>

#include "support/catch.hpp"
#include "support/clock.hpp"
#include "support/keys.hpp"
#include "support/servers.hpp"
#include "support/stage.hpp"
#include "support/statistics.hpp"

namespace unit_policy_rendezvous {

using poise::Rendezvous;
using tests::owners;

namespace {

using Balancer = poise::Balancer<Rendezvous, void, poise::Runtime<tests::Clock>>;

Balancer balancer_of(std::vector<poise::Endpoint> endpoints, Rendezvous policy = {}) {
  return Balancer{std::move(endpoints), policy, {.clock = {}, .seed = 1}};
}

}  // namespace

TEST_CASE("rendezvous gives shares exactly in proportion to weight") {
  // n = 50 000 keys; 3 degrees of freedom. A backend a million times lighter is due 0.005 keys.
  auto balancer = balancer_of({{.id = "a", .weight = 1'000'000},
                               {.id = "b", .weight = 2'000'000},
                               {.id = "c", .weight = 3'000'000},
                               {.id = "d", .weight = 4'000'000},
                               {.id = "e", .weight = 1}});
  std::vector<std::uint64_t> counts(5);
  for (auto const& id : owners(balancer, 50'000)) ++counts[static_cast<std::size_t>(id[0] - 'a')];
  CHECK(counts[4] == 0);
  counts.pop_back();
  CHECK(tests::chi_squared(counts, {1, 2, 3, 4}) < tests::chi_squared_limit(4));
}

TEST_CASE("rendezvous gives equal shares to equal weights") {
  // n = 50 000 keys, 5000 each; 9 degrees of freedom.
  auto balancer = balancer_of(tests::numbered(10));
  std::vector<std::uint64_t> counts(10);
  for (auto const& id : owners(balancer, 50'000)) ++counts[std::stoul(id)];
  CHECK(tests::chi_squared(counts, std::vector<double>(10, 1)) < tests::chi_squared_limit(10));
}

TEST_CASE("with rendezvous one that goes moves only its own keys, and they come back") {
  for (std::uint32_t const last : {1U, 3U}) {  // equal weights and not
    auto endpoints = tests::numbered(20);
    endpoints.back().weight = last;
    auto balancer = balancer_of(endpoints);
    auto const before = owners(balancer);
    auto const check = [&] {
      auto const during = owners(balancer);
      for (std::size_t i = 0; i < before.size(); ++i)
        if (before[i] != "7") REQUIRE(during[i] == before[i]);
        else REQUIRE(during[i] != "7");
    };
    balancer.drain("7");
    check();
    balancer.undrain("7");
    CHECK(owners(balancer) == before);
    balancer.remove("7");
    check();
  }
}

TEST_CASE("equal weights map alike whatever the weight is") {
  // The short cut for equal weights must agree with the rule for unequal ones.
  auto endpoints = tests::numbered(20);
  auto light = balancer_of(endpoints);
  for (auto& each : endpoints) each.weight = 7;
  endpoints.push_back({.id = "light", .weight = 1});
  auto heavy = balancer_of(endpoints);
  auto const before = owners(light);
  auto const after = owners(heavy);
  for (std::size_t i = 0; i < before.size(); ++i)
    if (after[i] != "light") REQUIRE(after[i] == before[i]);
}

TEST_CASE("rendezvous is the same whatever the order of the backends") {
  auto endpoints = tests::numbered(30);
  auto straight = balancer_of(endpoints);
  std::reverse(endpoints.begin(), endpoints.end());
  auto backward = balancer_of(endpoints);
  CHECK(owners(straight) == owners(backward));
}

TEST_CASE("rendezvous makes no table for a flip") {
  tests::Stage<Rendezvous> stage{{1, 1, 1}};
  auto const* const table = stage.plan->get();
  stage.backends.set_eligible(1, false);
  stage.rebuild();
  CHECK(stage.plan->get() == table);
}

TEST_CASE("rendezvous sends a key that was tried in vain to the next best") {
  auto balancer = balancer_of(tests::numbered(9));
  tests::check_tries_of_a_key(balancer);
}

TEST_CASE("rendezvous spreads requests without a key, and a secret sends keys elsewhere") {
  auto balancer = balancer_of(tests::numbered(4));
  std::set<std::string> met;
  for (int i = 0; i < 100; ++i) met.insert(balancer.pick()->id());
  CHECK(met.size() == 4);
  auto secret = balancer_of(tests::numbered(4), {.secret = {{1, 2}}});
  CHECK(owners(balancer) != owners(secret));
}

}  // namespace unit_policy_rendezvous
