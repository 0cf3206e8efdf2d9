// SPDX-License-Identifier: MIT
// Keyed policies in wrappers: a key's backend never depends on randomness while the set is the
// same.

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <poise/balancer.hpp>
#include <poise/compose/bounded.hpp>
#include <poise/compose/failover.hpp>
#include <poise/compose/filter.hpp>
#include <poise/compose/priority_router.hpp>
#include <poise/compose/retry.hpp>
#include <poise/compose/shed.hpp>
#include <poise/compose/subset.hpp>
#include <poise/compose/zone_aware.hpp>
#include <poise/policy/hash_ring.hpp>
#include <poise/policy/maglev.hpp>
#include <poise/policy/rendezvous.hpp>

#include "support/catch.hpp"
#include "support/clock.hpp"
#include "support/compositions.hpp"
#include "support/servers.hpp"

namespace unit_compose_keyed {

using poise::AnyPolicy;
using poise::HealthState;

namespace {

using Wrap = AnyPolicy (*)(AnyPolicy const&);

/// Each wrapper once, with options that fit tests::fleet().
std::vector<Wrap> const wraps{
    [](AnyPolicy const& p) { return p; },
    [](AnyPolicy const& p) { return AnyPolicy{poise::Filter<AnyPolicy, tests::NotHidden>{{}, p}}; },
    [](AnyPolicy const& p) { return AnyPolicy{poise::Failover<AnyPolicy>{{}, p}}; },
    [](AnyPolicy const& p) { return AnyPolicy{poise::Failover<AnyPolicy, AnyPolicy>{{}, p, p}}; },
    [](AnyPolicy const& p) {
      return AnyPolicy{poise::ZoneAware<AnyPolicy>{
          {.local = "a", .clients = {{"a", 8}, {"b", 1}, {"c", 1}}}, p}};
    },
    [](AnyPolicy const& p) {
      return AnyPolicy{poise::Subset<AnyPolicy>{{.client = 1, .clients = 5, .size = 7}, p}};
    },
    [](AnyPolicy const& p) { return AnyPolicy{poise::Retry<AnyPolicy>{{}, p}}; },
    [](AnyPolicy const& p) { return AnyPolicy{poise::Bounded<AnyPolicy>{{}, p}}; },
    [](AnyPolicy const& p) { return AnyPolicy{poise::Shed<AnyPolicy>{{}, p}}; },
    [](AnyPolicy const& p) {
      return AnyPolicy{
          poise::PriorityRouter<AnyPolicy, AnyPolicy, AnyPolicy>{{.fallback = true}, p, p, p}};
    },
};

/// The backends of 60 keys, each picked twice.
std::string where(AnyPolicy const& policy, std::uint64_t seed, int condition) {
  auto balancer = poise::Balancer<AnyPolicy, void, poise::Runtime<tests::Clock>>{
      tests::fleet(), policy, {.clock = {}, .seed = seed}};
  if (condition == 1)  // every degraded backend is outside of a filter
    balancer.set_health("hidden", HealthState::degraded);
  if (condition == 1 || condition == 2)
    for (auto const* id : {"a", "b", "e"}) balancer.set_health(id, HealthState::unhealthy);
  if (condition == 2)
    for (auto const* id : {"c", "f", "g", "h", "i"}) balancer.set_health(id, HealthState::degraded);
  if (condition == 3)
    for (auto const* id : {"a", "c", "d", "k"}) balancer.set_admission(id, {.share = 1U << 30U});
  if (condition == 4) {
    balancer.drain("a");
    balancer.set_admission("b", {.max_in_flight = 0});
    balancer.set_admission("c", {.max_in_flight = 0});
    balancer.set_admission("d", {.max_in_flight = 0});
  }
  std::string result;
  for (int round = 0; round < 2; ++round)
    for (int i = 0; i < 60; ++i) {
      auto const lease = balancer.pick({.route_key = "user " + std::to_string(i)});
      result += lease ? lease->id() : "-";
    }
  REQUIRE(result.substr(0, result.size() / 2) == result.substr(result.size() / 2));
  return result;
}

}  // namespace

TEST_CASE("a key's backend does not depend on randomness under any two wrappers") {
  // Small tables: what is drawn does not depend on their size, and thousands are built.
  poise::Maglev maglev;
  maglev.dialect.slots = 1009;
  poise::HashRing<> ring;
  ring.dialect.points = 16;
  std::vector<AnyPolicy> const policies{AnyPolicy{maglev}, AnyPolicy{ring},
                                        AnyPolicy{poise::Rendezvous{}}};
  for (auto const& policy : policies)
    for (auto const outer : wraps)
      for (auto const inner : wraps) {
        auto const wrapped = outer(inner(policy));
        for (int condition = 0; condition < 5; ++condition) {
          CAPTURE(wrapped.name(), condition);
          CHECK(where(wrapped, 1, condition) == where(wrapped, 2, condition));
        }
      }
}

TEST_CASE("nested wrappers draw a key's groups independently") {
  using Inner = poise::Failover<poise::Rendezvous>;
  poise::Balancer<poise::Failover<poise::Rendezvous, Inner>> balancer{[] {
    std::vector<poise::Endpoint> endpoints;
    for (std::uint32_t tier = 0; tier < 3; ++tier)
      for (int i = 0; i < 10; ++i)
        endpoints.push_back({.id = std::to_string(tier) + "." + std::to_string(i), .tier = tier});
    return endpoints;
  }()};
  for (int i = 0; i < 5; ++i) {  // 70 % of tier 0, 70 % of tier 1 among the rest
    balancer.set_health("0." + std::to_string(i), HealthState::unhealthy);
    balancer.set_health("1." + std::to_string(i), HealthState::unhealthy);
  }
  std::vector<int> picks(3);
  for (int i = 0; i < 10'000; ++i)
    ++picks[static_cast<std::size_t>(balancer.pick({.route_key = std::to_string(i)})->id()[0] -
                                     '0')];
  // n = 10,000 keys: 7000, 2100 and 900, give or take 4 standard deviations of at most 46.
  CHECK(picks[0] == Approx(7000).margin(190));
  CHECK(picks[1] == Approx(2100).margin(170));
  CHECK(picks[2] == Approx(900).margin(120));
}

}  // namespace unit_compose_keyed
