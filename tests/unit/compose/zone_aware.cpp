// SPDX-License-Identifier: MIT
// ZoneAware: the local zone as far as it has its share of the capacity.

#include <poise/compose/zone_aware.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
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
#include "support/statistics.hpp"
#include "support/text.hpp"

namespace unit_compose_zone_aware {

using poise::HealthState;
using poise::ZoneAware;
using poise::ZoneOptions;
using tests::mentions;
using tests::picks;
using tests::thrown;

namespace {

using Zones = std::vector<std::pair<std::string, std::uint32_t>>;

/// So many backends in each zone: ids "a0", "a1", ...
std::vector<poise::Endpoint> zones_of(Zones const& zones) {
  std::vector<poise::Endpoint> result;
  for (auto const& [zone, count] : zones)
    for (std::uint32_t i = 0; i < count; ++i)
      result.push_back({.id = zone + std::to_string(i), .address = "x", .zone = zone});
  return result;
}

template <class P = poise::RoundRobin>
tests::AnyServers balancer_of(ZoneOptions options, std::vector<poise::Endpoint> endpoints,
                              P inner = {}) {
  return tests::servers_with(ZoneAware<P>{std::move(options), std::move(inner)},
                             std::move(endpoints));
}

std::map<std::string, std::uint64_t> by_zone(tests::AnyServers& balancer, std::size_t count) {
  std::map<std::string, std::uint64_t> result;
  for (std::size_t i = 0; i < count; ++i) {
    auto const key = std::to_string(i);
    ++result[balancer.pick({.route_key = key})->zone()];
  }
  return result;
}

using Counts = std::map<std::string, std::uint64_t>;

void check_shares(Counts const& counts, std::map<std::string, double> const& due) {
  std::vector<std::uint64_t> some;
  std::vector<double> shares;
  for (auto const& [zone, share] : due) {
    auto const found = counts.find(zone);
    some.push_back(found == counts.end() ? 0 : found->second);
    shares.push_back(share);
  }
  CAPTURE(counts);
  CHECK(counts.size() == due.size());
  CHECK(tests::chi_squared(some, shares) < tests::chi_squared_limit(some.size()));
}

std::string refusal(ZoneOptions options) {
  return thrown<poise::ConfigError>([&] { ZoneAware<poise::RoundRobin>{std::move(options)}; });
}

}  // namespace

TEST_CASE("requests stay in the local zone while it has its share of the capacity") {
  auto even = balancer_of({.local = "a"}, zones_of({{"a", 3}, {"b", 3}, {"c", 3}}));
  CHECK(by_zone(even, 300) == Counts{{"a", 300}});
  auto rich = balancer_of({.local = "a"}, zones_of({{"a", 5}, {"b", 2}}));
  CHECK(by_zone(rich, 100) == Counts{{"a", 100}});
}

TEST_CASE("a zone short of capacity spills to zones with spare capacity") {
  // a has 1 of 6, its clients are a third: half stays. b has its third, c half: all the rest to c.
  // n = 20 000.
  auto balancer = balancer_of({.local = "a"}, zones_of({{"a", 1}, {"b", 2}, {"c", 3}}));
  check_shares(by_zone(balancer, 20'000), {{"a", 50}, {"c", 50}});
}

TEST_CASE("what spills is divided by residual capacity") {
  // Of 10: a 1, b 4, c 5; clients a third each. a keeps 0.1 * 3 = 30 %; residuals 0.4 - 1/3 and
  // 0.5 - 1/3, 2 to 5. n = 20 000.
  auto balancer = balancer_of({.local = "a"}, zones_of({{"a", 1}, {"b", 4}, {"c", 5}}));
  check_shares(by_zone(balancer, 20'000), {{"a", 30}, {"b", 20}, {"c", 50}});
}

TEST_CASE("if all clients follow the rule each zone gets what it can carry") {
  // Shares of clients 0.5, 0.3, 0.2; of capacity 0.2, 0.3, 0.5. n = 20 000 per zone.
  std::map<std::string, double> const clients{{"a", 5}, {"b", 3}, {"c", 2}};
  std::map<std::string, double> load;
  for (auto const& [zone, share] : clients) {
    auto balancer =
        balancer_of({.local = zone, .clients = clients}, zones_of({{"a", 2}, {"b", 3}, {"c", 5}}));
    for (auto const& [target, count] : by_zone(balancer, 20'000))
      load[target] += share / 10 * static_cast<double>(count) / 20'000;
  }
  // Standard deviation of each below 0.002; tolerance 5 of them.
  CHECK(std::abs(load["a"] - 0.2) < 0.01);
  CHECK(std::abs(load["b"] - 0.3) < 0.01);
  CHECK(std::abs(load["c"] - 0.5) < 0.01);
}

TEST_CASE("weights count as capacity") {
  // a has 1 of 4 and half of the clients: half stays.
  auto endpoints = zones_of({{"a", 1}, {"b", 1}});
  endpoints[1].weight = 3;
  auto balancer = balancer_of({.local = "a"}, endpoints);
  check_shares(by_zone(balancer, 20'000), {{"a", 50}, {"b", 50}});
  balancer.set_weight("b0", 1);
  CHECK(by_zone(balancer, 100) == Counts{{"a", 100}});
}

TEST_CASE("capacity follows health") {
  auto balancer = balancer_of({.local = "a"}, zones_of({{"a", 2}, {"b", 2}}));
  CHECK(by_zone(balancer, 100) == Counts{{"a", 100}});
  balancer.set_health("a0", HealthState::unhealthy);  // 1 of 3 for half of the clients: 2/3 stay
  check_shares(by_zone(balancer, 20'000), {{"a", 2}, {"b", 1}});
  balancer.set_health("a1", HealthState::unhealthy);
  CHECK(by_zone(balancer, 100) == Counts{{"b", 100}});
  balancer.set_health("a1", HealthState::healthy);
  balancer.drain("b0");
  balancer.drain("b1");
  CHECK(by_zone(balancer, 100) == Counts{{"a", 100}});
}

TEST_CASE("in an unknown zone everything goes anywhere by the inner policy") {
  auto endpoints = zones_of({{"a", 1}, {"b", 1}});
  endpoints[1].weight = 3;
  auto balancer = balancer_of<poise::SmoothWeighted>({.local = "nowhere"}, endpoints);
  CHECK(by_zone(balancer, 400) == Counts{{"a", 100}, {"b", 300}});
}

TEST_CASE("clients of a zone without backends count in the shares of the others") {
  // a: 40 % of the clients, half of the capacity: stays.
  auto balancer = balancer_of({.local = "a", .clients = {{"a", 4}, {"b", 4}, {"empty", 2}}},
                              zones_of({{"a", 1}, {"b", 1}}));
  CHECK(by_zone(balancer, 100) == Counts{{"a", 100}});
}

TEST_CASE("backends without a zone are capacity without clients") {
  // a has half of the capacity and, being the only zone with a name, all of the clients.
  auto balancer = balancer_of({.local = "a"}, zones_of({{"a", 1}, {"", 1}}));
  check_shares(by_zone(balancer, 20'000), {{"a", 1}, {"", 1}});
}

TEST_CASE("a request that excludes the local zone gets another") {
  auto balancer = balancer_of({.local = "a"}, zones_of({{"a", 2}, {"b", 2}}));
  std::vector<std::uint64_t> excluded;
  std::string zones;
  for (int i = 0; i < 5; ++i) {
    auto lease = balancer.pick({.excluded = excluded});
    zones += lease->zone();
    CHECK(lease.repeated() == (i == 4));
    excluded.push_back(lease.serial());
  }
  CHECK(zones.substr(0, 4) == "aabb");
}

TEST_CASE("zones come and go") {
  auto balancer = balancer_of({.local = "a"}, zones_of({{"b", 2}}));
  CHECK(by_zone(balancer, 10) == Counts{{"b", 10}});
  balancer.update(zones_of({{"a", 2}, {"b", 2}}));
  CHECK(by_zone(balancer, 10) == Counts{{"a", 10}});
  balancer.update(zones_of({{"c", 1}, {"d", 1}}));
  check_shares(by_zone(balancer, 2000), {{"c", 1}, {"d", 1}});
}

TEST_CASE("a key keeps its zone while requests leave the local one") {
  auto balancer =
      balancer_of<tests::Keyed>({.local = "a"}, zones_of({{"a", 1}, {"b", 2}, {"c", 3}}));
  check_shares(by_zone(balancer, 20'000), {{"a", 50}, {"c", 50}});
  for (int i = 0; i < 50; ++i) {
    auto const key = std::to_string(i);
    auto const first = balancer.pick({.route_key = key})->id();
    for (int again = 0; again < 5; ++again)
      REQUIRE(balancer.pick({.route_key = key})->id() == first);
  }
}

TEST_CASE("the policy inside ZoneAware keeps its state and is notified of each outcome once") {
  tests::Probe<> const probe;
  auto balancer = balancer_of({.local = "a"}, zones_of({{"a", 1}, {"b", 3}}), probe);
  (void)by_zone(balancer, 100);
  balancer.update(zones_of({{"b", 3}, {"a", 2}}));
  (void)by_zone(balancer, 100);
  balancer.drain("a0");
  balancer.drain("a1");
  (void)by_zone(balancer, 100);
  CHECK(probe.log->ends == 300);
  CHECK(probe.log->mistakes == 0);
}

TEST_CASE("wrong zone options are refused with the offending value") {
  CHECK(mentions(refusal({}), "local zone of ZoneAware is \"\""));
  CHECK(mentions(refusal({.local = "a", .clients = {{"a", 1}, {"", 1}}}), "has a zone \"\""));
  CHECK(mentions(refusal({.local = "a", .clients = {{"a", 1}, {"b", -0.5}}}),
                 "gives zone \"b\" the share -0.5"));
  CHECK(mentions(
      refusal({.local = "a", .clients = {{"a", std::numeric_limits<double>::quiet_NaN()}}}),
      "share nan"));
  CHECK(
      mentions(refusal({.local = "a", .clients = {{"b", 1}}}), "no share to the local zone \"a\""));
  CHECK(mentions(refusal({.local = "a", .clients = {{"a", 0}, {"b", 1}}}),
                 "no share to the local zone \"a\""));
}

TEST_CASE("a zone-aware policy is named after its inner policy") {
  CHECK(poise::hooks::name(ZoneAware<poise::P2C>{{.local = "a"}}) == "zone_aware(p2c)");
}

}  // namespace unit_compose_zone_aware
