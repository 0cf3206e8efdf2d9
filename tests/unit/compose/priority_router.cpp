// SPDX-License-Identifier: MIT
// PriorityRouter: a policy, and backends if wanted, for each priority of requests.

#include <poise/compose/priority_router.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <poise/balancer.hpp>
#include <poise/compose/any_policy.hpp>
#include <poise/compose/filter.hpp>
#include <poise/policy/power_of_two.hpp>
#include <poise/policy/round_robin.hpp>
#include <poise/policy/smooth_weighted.hpp>

#include "support/catch.hpp"
#include "support/compositions.hpp"
#include "support/servers.hpp"

namespace unit_compose_priority_router {

using poise::Filter;
using poise::InZone;
using poise::Priority;
using poise::PriorityRouter;
using tests::picks;
using tests::Probe;

namespace {

std::vector<poise::Endpoint> zones() {
  return {{.id = "a", .zone = "fast"}, {.id = "b", .zone = "fast"}, {.id = "c", .zone = "slow"}};
}

template <class P>
tests::AnyServers balancer_of(P const& policy, std::vector<poise::Endpoint> endpoints = zones()) {
  return tests::servers_with(policy, std::move(endpoints));
}

using InFast = Filter<poise::RoundRobin, InZone>;
using Pools = PriorityRouter<InFast, InFast, InFast>;
Pools pools(bool fallback) {
  return {{.fallback = fallback}, InZone{"fast"}, InZone{"slow"}, InZone{"none"}};
}

/// Proposes the first candidate always.
struct Stubborn {
  std::size_t pick(poise::Candidates const&, poise::Context&) const { return 0; }
};

}  // namespace

TEST_CASE("each priority goes to its own policy") {
  auto balancer =
      balancer_of(PriorityRouter{{}, poise::SmoothWeighted{}, poise::RoundRobin{}, Stubborn{}},
                  {{.id = "a", .weight = 3}, {.id = "b"}});
  CHECK(picks(balancer, 4, {.priority = Priority::high}) == "aaba");
  CHECK(picks(balancer, 4) == "abab");
  CHECK(picks(balancer, 4, {.priority = Priority::low}) == "aaaa");
}

TEST_CASE("each priority can have its own backends") {
  auto balancer = balancer_of(pools(false));
  CHECK(picks(balancer, 4, {.priority = Priority::high}) == "abab");
  CHECK(picks(balancer, 2) == "cc");
}

TEST_CASE("a class without backends fails and the others do not") {
  auto balancer = balancer_of(pools(false));
  auto const lease = balancer.pick({.priority = Priority::low});
  REQUIRE_FALSE(lease);
  CHECK(message(lease.error()) == "3 backends: 3 at a limit or filtered out");
  balancer.drain("c");
  CHECK(picks(balancer, 2) == "--");
  CHECK(picks(balancer, 2, {.priority = Priority::high}) == "ab");
}

TEST_CASE("a class without backends falls to the next if it may") {
  auto balancer = balancer_of(pools(true));
  CHECK(picks(balancer, 4, {.priority = Priority::high}) == "abab");
  balancer.drain("a");
  balancer.drain("b");
  CHECK(picks(balancer, 2, {.priority = Priority::high}) == "cc");
  balancer.undrain("b");
  CHECK(picks(balancer, 2, {.priority = Priority::high}) == "bb");
}

TEST_CASE("the lowest class has no class to fall back to") {
  auto balancer = balancer_of(pools(true));
  CHECK(picks(balancer, 2, {.priority = Priority::low}) == "--");
  balancer.drain("c");
  CHECK(picks(balancer, 2) == "--");
}

TEST_CASE("a class whose backends are at their limit falls to the next if it may") {
  auto const at_limit = [](bool fallback) {
    auto balancer = balancer_of(pools(fallback));
    balancer.set_admission("a", {.max_in_flight = 0});
    balancer.set_admission("b", {.max_in_flight = 0});
    return picks(balancer, 3, {.priority = Priority::high});
  };
  CHECK(at_limit(false) == "---");
  CHECK(at_limit(true) == "ccc");
}

TEST_CASE("a class falls only when it has no untried backend of its own") {
  using First = Filter<Stubborn, InZone>;
  auto balancer = balancer_of(PriorityRouter<First, First, First>{
      {.fallback = true}, InZone{"fast"}, InZone{"slow"}, InZone{"none"}});
  std::vector<std::uint64_t> excluded{tests::stats_of(balancer, "a").serial};
  CHECK(picks(balancer, 5, {.priority = Priority::high, .excluded = excluded}) == "bbbbb");
  excluded.push_back(tests::stats_of(balancer, "b").serial);
  CHECK(picks(balancer, 5, {.priority = Priority::high, .excluded = excluded}) == "ccccc");
}

TEST_CASE("only the child that picked is notified of the outcome") {
  Probe<> const high;
  Probe<> const normal;
  Probe<> const low;
  auto balancer = balancer_of(PriorityRouter{{}, high, normal, low});
  auto urgent = balancer.pick({.priority = Priority::high});
  auto batch = balancer.pick({.priority = Priority::low});
  batch.finish(poise::Result::timeout);
  CHECK(low.log->ends == 1);
  CHECK(low.log->last_ending == poise::Result::timeout);
  CHECK(high.log->ends + normal.log->ends == 0);
  urgent.finish();
  CHECK(high.log->ends == 1);
  CHECK(normal.log->ends == 0);
  CHECK(high.log->mistakes + low.log->mistakes == 0);
}

TEST_CASE("after a fallback the child that picked is notified") {
  Probe<> const high;
  Probe<> const normal;
  using Mine = Filter<Probe<>, InZone>;
  auto balancer = balancer_of(PriorityRouter<Mine, Mine, poise::RoundRobin>{
      {.fallback = true}, {InZone{"none"}, high}, {InZone{"slow"}, normal}});
  CHECK(picks(balancer, 3, {.priority = Priority::high}) == "ccc");
  CHECK(high.log->ends == 0);
  CHECK(normal.log->ends == 3);
  CHECK(normal.log->mistakes == 0);
}

TEST_CASE("each child has its own state per backend and keeps it over updates") {
  Probe<> const high;
  Probe<> const low;
  auto balancer = balancer_of(PriorityRouter{{}, high, poise::RoundRobin{}, low});
  auto const some = [&] {
    for (auto const priority : {Priority::high, Priority::normal, Priority::low})
      (void)picks(balancer, 5, {.priority = priority});
  };
  some();
  balancer.update({zones()[2], zones()[0], {.id = "n"}});
  some();
  balancer.drain("a");
  some();
  CHECK(high.log->ends == 15);
  CHECK(low.log->ends == 15);
  CHECK(high.log->mistakes + low.log->mistakes == 0);
}

TEST_CASE("children chosen at run time have their own state too") {
  Probe<> const high;
  Probe<> const low;
  using poise::AnyPolicy;
  auto balancer = balancer_of(PriorityRouter{{},
                                             AnyPolicy{high},
                                             AnyPolicy{poise::RoundRobin{}},
                                             AnyPolicy{PriorityRouter{{}, low, low, low}}});
  for (auto const priority : {Priority::high, Priority::normal, Priority::low})
    (void)picks(balancer, 5, {.priority = priority});
  CHECK(high.log->ends == 5);
  CHECK(low.log->ends == 5);
  CHECK(high.log->mistakes + low.log->mistakes == 0);
}

TEST_CASE("a child that admitted a scanned backend is notified of the outcome") {
  // Everything is excluded, so that no policy is asked in the end; the probe counts admissions
  // against ends, as a policy that bounds its own load does.
  Probe<> const high;
  Probe<> const normal;
  auto balancer = balancer_of(
      PriorityRouter{{}, Filter{InZone{"fast"}, high}, Filter{InZone{"slow"}, normal}, normal});
  std::vector<std::uint64_t> excluded;
  for (auto const& each : balancer.stats().backends) excluded.push_back(each.serial);
  CHECK(picks(balancer, 3, {.excluded = excluded}) == "ccc");
  CHECK(normal.log->ends == 3);
  CHECK(normal.log->mistakes == 0);
  CHECK(high.log->admits == 0);
}

TEST_CASE("a priority that does not exist is the lowest") {
  Probe<> const low;
  auto balancer = balancer_of(PriorityRouter{{}, poise::RoundRobin{}, poise::RoundRobin{}, low});
  balancer.pick({.priority = static_cast<Priority>(9)}).finish();
  CHECK(low.log->ends == 1);
}

TEST_CASE("a router uses time and keys if a child does") {
  using poise::hooks::UsesTime;
  using Untimed = Probe<false, false>;
  using poise::hooks::time_use;
  STATIC_REQUIRE(time_use<PriorityRouter<Untimed, Untimed, Untimed>> == UsesTime::never);
  STATIC_REQUIRE(time_use<PriorityRouter<Untimed, Untimed, Probe<>>> == UsesTime::always);
  STATIC_REQUIRE(time_use<PriorityRouter<Untimed, poise::AnyPolicy, Untimed>> == UsesTime::ask);
  CHECK_FALSE(poise::hooks::traits(PriorityRouter<Untimed, Untimed, Untimed>{}).keyed);
  CHECK(poise::hooks::traits(PriorityRouter<Untimed, Untimed, Probe<false, true>>{}).keyed);
}

TEST_CASE("a router has no hook that no child has") {
  using Plain = PriorityRouter<poise::RoundRobin, poise::RoundRobin, poise::P2C>;
  STATIC_REQUIRE_FALSE(poise::hooks::has_on_finish<Plain>);
  STATIC_REQUIRE_FALSE(poise::hooks::has_on_tick<Plain>);
  STATIC_REQUIRE_FALSE(poise::hooks::has_decide<Plain>);
  STATIC_REQUIRE_FALSE(poise::hooks::has_admit<Plain>);
  CHECK(poise::hooks::make_state(Plain{}) == nullptr);
}

TEST_CASE("a router is named after its inner policies") {
  CHECK(
      poise::hooks::name(PriorityRouter<poise::P2C, poise::RoundRobin, poise::SmoothWeighted>{}) ==
      "priority(p2c, round_robin, smooth_weighted)");
}

}  // namespace unit_compose_priority_router
