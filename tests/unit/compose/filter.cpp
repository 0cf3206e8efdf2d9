// SPDX-License-Identifier: MIT
// Filter: only backends for which a condition holds, and never another one.

#include <poise/compose/filter.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <poise/balancer.hpp>
#include <poise/policy/power_of_two.hpp>
#include <poise/policy/round_robin.hpp>
#include <poise/policy/smooth_weighted.hpp>

#include "support/catch.hpp"
#include "support/compositions.hpp"
#include "support/servers.hpp"
#include "support/text.hpp"

namespace unit_compose_filter {

using poise::Filter;
using poise::HealthState;
using poise::InZone;
using tests::mentions;
using tests::picks;
using tests::thrown;

namespace {

std::vector<poise::Endpoint> zones() {
  return {{.id = "a", .zone = "west"},
          {.id = "b", .weight = 2, .zone = "east", .tier = 1, .labels = {{"disk", "ssd"}}},
          {.id = "c", .zone = "east", .labels = {{"disk", "tape"}, {"gpu", "yes"}}}};
}

template <class P, class Keep>
tests::AnyServers filtered(Keep keep, P inner = {}) {
  return tests::servers_with(Filter<P, Keep>{std::move(keep), std::move(inner)}, zones());
}

/// A condition that a test can change; copies share it.
struct Switch {
  std::shared_ptr<std::string> refused = std::make_shared<std::string>();
  std::shared_ptr<int> asked = std::make_shared<int>(0);
  bool operator()(poise::Backend const& backend) const {
    ++*asked;
    if (*refused == "throw") throw std::runtime_error{"no idea"};
    return refused->find(backend.id()) == std::string::npos;
  }
};

/// Proposes the first candidate always, as a hot key would.
struct Stubborn {
  std::size_t pick(poise::Candidates const&, poise::Context&) const { return 0; }
};

}  // namespace

TEST_CASE("a filter narrows the choice and keeps the policy's order") {
  auto balancer = filtered<poise::SmoothWeighted>(InZone{"east"});
  CHECK(picks(balancer, 6) == "bcbbcb");
}

TEST_CASE("filters by label and tier and zone are there") {
  auto by_label = filtered<poise::RoundRobin>(poise::HasLabel{"disk", "ssd"});
  auto by_other_value = filtered<poise::RoundRobin>(poise::HasLabel{"gpu", "yes"});
  auto by_tier = filtered<poise::RoundRobin>(poise::InTier{0});
  auto by_zone = filtered<poise::RoundRobin>(InZone{"west"});
  CHECK(picks(by_label, 2) == "bb");
  CHECK(picks(by_other_value, 2) == "cc");
  CHECK(picks(by_tier, 4) == "acac");
  CHECK(picks(by_zone, 2) == "aa");
}

TEST_CASE("a filter can be any function of a backend") {
  auto balancer = filtered<poise::RoundRobin>(
      [](poise::Backend const& backend) { return backend.id() != "b"; });
  CHECK(picks(balancer, 4) == "acac");
}

TEST_CASE("a filter follows what becomes of its backends") {
  auto balancer = filtered<poise::SmoothWeighted>(InZone{"east"});
  balancer.drain("b");
  CHECK(picks(balancer, 2) == "cc");
  balancer.undrain("b");
  balancer.set_weight("c", 2);
  CHECK(picks(balancer, 4) == "bcbc");
  balancer.add({.id = "d", .weight = 2, .zone = "east"});
  CHECK(picks(balancer, 3) == "bcd");
}

TEST_CASE("a backend that is filtered out is not picked although nothing else is left") {
  auto balancer = filtered<poise::RoundRobin>(InZone{"east"});
  balancer.drain("b");
  balancer.set_health("c", HealthState::unhealthy);
  auto const lease = balancer.pick();
  REQUIRE_FALSE(lease);
  CHECK(message(lease.error()) ==
        "3 backends: 1 drained, 1 unhealthy, 1 at a limit or filtered out");
  balancer.undrain("b");
  CHECK(picks(balancer, 2) == "bb");
}

TEST_CASE("picks fail if a filter refuses every backend") {
  auto balancer = filtered<poise::RoundRobin>([](poise::Backend const&) { return false; });
  CHECK(message(balancer.pick().error()) == "3 backends: 3 at a limit or filtered out");
  CHECK(thrown<poise::NoBackend>([&] { balancer.call([](auto&) {}); }) ==
        "3 backends: 3 at a limit or filtered out");
}

TEST_CASE("a degraded backend outside the filter is no way out") {
  auto balancer = filtered<poise::RoundRobin>(InZone{"east"});
  balancer.set_health("a", HealthState::degraded);
  balancer.set_health("b", HealthState::unhealthy);
  balancer.set_health("c", HealthState::unhealthy);
  CHECK_FALSE(balancer.pick());
  balancer.set_health("c", HealthState::degraded);
  CHECK(picks(balancer, 3) == "ccc");
}

TEST_CASE("an excluded backend inside a filter comes again before one outside") {
  auto balancer = filtered<Stubborn>(InZone{"east"});
  std::vector<std::uint64_t> excluded{tests::stats_of(balancer, "b").serial};
  CHECK(picks(balancer, 8, {.excluded = excluded}) == "cccccccc");
  excluded.push_back(tests::stats_of(balancer, "c").serial);
  auto const lease = balancer.pick({.excluded = excluded});
  REQUIRE(lease);
  CHECK(lease.repeated());
  CHECK(lease->zone() == "east");
}

TEST_CASE("a backend at its limit inside a filter is passed over for one inside") {
  auto balancer = filtered<Stubborn>(InZone{"east"});
  balancer.set_admission("b", {.max_in_flight = 0});
  CHECK(picks(balancer, 4) == "cccc");
  balancer.set_admission("c", {.max_in_flight = 0});
  CHECK_FALSE(balancer.pick());
}

TEST_CASE("the condition is asked when the set changes and never in a pick") {
  Switch const keep;
  auto balancer = filtered<poise::RoundRobin>(keep);
  auto const asked = *keep.asked;
  CHECK(asked == 3);
  (void)picks(balancer, 20);
  CHECK(*keep.asked == asked);
  balancer.drain("a");
  CHECK(*keep.asked > asked);
}

TEST_CASE("a condition that throws makes the change throw and changes nothing") {
  Switch const keep;
  auto balancer = filtered<poise::RoundRobin>(keep);
  CHECK(picks(balancer, 3) == "abc");
  *keep.refused = "throw";
  CHECK(thrown<std::runtime_error>([&] { balancer.update({{.id = "x"}}); }) == "no idea");
  CHECK(thrown<std::runtime_error>([&] { balancer.drain("a"); }) == "no idea");
  CHECK(tests::ids_of(balancer) == "abc");
  CHECK_FALSE(tests::stats_of(balancer, "a").drained);
  CHECK(picks(balancer, 3) == "abc");
}

TEST_CASE("a condition that changes its mind is heeded at the next change") {
  // The answer for a backend changed between two plans: what the policy kept of the first is not
  // taken for the second.
  Switch const keep;
  auto balancer = filtered<poise::SmoothWeighted>(keep);
  *keep.refused = "b";
  balancer.drain("a");
  CHECK(picks(balancer, 3) == "ccc");
}

TEST_CASE("the state of a policy in a filter follows its backend") {
  tests::Probe<> const probe;
  auto balancer = filtered(InZone{"east"}, probe);
  (void)picks(balancer, 10);
  balancer.update({zones()[2], {.id = "n", .zone = "east"}, zones()[1], zones()[0]});
  (void)picks(balancer, 10);
  balancer.drain("b");
  (void)picks(balancer, 10);
  CHECK(probe.log->ends == 30);
  CHECK(probe.log->mistakes == 0);
}

TEST_CASE("a filter is named after its inner policy") {
  CHECK(poise::hooks::name(Filter<poise::P2C, InZone>{}) == "filter(p2c)");
}

}  // namespace unit_compose_filter
