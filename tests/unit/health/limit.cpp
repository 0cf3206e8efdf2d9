// SPDX-License-Identifier: MIT

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <poise/compose/shed.hpp>
#include <poise/health/limit.hpp>
#include <poise/health/monitor.hpp>
#include <poise/poise.hpp>

#include "support/catch.hpp"
#include "support/servers.hpp"

namespace unit_health_limit {

using namespace std::chrono_literals;
using poise::Priority;
using poise::Result;
using poise::Shed;
using poise::health::AdaptiveLimit;
using poise::health::FixedLimit;

namespace {

/// One server of ten workers and 10 ms a request, offered more than it can do, in virtual time.
template <class... Rules>
struct Overload {
  using Runtime = poise::Runtime<poise::VirtualClock, poise::MeasureLatency, Rules...>;
  poise::VirtualClock clock{};
  poise::Balancer<poise::RoundRobin, void, Runtime> balancer{
      tests::letters("a"), {}, Runtime{clock, 1, {}}};
  std::multimap<poise::Time, typename decltype(balancer)::Lease> ends{};
  std::vector<poise::Time> workers{10};
  std::uint64_t served = 0;
  std::uint64_t refused = 0;

  void run(poise::Duration time, double per_second) {
    auto const end = clock.now() + time;
    auto tick = clock.now();
    auto const gap = poise::Duration{static_cast<poise::Duration::rep>(1e9 / per_second)};
    for (auto now = clock.now(); now < end; now += gap) {
      while (!ends.empty() && ends.begin()->first <= now) {
        clock.set(ends.begin()->first);
        ends.begin()->second.finish();
        ends.erase(ends.begin());
        ++served;
      }
      clock.set(now);
      if (now >= tick) {
        balancer.tick();
        tick += 1s;
      }
      auto lease = balancer.pick();
      if (!lease) {
        ++refused;
        continue;
      }
      auto const free = std::min_element(workers.begin(), workers.end());
      *free = std::max(*free, now) + 10ms;
      ends.emplace(*free, std::move(lease));
    }
  }
  double latency_ms() {
    return std::chrono::duration<double, std::milli>(*balancer.stats().backends[0].latency).count();
  }
  std::uint32_t limit() { return balancer.stats().backends[0].admission.max_in_flight; }
};

}  // namespace

TEST_CASE("an adaptive limit keeps an overloaded server busy and its latency low") {
  Overload<AdaptiveLimit> overload;
  overload.run(20s, 800);  // 80 % of what it can do: it learns what it takes when nothing queues
  CHECK(overload.latency_ms() < 11);
  CHECK(overload.refused == 0);
  auto const before = overload.served;
  overload.run(60s, 1500);
  CHECK(overload.latency_ms() < 30);
  CHECK(overload.limit() >= 10);
  CHECK(overload.limit() <= 30);
  CHECK(overload.served - before > 57'000);  // 95 % of 1000 a second
}

TEST_CASE("without a limit an overloaded server's latency grows without bound") {
  Overload<> overload;
  overload.run(20s, 800);
  overload.run(60s, 1500);
  CHECK(overload.latency_ms() > 1000);
}

TEST_CASE("a server that says it is overloaded gets less at the next step") {
  Overload<AdaptiveLimit> overload;
  overload.balancer.tick();
  CHECK(overload.limit() == 20);
  overload.balancer.record("a", Result::overloaded);
  overload.clock.advance(1s);
  overload.balancer.tick();
  CHECK(overload.limit() == 18);
}

TEST_CASE("an adaptive limit that is never reached stays as it is") {
  Overload<AdaptiveLimit> overload;
  overload.run(60s, 100);
  CHECK(overload.limit() == 20);
}

TEST_CASE("limits, probation and the operator agree on the least") {
  using Runtime =
      poise::Runtime<poise::VirtualClock, poise::health::Standard, FixedLimit, AdaptiveLimit>;
  poise::VirtualClock const clock;
  poise::Balancer<poise::RoundRobin, void, Runtime> balancer{
      tests::letters("abc"),
      {},
      {.clock = clock,
       .seed = 1,
       .observers = {poise::health::Standard{{.ejection = {.jitter = 0}, .seed = 1}},
                     FixedLimit{10}, AdaptiveLimit{}}}};
  auto const limit = [&](char const* id) {
    return tests::stats_of(balancer, id).admission.max_in_flight;
  };
  balancer.set_admission("a", {.max_in_flight = 3});
  balancer.tick();
  CHECK(limit("a") == 3);
  CHECK(limit("b") == 10);
  for (int i = 0; i < 5; ++i) balancer.record("b", Result::error);
  clock.advance(30s);
  balancer.tick();
  CHECK(limit("b") == 1);  // probation
  tests::pick_of(balancer, "b").finish();
  CHECK(limit("b") == 10);
  balancer.set_admission("a", {.max_in_flight = 50});
  balancer.tick();
  CHECK(limit("a") == 10);
}

TEST_CASE("low priorities are shed first and high ones use the whole limit") {
  using Runtime = poise::Runtime<poise::VirtualClock>;
  poise::Balancer<Shed<poise::RoundRobin>, void, Runtime> balancer{
      tests::letters("ab"), {}, {.seed = 1}};
  for (auto const* id : {"a", "b"}) balancer.set_admission(id, {.max_in_flight = 10});
  std::vector<decltype(balancer)::Lease> leases;
  auto const fill = [&](Priority priority) {
    while (auto lease = balancer.pick({.priority = priority})) leases.push_back(std::move(lease));
    return leases.size();
  };
  CHECK(fill(Priority::low) == 10);
  CHECK(fill(Priority::normal) == 18);
  CHECK(fill(Priority::high) == 20);
  CHECK(balancer.pick({.priority = Priority::high}).error().refused == 2);
  CHECK(balancer.name() == "shed(round_robin)");
}

TEST_CASE("without a limit nothing is shed") {
  poise::Balancer<Shed<poise::RoundRobin>, void, poise::Runtime<poise::VirtualClock>> balancer{
      tests::letters("a"), {}, {.seed = 1}};
  std::vector<decltype(balancer)::Lease> leases;
  for (int i = 0; i < 1000; ++i) leases.push_back(balancer.pick({.priority = Priority::low}));
  CHECK(leases.back());
}

TEST_CASE("a part of zero leaves room for one request, and all of it without a limit") {
  poise::Balancer<Shed<poise::RoundRobin>, void, poise::Runtime<poise::VirtualClock>> balancer{
      tests::letters("a"), Shed<poise::RoundRobin>{{.normal = 0, .low = 0}}, {.seed = 1}};
  std::vector<decltype(balancer)::Lease> leases;
  auto const take = [&](Priority priority) {
    if (auto lease = balancer.pick({.priority = priority})) leases.push_back(std::move(lease));
    return leases.size();
  };
  CHECK(take(Priority::low) == 1);  // no limit
  CHECK(take(Priority::normal) == 2);
  leases.clear();
  balancer.set_admission("a", {.max_in_flight = 10});
  CHECK(take(Priority::low) == 1);
  CHECK(take(Priority::low) == 1);
  CHECK(take(Priority::normal) == 1);
  CHECK(take(Priority::high) == 2);
}

TEST_CASE("limits that make no sense are refused") {
  CHECK_THROWS_AS(AdaptiveLimit({.min = 0}), poise::ConfigError);
  CHECK_THROWS_AS(AdaptiveLimit({.initial = 2000}), poise::ConfigError);
  CHECK_THROWS_AS(AdaptiveLimit({.tolerance = 0.5}), poise::ConfigError);
  CHECK_THROWS_AS(AdaptiveLimit({.smoothing = 0}), poise::ConfigError);
  CHECK_THROWS_AS(AdaptiveLimit({.step = 0s}), poise::ConfigError);
  CHECK_THROWS_AS((Shed<poise::P2C>{{.normal = 0.2}}), poise::ConfigError);
  CHECK_THROWS_AS((Shed<poise::P2C>{{.normal = 1.2}}), poise::ConfigError);
}

}  // namespace unit_health_limit
