// SPDX-License-Identifier: MIT
// What users of other balancers reported as faults of theirs, tried here: each report is named by
// its project and number.

#include <chrono>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include <poise/health/monitor.hpp>
#include <poise/poise.hpp>

#include "property/counter.hpp"
#include "property/schedule.hpp"
#include "property/world.hpp"
#include "support/catch.hpp"
#include "support/policies.hpp"

namespace property_reported {

using namespace std::chrono_literals;
using poise::health::Phase;
using tests::Condition;

namespace {

/// A monitored pool and what its calls get.
struct Pool {
  Pool(std::size_t count, std::string const& policy, tests::WorldOptions const& options = {},
       bool mixed = false)
      : world{tests::endpoints_of(count, mixed), tests::policy(policy), options,
              poise::health::Standard{{.seed = 1}}} {
    world.watch(&counter);
  }

  void set(std::vector<std::string> const& ids, Condition condition) {
    for (auto const& id : ids) world.set(id, condition);
  }
  /// From now on, for so long.
  void count(poise::Duration time) {
    counter.restart();
    world.run(time);
  }
  [[nodiscard]] std::size_t ejections(std::string const& id) const {
    std::size_t number = 0;
    for (auto const& each : world.monitor.history(id))
      number += each.to == Phase::ejected ? 1U : 0U;
    return number;
  }

  tests::World<poise::AnyPolicy, poise::health::Standard> world;
  tests::Counter counter{};
};

tests::WorldOptions probed() {
  tests::WorldOptions options{.rate = 100};
  options.probes.emplace();
  return options;
}

}  // namespace

TEST_CASE("a probe that fails does not end an ejection (Envoy 32442)") {
  Pool pool{3, "retry(p2c)", probed()};
  pool.world.run(20s);
  pool.set({"c"}, Condition::failing);
  pool.world.run(2s);
  REQUIRE(pool.ejections("c") == 1);
  pool.count(25s);
  CHECK(pool.counter.asked["c"] == 0);
}

TEST_CASE("a host that is down for long is ejected again and again (Envoy 18950)") {
  for (auto const condition : {Condition::failing, Condition::gone, Condition::refusing}) {
    Pool pool{4, "retry(round_robin)", {.rate = 50}};
    pool.world.run(10s);
    pool.set({"c"}, condition);
    pool.world.run(1200s);
    pool.count(600s);
    INFO(name(condition));
    CHECK(pool.counter.fraction("c") <= 0.005);
    CHECK(pool.counter.failed_fraction() <= 0.001);
    CHECK(pool.counter.refusals == 0);
  }
}

TEST_CASE(
    "a new host gets requests while it warms up and its share after (Envoy 19437 and 19526)") {
  for (auto const* policy : {"round_robin", "smooth_weighted", "least_connections", "p2c"}) {
    Pool pool{3, policy, {.rate = 200}};
    pool.world.run(10s);
    pool.world.balancer.add(tests::endpoint_of("d", false));
    pool.world.run(10s);
    pool.count(10s);
    INFO(policy);
    CHECK(pool.counter.fraction("d") >= 0.05);
    CHECK(pool.counter.fraction("d") <= 0.25);
    pool.world.run(15s);
    pool.count(20s);
    CHECK(pool.counter.fraction("d") >= 0.2);
  }
}

TEST_CASE("a further new host brings no surge to one that warms up (Envoy 26290)") {
  for (auto const* policy : {"round_robin", "least_connections", "p2c"}) {
    Pool pool{2, policy, {.rate = 500}};
    pool.world.run(10s);
    pool.world.balancer.add(tests::endpoint_of("c", false));
    pool.world.run(10s);
    pool.world.balancer.add(tests::endpoint_of("d", false));
    INFO(policy);
    for (int span = 0; span < 15; ++span) {
      pool.count(3s);
      CHECK(pool.counter.fraction("c") <= 1.4 / 3);
    }
  }
}

TEST_CASE("a rolling restart costs no call (Hyperbahn 194)") {
  for (auto const* policy : {"retry(p2c)", "retry(round_robin)", "retry(adaptive)"}) {
    Pool pool{4, policy, {.rate = 100}};
    pool.world.run(10s);
    pool.counter.restart();
    for (auto const* id : {"a", "b", "c", "d"}) {
      pool.set({id}, Condition::refusing);
      pool.world.run(4s);
      pool.set({id}, Condition::well);
      pool.world.run(15s);
    }
    INFO(policy);
    CHECK(pool.counter.failed_fraction() <= 0.001);
    CHECK(pool.counter.refusals == 0);
    pool.world.run(30s);
    pool.count(20s);
    for (auto const* id : {"a", "b", "c", "d"}) CHECK(pool.counter.fraction(id) >= 0.2);
  }
}

TEST_CASE("a pool that fails as a whole is asked all the same and is back at once (Istio 20135)") {
  for (auto const condition : {Condition::failing, Condition::refusing, Condition::gone}) {
    Pool pool{4, "retry(p2c)", probed()};
    pool.world.run(10s);
    pool.counter.restart();
    pool.set({"a", "b", "c", "d"}, condition);
    pool.world.run(60s);
    INFO(name(condition));
    CHECK(pool.counter.refusals == 0);
    pool.set({"a", "b", "c", "d"}, Condition::well);
    pool.world.run(1s);
    pool.count(10s);
    CHECK(pool.counter.failed_fraction() <= 0.001);
    CHECK(pool.counter.refusals == 0);
  }
}

TEST_CASE("a backup gets nothing once the others are up again (HAProxy 2729)") {
  Pool pool{4, "retry(failover(p2c))", probed(), true};  // "d" is the backup
  pool.world.run(10s);
  pool.set({"a", "b", "c"}, Condition::refusing);
  pool.world.run(40s);
  pool.set({"a", "b", "c"}, Condition::well);
  pool.world.run(60s);
  pool.count(30s);
  CHECK(pool.counter.asked["d"] == 0);
}

TEST_CASE("each server that failed a call is blamed, not only the last one (HAProxy 2679)") {
  Pool pool{4, "retry(round_robin)", {.rate = 10}};
  pool.world.run(10s);
  pool.set({"c", "d"}, Condition::failing);
  pool.world.run(20s);
  CHECK(pool.ejections("c") >= 1);
  CHECK(pool.ejections("d") >= 1);
  pool.count(10s);
  CHECK(pool.counter.failed_fraction() == 0);
}

TEST_CASE("a deployment of new servers that are slow to start ends well (Linkerd 1114)") {
  Pool pool{3, "retry(p2c)", {.rate = 100}};
  pool.world.run(10s);
  pool.counter.restart();
  auto& balancer = pool.world.balancer;
  for (auto const& [before, after] :
       {std::pair{"a", "e"}, std::pair{"b", "f"}, std::pair{"c", "g"}}) {
    pool.set({after}, Condition::refusing);
    balancer.add(tests::endpoint_of(after, false));
    pool.world.run(10s);
    balancer.remove(before);
    pool.world.run(10s);
    pool.set({after}, Condition::well);
    pool.world.run(10s);
  }
  CHECK(pool.counter.failed_fraction() <= 0.001);
  CHECK(pool.counter.refusals == 0);
  pool.world.run(40s);
  pool.count(20s);
  for (auto const* id : {"e", "f", "g"}) CHECK(pool.counter.fraction(id) >= 0.25);
}

TEST_CASE("a server that flaps for minutes is back within its last sentence (HAProxy 1234)") {
  Pool pool{3, "retry(p2c)", probed()};
  pool.world.run(10s);
  pool.counter.restart();
  for (int cycle = 0; cycle < 30; ++cycle) {
    pool.set({"c"}, Condition::refusing);
    pool.world.run(3s);
    pool.set({"c"}, Condition::well);
    pool.world.run(7s);
  }
  CHECK(pool.counter.failed_fraction() <= 0.005);
  pool.world.run(15s);
  pool.count(60s);
  CHECK(pool.counter.fraction("c") >= 0.2);
}

TEST_CASE("a pool that was empty for a while serves as soon as it has servers (Linkerd2 11493)") {
  Pool pool{3, "retry(adaptive)", {.rate = 100}};
  pool.world.run(10s);
  pool.world.balancer.clear();
  pool.world.run(30s);
  pool.world.balancer.update(tests::endpoints_of(3, false));
  pool.count(10s);
  CHECK(pool.counter.failed_fraction() == 0);
  CHECK(pool.counter.refusals == 0);
}

}  // namespace property_reported
