// SPDX-License-Identifier: MIT
// Failover: backends of tier 0 first, the next ones for what is left.

#include <poise/compose/failover.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <poise/balancer.hpp>
#include <poise/compose/filter.hpp>
#include <poise/policy/power_of_two.hpp>
#include <poise/policy/round_robin.hpp>
#include <poise/policy/smooth_weighted.hpp>

#include "support/catch.hpp"
#include "support/clock.hpp"
#include "support/compositions.hpp"
#include "support/servers.hpp"
#include "support/statistics.hpp"

namespace unit_compose_failover {

using poise::Failover;
using poise::FailoverOptions;
using poise::HealthState;
using tests::AnyServers;
using tests::picks;
using Loads = std::vector<std::uint64_t>;

namespace {

constexpr FailoverOptions all_or_nothing{.mode = FailoverOptions::Mode::all_or_nothing};

/// Tiers of so many backends each, with ids "0.0", "0.1", ... "1.0", ...
std::vector<poise::Endpoint> tiers_of(std::vector<std::uint32_t> const& sizes) {
  std::vector<poise::Endpoint> result;
  for (std::uint32_t tier = 0; tier < sizes.size(); ++tier)
    for (std::uint32_t i = 0; i < sizes[tier]; ++i)
      result.push_back({.id = std::to_string(tier) + "." + std::to_string(i), .tier = tier});
  return result;
}

template <class P>
AnyServers balancer_of(P const& policy, std::vector<poise::Endpoint> endpoints) {
  return tests::servers_with(policy, std::move(endpoints));
}

void make(AnyServers& balancer, HealthState health, std::uint32_t tier, std::uint32_t first,
          std::uint32_t count) {
  for (std::uint32_t i = first; i < first + count; ++i)
    balancer.set_health(std::to_string(tier) + "." + std::to_string(i), health);
}

/// How many of so many picks go to each tier.
std::vector<std::uint64_t> by_tier(AnyServers& balancer, std::size_t count, bool by_key = false) {
  std::vector<std::uint64_t> result(4);
  for (std::size_t i = 0; i < count; ++i) {
    auto const key = "user " + std::to_string(i);
    auto lease = balancer.pick({.route_key = by_key ? std::string_view{key} : std::string_view{}});
    ++result[lease->tier()];
    lease.finish();
  }
  return result;
}

void check_shares(std::vector<std::uint64_t> const& counts, std::vector<double> const& shares) {
  std::vector<std::uint64_t> some;
  std::vector<double> due;
  for (std::size_t i = 0; i < shares.size(); ++i) {
    if (shares[i] == 0) {
      CHECK(counts[i] == 0);
      continue;
    }
    some.push_back(counts[i]);
    due.push_back(shares[i]);
  }
  CAPTURE(counts);
  if (some.size() > 1) CHECK(tests::chi_squared(some, due) < tests::chi_squared_limit(some.size()));
}

}  // namespace

// -- how much each tier carries ------------------------------------------------------------------

TEST_CASE("the load of tiers is as Envoy documents it") {
  using poise::detail::tier_loads;
  CHECK(tier_loads({{100, 100}, {100, 100}}) == Loads{100, 0});
  CHECK(tier_loads({{72, 100}, {100, 100}}) == Loads{100, 0});
  CHECK(tier_loads({{71, 100}, {100, 100}}) == Loads{99, 1});
  CHECK(tier_loads({{50, 100}, {100, 100}}) == Loads{70, 30});
  CHECK(tier_loads({{25, 100}, {100, 100}}) == Loads{35, 65});
  CHECK(tier_loads({{0, 100}, {100, 100}}) == Loads{0, 100});
  CHECK(tier_loads({{25, 100}, {25, 100}}) == Loads{50, 50});
  CHECK(tier_loads({{5, 100}, {0, 100}}) == Loads{100, 0});
  CHECK(tier_loads({{25, 100}, {25, 100}, {20, 100}}) == Loads{36, 36, 28});
}

TEST_CASE("the load of tiers is always 100 percent and never goes to an empty tier") {
  int wrong = 0;
  for (std::uint64_t a = 0; a <= 40; ++a)
    for (std::uint64_t b = 0; b <= 40; ++b)
      for (std::uint64_t c = 0; c <= 40; ++c) {
        if (a + b + c == 0) continue;
        auto const loads = poise::detail::tier_loads({{a, 40}, {b, 40}, {c, 40}});
        wrong += loads[0] + loads[1] + loads[2] == 100 ? 0 : 1;
        wrong +=
            (a == 0 && loads[0] != 0) || (b == 0 && loads[1] != 0) || (c == 0 && loads[2] != 0);
      }
  CHECK(wrong == 0);
}

TEST_CASE("a tier with too few to count a percent still serves if it is all there is") {
  using poise::detail::tier_loads;
  CHECK(tier_loads({{1, 1000}, {0, 10}}) == Loads{100, 0});
  CHECK(tier_loads({{0, 10}, {1, 1000}, {1, 1000}}) == Loads{0, 100, 0});
  CHECK(tier_loads({{0, 0}, {3, 3}}) == Loads{0, 100});
}

// -- with a balancer -----------------------------------------------------------------------------

TEST_CASE("all requests go to tier 0 while it is healthy") {
  auto balancer = balancer_of(Failover<poise::RoundRobin>{}, tiers_of({2, 2}));
  CHECK(by_tier(balancer, 100) == std::vector<std::uint64_t>{100, 0, 0, 0});
}

TEST_CASE("a tier spills the load that it can't carry") {
  // n = 20 000, 70 % and 30 % due; seeded.
  auto balancer = balancer_of(Failover<poise::RoundRobin>{}, tiers_of({4, 4}));
  make(balancer, HealthState::unhealthy, 0, 0, 2);
  check_shares(by_tier(balancer, 20'000), {70, 30});
  make(balancer, HealthState::unhealthy, 0, 2, 2);
  check_shares(by_tier(balancer, 100), {0, 100});
  make(balancer, HealthState::healthy, 0, 0, 3);
  check_shares(by_tier(balancer, 100), {100, 0});
}

TEST_CASE("three tiers share a load that none can carry alone") {
  // 25, 25 and 20 % healthy: 36, 36 and 28 % due. n = 20 000; seeded.
  auto balancer = balancer_of(Failover<poise::RoundRobin>{}, tiers_of({20, 20, 20}));
  make(balancer, HealthState::unhealthy, 0, 5, 15);
  make(balancer, HealthState::unhealthy, 1, 5, 15);
  make(balancer, HealthState::unhealthy, 2, 4, 16);
  check_shares(by_tier(balancer, 20'000), {36, 36, 28});
}

TEST_CASE("all or nothing moves on only when a tier has no healthy backend") {
  auto balancer = balancer_of(Failover<poise::RoundRobin>{all_or_nothing}, tiers_of({4, 2, 1}));
  make(balancer, HealthState::unhealthy, 0, 0, 3);
  check_shares(by_tier(balancer, 100), {100, 0, 0});
  make(balancer, HealthState::unhealthy, 0, 3, 1);
  check_shares(by_tier(balancer, 100), {0, 100, 0});
  make(balancer, HealthState::unhealthy, 1, 0, 2);
  check_shares(by_tier(balancer, 100), {0, 0, 100});
  make(balancer, HealthState::healthy, 0, 2, 1);
  check_shares(by_tier(balancer, 100), {100, 0, 0});
}

TEST_CASE("a drained backend leaves its tier's total at once") {
  // 2 of 4 drained: the other two are all of the tier, not half of it. 2 of 4 unhealthy: half.
  auto balancer = balancer_of(Failover<poise::RoundRobin>{}, tiers_of({4, 4}));
  balancer.drain("0.0");
  balancer.drain("0.1");
  check_shares(by_tier(balancer, 200), {100, 0});
  balancer.set_health("0.2", HealthState::unhealthy);
  check_shares(by_tier(balancer, 20'000), {70, 30});
  balancer.undrain("0.0");  // 2 of 3 healthy: 93 %
  check_shares(by_tier(balancer, 20'000), {93, 7});
}

TEST_CASE("a backend of weight 0 is no part of its tier's total") {
  auto endpoints = tiers_of({4, 4});
  endpoints[0].weight = endpoints[1].weight = 0;
  auto balancer = balancer_of(Failover<poise::RoundRobin>{}, std::move(endpoints));
  check_shares(by_tier(balancer, 200), {100, 0});
}

TEST_CASE("tiers without backends are passed over") {
  auto balancer = balancer_of(Failover<poise::RoundRobin>{},
                              {{.id = "a", .tier = 7}, {.id = "b", .tier = 4'000'000'000}});
  CHECK(picks(balancer, 4) == "aaaa");
  balancer.drain("a");
  CHECK(picks(balancer, 2) == "bb");
  balancer.add({.id = "c", .tier = 1});
  CHECK(picks(balancer, 2) == "cc");
  balancer.remove("c");
  balancer.remove("a");
  CHECK(picks(balancer, 2) == "bb");
}

TEST_CASE("more tiers than there are copies of the policy are all used") {
  auto balancer =
      balancer_of(Failover<poise::SmoothWeighted>{}, tiers_of(std::vector<std::uint32_t>(12, 1)));
  for (std::uint32_t tier = 0; tier < 12; ++tier) {
    auto const id = std::to_string(tier) + ".0";
    CHECK(picks(balancer, 2) == id + id);
    balancer.drain(id);
  }
  CHECK(picks(balancer, 1) == "-");
}

TEST_CASE("a rotation stays even inside each tier while load spills") {
  // A rotation that tiers shared would favour some: with the draw between them it is no rotation.
  tests::Clock const clock;
  AnyServers balancer{
      tiers_of({6, 2}), poise::AnyPolicy{Failover<poise::RoundRobin>{}}, {.clock = clock}};
  make(balancer, HealthState::unhealthy, 0, 3, 3);
  (void)by_tier(balancer, 10'000);
  std::map<std::uint32_t, std::pair<std::uint64_t, std::uint64_t>> extremes;
  for (auto const& each : balancer.stats().backends) {
    if (each.total == 0) continue;
    auto const tier = static_cast<std::uint32_t>(each.id[0] - '0');
    auto [found, fresh] = extremes.try_emplace(tier, each.total, each.total);
    found->second.first = std::min(found->second.first, each.total);
    found->second.second = std::max(found->second.second, each.total);
  }
  REQUIRE(extremes.size() == 2);
  for (auto const& [tier, counts] : extremes) CHECK(counts.second - counts.first <= 1);
}

TEST_CASE("an untried backend of a lower tier comes before a tried one of a higher tier") {
  auto balancer = balancer_of(Failover<poise::RoundRobin>{}, tiers_of({2, 2}));
  std::vector<std::uint64_t> excluded;
  std::string tiers;
  for (int i = 0; i < 6; ++i) {
    auto lease = balancer.pick({.excluded = excluded});
    tiers += std::to_string(lease->tier());
    excluded.push_back(lease.serial());
    CHECK(lease.repeated() == (i >= 4));
    lease.finish(poise::Result::timeout);
  }
  CHECK(tiers.substr(0, 4) == "0011");
}

TEST_CASE("a tier whose backends are at their limits leaves a request to the next") {
  auto balancer = balancer_of(Failover<poise::RoundRobin>{}, tiers_of({2, 1, 1}));
  balancer.set_admission("0.0", {.max_in_flight = 0});
  balancer.set_admission("0.1", {.max_in_flight = 0});
  check_shares(by_tier(balancer, 50), {0, 50});
}

TEST_CASE("a key keeps its tier and the keys are spread as the load is") {
  // 20 000 keys, 70 % and 30 % due.
  auto balancer = balancer_of(Failover<tests::Keyed>{}, tiers_of({4, 4}));
  make(balancer, HealthState::unhealthy, 0, 0, 2);
  check_shares(by_tier(balancer, 20'000, true), {70, 30});
  for (int i = 0; i < 50; ++i) {
    auto const key = std::to_string(i);
    auto const first = balancer.pick({.route_key = key})->id();
    for (int again = 0; again < 5; ++again)
      REQUIRE(balancer.pick({.route_key = key})->id() == first);
  }
}

TEST_CASE("requests without a key are spread by chance even by a keyed policy") {
  auto balancer = balancer_of(Failover<tests::Keyed>{}, tiers_of({4, 4}));
  make(balancer, HealthState::unhealthy, 0, 0, 2);
  check_shares(by_tier(balancer, 20'000), {70, 30});
}

// -- degraded backends ---------------------------------------------------------------------------

namespace {

/// Of 16 in each of two tiers: 4 healthy, 4 degraded, 8 unhealthy.
void make_half_degraded(AnyServers& balancer) {
  for (std::uint32_t tier = 0; tier < 2; ++tier) {
    make(balancer, HealthState::degraded, tier, 4, 4);
    make(balancer, HealthState::unhealthy, tier, 8, 8);
  }
}

/// Healthy and degraded ones of tier 0, then of tier 1.
std::vector<std::uint64_t> by_tier_and_health(AnyServers& balancer, std::size_t count,
                                              bool by_key) {
  std::vector<std::uint64_t> result(4);
  for (std::size_t i = 0; i < count; ++i) {
    auto const key = by_key ? "user " + std::to_string(i) : std::string{};
    auto lease = balancer.pick({.route_key = key});
    ++result[2 * lease->tier() + (lease->health() == HealthState::degraded ? 1 : 0)];
  }
  return result;
}

}  // namespace

TEST_CASE("healthy and degraded backends are divided over all tiers and spill each by itself") {
  // Tier 0: 4 healthy, 4 degraded of 16. Tier 1: the same. In all 8 of 32 healthy: 35 %, degraded
  // likewise 35 %, so half of all picks each. Healthy: 35 % and 35 % of 70: half each tier;
  // degraded likewise. n = 20 000.
  auto balancer = balancer_of(Failover<poise::RoundRobin>{}, tiers_of({16, 16}));
  make_half_degraded(balancer);
  check_shares(by_tier_and_health(balancer, 20'000, false), {1, 1, 1, 1});
}

TEST_CASE("keys are spread over tiers also among the degraded") {
  // As above, by key: the tier of a key says nothing of its health. n = 20 000.
  auto balancer = balancer_of(Failover<tests::Keyed>{}, tiers_of({16, 16}));
  make_half_degraded(balancer);
  check_shares(by_tier_and_health(balancer, 20'000, true), {1, 1, 1, 1});
}

TEST_CASE("a degraded tier 0 serves before a healthy tier 1 would be alone") {
  // Tier 0 all degraded, tier 1 all healthy: of all, 4 of 8 healthy carry 70 %.
  auto balancer = balancer_of(Failover<poise::RoundRobin>{}, tiers_of({4, 4}));
  make(balancer, HealthState::degraded, 0, 0, 4);
  check_shares(by_tier(balancer, 20'000), {30, 70});
}

// -- hooks ---------------------------------------------------------------------------------------

TEST_CASE("the policy of a failover keeps its state and is notified of each outcome once") {
  tests::Probe<> const probe;
  auto balancer = balancer_of(Failover<tests::Probe<>>{{}, probe}, tiers_of({4, 4}));
  make(balancer, HealthState::unhealthy, 0, 0, 2);
  (void)by_tier(balancer, 100);
  auto endpoints = tiers_of({3, 5});
  std::swap(endpoints[0], endpoints[6]);
  balancer.update(std::move(endpoints));
  (void)by_tier(balancer, 100);
  balancer.tick();
  CHECK(probe.log->ends == 200);
  CHECK(probe.log->mistakes == 0);
  CHECK(probe.log->ticks == 2);  // one per tier's copy
}

TEST_CASE("a failover of filters passes over a tier that the filter empties") {
  using Inner = poise::Filter<poise::RoundRobin, poise::InZone>;
  auto balancer = balancer_of(Failover<Inner>{{}, {poise::InZone{"x"}}},
                              {{.id = "a", .zone = "y"}, {.id = "b", .zone = "x", .tier = 1}});
  CHECK(picks(balancer, 3) == "bbb");
}

TEST_CASE("a failover is named after its inner policy") {
  CHECK(poise::hooks::name(Failover<poise::P2C>{}) == "failover(p2c)");
}

// -- two policies --------------------------------------------------------------------------------

TEST_CASE("two policies take the first tier and the rest") {
  // Half of tier 0 is healthy: 70 % of the load. The other tiers are one to the secondary policy.
  auto balancer =
      balancer_of(Failover<poise::SmoothWeighted, poise::RoundRobin>{}, tiers_of({4, 2, 2}));
  CHECK(by_tier(balancer, 100) == std::vector<std::uint64_t>{100, 0, 0, 0});
  make(balancer, HealthState::unhealthy, 0, 0, 2);
  check_shares(by_tier(balancer, 20'000), {70, 15, 15});
  make(balancer, HealthState::unhealthy, 0, 2, 2);
  CHECK(by_tier(balancer, 4) == std::vector<std::uint64_t>{0, 2, 2, 0});
}

TEST_CASE("the first tier of two policies is the first one with backends") {
  auto balancer =
      balancer_of(Failover<poise::RoundRobin, Failover<poise::RoundRobin, poise::RoundRobin>>{},
                  {{.id = "a", .tier = 3}, {.id = "b", .tier = 5}, {.id = "c", .tier = 9}});
  CHECK(picks(balancer, 2) == "aa");
  balancer.drain("a");
  CHECK(picks(balancer, 2) == "bb");
  balancer.remove("b");
  CHECK(picks(balancer, 2) == "cc");
  balancer.remove("a");
  CHECK(picks(balancer, 2) == "cc");
}

TEST_CASE("all or nothing holds for two policies too") {
  auto balancer =
      balancer_of(Failover<poise::RoundRobin, poise::RoundRobin>{all_or_nothing}, tiers_of({4, 2}));
  make(balancer, HealthState::unhealthy, 0, 0, 3);
  check_shares(by_tier(balancer, 100), {100, 0});
}

TEST_CASE("of two policies the one that picked is notified, each with its own state") {
  tests::Probe<> const first;
  tests::Probe<> const rest;
  auto balancer =
      balancer_of(Failover<tests::Probe<>, tests::Probe<>>{{}, first, rest}, tiers_of({4, 4}));
  (void)by_tier(balancer, 10);
  CHECK(first.log->ends == 10);
  make(balancer, HealthState::unhealthy, 0, 0, 2);
  (void)by_tier(balancer, 200);
  balancer.update(tiers_of({0, 4}));  // now the primary's
  (void)by_tier(balancer, 10);
  CHECK(first.log->ends + rest.log->ends == 220);
  CHECK(first.log->ends >= 20 + 100);
  CHECK(rest.log->ends >= 30);
  CHECK(first.log->mistakes + rest.log->mistakes == 0);
}

TEST_CASE("two policies pass a request that excludes all of one on to the other") {
  auto balancer = balancer_of(Failover<poise::RoundRobin, poise::RoundRobin>{}, tiers_of({2, 2}));
  std::vector<std::uint64_t> excluded;
  std::string tiers;
  for (int i = 0; i < 4; ++i) {
    auto lease = balancer.pick({.excluded = excluded});
    tiers += std::to_string(lease->tier());
    excluded.push_back(lease.serial());
  }
  CHECK(tiers == "0011");
}

TEST_CASE("two policies are named after both") {
  CHECK(poise::hooks::name(Failover<poise::P2C, poise::RoundRobin>{}) ==
        "failover(p2c, round_robin)");
}

}  // namespace unit_compose_failover
