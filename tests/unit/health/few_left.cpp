// SPDX-License-Identifier: MIT
// A monitor does no harm where there is little choice.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/policies.hpp"
#include "support/sanitized.hpp"
#include "unit/health/calls.hpp"

namespace unit_health_few_left {

using namespace std::chrono_literals;
using namespace poise::health;
using tests::Behaviour;
using tests::Calls;

namespace {

Standard seeded(std::uint64_t seed = 7) { return Standard{{.seed = seed}}; }

std::string retrying(std::string_view policy) { return "retry(" + std::string{policy} + ")"; }

// Percent of the calls that fail in the second minute after `dead` of `n` servers turned so.
template <class Monitor, class... Made>
double failed_percent(std::string_view policy, std::size_t n, std::size_t dead, Behaviour how,
                      bool probes, Made... monitor) {
  Calls<Monitor> calls{tests::numbered(n), tests::policy(retrying(policy)), std::move(monitor)...};
  calls.probes = probes;
  calls.run(5s, 100);
  for (std::size_t i = 0; i < dead; ++i) calls.servers[i] = how;
  calls.run(60s, 100);
  calls.failed_percent();
  calls.run(60s, 100);
  if constexpr (sizeof...(Made) != 0) CHECK(calls.refused == 0);
  return calls.failed_percent();
}

}  // namespace

TEST_CASE("calls succeed while at least one server works") {
  struct Case {
    std::size_t n;
    std::size_t dead;
  };
  struct Kind {
    char const* name;
    Behaviour how;
  };
  std::vector<Case> cases{{3, 2}, {20, 19}};
  if (!tests::sanitized) cases.insert(cases.end(), {{3, 1}, {6, 4}});
  for (auto const policy : tests::policies_in_long_tests())
    for (auto const& kind : {Kind{"refuses", tests::refuses}, Kind{"fails", tests::fails},
                             Kind{"resets", tests::resets}, Kind{"hangs", tests::hangs}})
      for (auto const [n, dead] : cases) {
        auto const without = failed_percent<tests::NoMonitor>(policy, n, dead, kind.how, false);
        for (bool const probes : {false, true}) {
          auto const with = failed_percent<Standard>(policy, n, dead, kind.how, probes, seeded());
          auto const line = std::string{policy} + ' ' + kind.name + ' ' + std::to_string(dead) +
                            " of " + std::to_string(n) + (probes ? " probed: " : ": ") +
                            std::to_string(with) + " %, without monitor " + std::to_string(without);
          INFO(line);
          if (std::getenv("POISE_TABLE") != nullptr) std::cout << line << '\n';
          CHECK(with <= 1.0);
          CHECK(with <= without + 0.5);
        }
      }
}

TEST_CASE("a stall that all servers share convicts none of them") {
  for (auto const policy : tests::policies_in_long_tests()) {
    CAPTURE(policy);
    Calls<> calls{tests::numbered(3), tests::policy(retrying(policy)), seeded()};
    calls.run(5s, 600);
    for (auto& each : calls.servers) each = tests::hangs;
    calls.run(30ms, 600);
    for (auto& each : calls.servers) each = tests::well;
    calls.run(10s, 600);
    for (auto const* id : {"0", "1", "2"}) {
      INFO(id);
      for (auto const& each : calls.monitor.history(id)) CHECK(each.to != Phase::ejected);
    }
    calls.failed_percent();
    calls.servers[0] = tests::refuses;
    calls.run(5s, 600);
    calls.failed_percent();
    calls.run(60s, 600);
    CHECK(calls.failed_percent() <= 1);
  }
}

TEST_CASE("a backend that the cap protects is degraded no longer once it succeeds") {
  Calls<> calls{tests::numbered(3), tests::policy("round_robin"), seeded()};
  calls.run(2s, 100);
  for (int i = 0; i < 5; ++i) calls.balancer.record("0", poise::Result::error);
  for (int i = 0; i < 5; ++i) calls.balancer.record("1", poise::Result::error);
  calls.run(1s, 100);
  CHECK(calls.monitor.phase("1") == Phase::degraded);
  calls.run(20s, 100);
  CHECK(calls.monitor.phase("1") == Phase::healthy);
}

TEST_CASE("a cap that binds does not flush the history") {
  Calls<> calls{tests::numbered(2), tests::policy("round_robin"), seeded()};
  calls.run(2s, 100);
  for (auto& each : calls.servers) each = tests::fails;
  calls.run(100s, 100);
  for (auto const* id : {"0", "1"}) CHECK(calls.monitor.history(id).size() <= 12);
}

TEST_CASE("out of an open panic nothing is refused") {
  for (auto const policy : tests::policies_in_long_tests()) {
    CAPTURE(policy);
    Calls<> calls{tests::numbered(4), tests::policy(policy), seeded()};
    for (auto& each : calls.servers) each.after = 2s;
    calls.run(5s, 100);
    for (auto const* id : {"0", "1", "2", "3"}) calls.monitor.report(id, Signal::down, "probe");
    calls.run(5s, 100);
    CHECK(calls.monitor.panicking());
    for (auto const* id : {"0", "1", "2", "3"}) calls.monitor.report(id, Signal::up, "probe");
    calls.run(10s, 100);
    CHECK_FALSE(calls.monitor.panicking());
    CHECK(calls.refused == 0);
  }
}

/// Servers from 0 on: the first `primaries` are tier 0, the others tier 1.
std::vector<poise::Endpoint> tiers(std::size_t primaries, std::size_t standbys) {
  auto endpoints = tests::numbered(primaries + standbys);
  for (std::size_t i = primaries; i < endpoints.size(); ++i) endpoints[i].tier = 1;
  return endpoints;
}

TEST_CASE("a small standby takes over from a large tier that is down") {
  for (bool const probes : {true, false}) {
    CAPTURE(probes);
    Calls<> calls{tiers(3, 1), tests::policy("retry(failover(p2c))"), seeded()};
    calls.probes = probes;
    calls.run(5s, 100);
    for (std::size_t i = 0; i != 3; ++i) calls.servers[i] = tests::fails;
    calls.run(20s, 100);
    calls.failed_percent();
    calls.run(60s, 100);
    CHECK(calls.failed_percent() < 1);
    CHECK(calls.refused == 0);
    CHECK_FALSE(calls.monitor.panicking());
    for (std::size_t i = 0; i != 3; ++i) calls.servers[i] = tests::well;
    calls.run(120s, 100);
    calls.attempts();
    calls.run(60s, 100);
    CHECK(calls.attempts()[3] < 60);  // the primaries have their traffic again
  }
}

TEST_CASE("in a panic a tier without a usable backend stays closed while another has one") {
  Calls<> calls{tiers(3, 2), tests::policy("failover(p2c)"), seeded()};
  calls.run(5s, 100);
  for (auto const* id : {"0", "1", "2", "3"}) calls.monitor.report(id, Signal::down, "probe");
  for (std::size_t i = 0; i != 4; ++i) calls.servers[i] = tests::fails;
  calls.run(2s, 100);
  CHECK(calls.monitor.panicking());
  calls.attempts();
  calls.run(20s, 100);
  auto const attempts = calls.attempts();
  CHECK(attempts[0] + attempts[1] + attempts[2] < 40);
  CHECK(attempts[4] > 800);
  calls.monitor.report("4", Signal::down, "probe");
  calls.run(2s, 100);
  calls.attempts();
  calls.run(10s, 100);
  CHECK(calls.attempts()[0] > 100);  // no tier has one: the first is opened
}

}  // namespace unit_health_few_left
