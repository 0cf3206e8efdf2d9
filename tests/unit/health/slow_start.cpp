// SPDX-License-Identifier: MIT
// A warming backend follows the ramp, and its competitors are not overloaded.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/policies.hpp"
#include "unit/health/calls.hpp"

namespace unit_health_slow_start {

using namespace std::chrono_literals;
using namespace poise::health;
using tests::Calls;

namespace {

struct Ramp {
  double max_of_curve = 0;  // what it got over what the ramp says
  double min_of_curve = 1e9;
  double neighbour = 0;  // the most that a competitor got in three seconds, over its due
};

/// Backend `number` comes back; `competitors` share its requests. The curve is compared from the
/// second `from` on.
Ramp warm_up(poise::AnyPolicy policy, std::vector<poise::Endpoint> endpoints, std::size_t number,
             std::vector<std::size_t> const& competitors, double per_second, int from = 6) {
  Calls<> calls{std::move(endpoints), std::move(policy), Standard{{.seed = 3}}};
  calls.run(12s, per_second);
  for (int i = 0; i < 5; ++i) calls.balancer.record(std::to_string(number), poise::Result::error);
  for (int i = 0; i < 60 && calls.monitor.phase(std::to_string(number)) != Phase::slow_start; ++i)
    calls.run(1s, per_second);
  REQUIRE(calls.monitor.phase(std::to_string(number)) == Phase::slow_start);
  auto const due = 3 * per_second / static_cast<double>(competitors.size() + 1);
  Ramp ramp;
  for (int second = 0; second < 27; second += 3) {
    calls.attempts();
    calls.run(3s, per_second);
    auto const attempts = calls.attempts();
    for (auto const each : competitors)
      ramp.neighbour = std::max(ramp.neighbour, static_cast<double>(attempts[each]) / due);
    auto const middle = (second + 1.5) / 30;
    auto const part = static_cast<double>(attempts[number]) / due / std::max(0.1, middle);
    if (second < from) continue;
    ramp.max_of_curve = std::max(ramp.max_of_curve, part);
    ramp.min_of_curve = std::min(ramp.min_of_curve, part);
  }
  return ramp;
}

std::vector<poise::Endpoint> in_two(std::size_t first, std::size_t all) {
  auto endpoints = tests::numbered(all);
  for (std::size_t i = first; i < all; ++i) endpoints[i].tier = 1;
  return endpoints;
}

}  // namespace

TEST_CASE("under Failover a warming backend follows the ramp, whatever idles in other tiers") {
  for (auto const inner : {"round_robin", "p2c", "least_connections"}) {
    CAPTURE(inner);
    auto const policy = tests::policy("failover(" + std::string{inner} + ")");
    auto const ramp = warm_up(policy, in_two(4, 12), 0, {1, 2, 3}, 600);
    CHECK(ramp.max_of_curve <= 1.5);
    CHECK(ramp.min_of_curve >= 0.6);
    CHECK(ramp.neighbour <= 1.5);
    auto const two = warm_up(policy, in_two(2, 12), 0, {1}, 600);
    CHECK(two.neighbour <= 1.5);
  }
}

TEST_CASE("in a subset of many a warming backend is not forgotten") {
  for (auto const inner : {"round_robin", "p2c"}) {
    CAPTURE(inner);
    auto const policy =
        tests::policy("subset(" + std::string{inner} + ", client=1, clients=100, size=4)");
    // Which four?
    Calls<> calls{tests::numbered(400), policy, Standard{{.seed = 3}}};
    calls.run(5s, 200);
    std::vector<std::size_t> used;
    auto const attempts = calls.attempts();
    for (std::size_t i = 0; i < attempts.size(); ++i)
      if (attempts[i] > 0) used.push_back(i);
    REQUIRE(used.size() == 4);
    auto const number = used[0];
    used.erase(used.begin());
    auto const ramp = warm_up(policy, tests::numbered(400), number, used, 400);
    CHECK(ramp.max_of_curve <= 1.5);
    CHECK(ramp.min_of_curve >= 0.5);
    CHECK(ramp.neighbour <= 1.5);
  }
}

TEST_CASE("one of many backends follows the ramp under policies that take turns") {
  for (auto const name : {"round_robin", "exact_round_robin", "random"}) {
    CAPTURE(name);
    std::vector<std::size_t> others;
    for (std::size_t i = 1; i < 100; ++i) others.push_back(i);
    auto const ramp = warm_up(tests::policy(name), tests::numbered(100), 0, others, 3000, 9);
    CHECK(ramp.max_of_curve <= 1.6);
    CHECK(ramp.min_of_curve >= 0.5);
  }
}

namespace {

/// The picks of backend 0 in each second after `let_in`, over its full due: under every policy.
template <class LetIn>
void check_ramp_of_joiner(poise::Endpoint joiner, LetIn const& let_in) {
  for (auto const name : tests::policies_in_long_tests()) {
    CAPTURE(name);
    constexpr double per_second = 2000;
    Calls<> calls{tests::numbered(10), tests::policy(name), Standard{{.seed = 3}}};
    calls.servers.resize(11);
    calls.run(5s, per_second);
    calls.balancer.add(joiner);
    if (joiner.weight != 0) calls.balancer.drain(joiner.id);
    calls.run(60s, per_second);
    CHECK(calls.monitor.phase(joiner.id) == Phase::healthy);
    let_in(calls.balancer, joiner.id);
    calls.attempts();
    calls.run(3s, per_second);
    auto const first = calls.attempts();
    CHECK(calls.monitor.phase(joiner.id) == Phase::slow_start);
    CHECK(static_cast<double>(first.at(10)) <= 0.4 * 3 * per_second / 11);
    calls.run(40s, per_second);
    CHECK(calls.monitor.phase(joiner.id) == Phase::healthy);
    calls.attempts();
    calls.run(3s, per_second);
    CHECK(static_cast<double>(calls.attempts().at(10)) >= 0.5 * 3 * per_second / 11);
  }
}

}  // namespace

TEST_CASE("a backend that joins drained warms up when it is let in, under every policy") {
  check_ramp_of_joiner({.id = "10"}, [](auto& balancer, auto const& id) { balancer.undrain(id); });
}

TEST_CASE("a backend that joins with weight 0 warms up when it is let in, under every policy") {
  check_ramp_of_joiner({.id = "10", .weight = 0},
                       [](auto& balancer, auto const& id) { balancer.set_weight(id, 1); });
}

TEST_CASE("a backend that was in rotation does not warm up after a drain") {
  Calls<> calls{tests::numbered(3), tests::policy("p2c"), Standard{{.seed = 3}}};
  calls.run(5s, 100);
  calls.balancer.drain("1");
  calls.run(20s, 100);
  calls.balancer.undrain("1");
  calls.run(2s, 100);
  CHECK(calls.monitor.phase("1") == Phase::healthy);
  CHECK(calls.monitor.history("1").empty());
}

}  // namespace unit_health_slow_start
