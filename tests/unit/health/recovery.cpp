// SPDX-License-Identifier: MIT
// What is well comes back, and in time.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <limits>
#include <string>
#include <vector>

#include <poise/compose/shed.hpp>

#include "support/catch.hpp"
#include "support/policies.hpp"
#include "unit/health/calls.hpp"

namespace unit_health_recovery {

using namespace std::chrono_literals;
using namespace poise::health;
using poise::Result;
using tests::Calls;

namespace {

Standard seeded(MonitorOptions options = {}) {
  options.seed = 7;
  return Standard{options};
}

template <class C>
void fail(C& calls, std::string const& id, int times, Result how = Result::error) {
  for (int i = 0; i < times; ++i) calls.balancer.record(id, how);
}

template <class Test>
void with_each(Test const& test) {
  for (auto const name : tests::policies_in_long_tests()) {
    CAPTURE(name);
    test(tests::policy(name));
  }
}

}  // namespace

TEST_CASE("a backend that is replaced while it is ejected starts as one that joins") {
  with_each([](poise::AnyPolicy const& policy) {
    for (int what = 0; what < 4; ++what) {
      CAPTURE(what);
      Calls<> calls{tests::numbered(3), policy, seeded()};
      calls.run(2s, 100);
      fail(calls, "0", 5);
      calls.monitor.report("0", Signal::down, "probe of the old one");
      CHECK(calls.monitor.phase("0") == Phase::ejected);
      auto endpoints = tests::numbered(3);
      if (what == 0) endpoints[0].address = "elsewhere";
      if (what == 1) endpoints[0].zone = "b";
      if (what == 2) endpoints[0].labels = {{"version", "2"}};
      if (what == 3) endpoints[0].tier = 1;
      calls.balancer.set_health("1", poise::HealthState::degraded);
      if (what == 0) endpoints[1].address = "elsewhere, too";
      calls.balancer.update(endpoints);
      calls.run(2s, 100);
      CHECK(calls.monitor.phase("0") == Phase::slow_start);
      CHECK(tests::stats_of(calls.balancer, "1").health == poise::HealthState::degraded);
      calls.attempts();
      calls.run(40s, 100);
      CHECK(calls.monitor.phase("0") == Phase::healthy);
      CHECK(calls.attempts()[0] >= 300);
    }
  });
}

TEST_CASE("a trial is counted beside what was in flight before") {
  with_each([](poise::AnyPolicy const& policy) {
    Calls<> calls{tests::numbered(3), policy, seeded()};
    calls.run(2s, 100);
    auto const stream = tests::pick_of(calls.balancer, "0");
    REQUIRE(stream);
    fail(calls, "0", 5);
    calls.run(45s, 100);
    CHECK((calls.monitor.phase("0") == Phase::slow_start ||
           calls.monitor.phase("0") == Phase::healthy));
  });
}

TEST_CASE("a trial that hangs lets another one in") {
  with_each([](poise::AnyPolicy const& policy) {
    Calls<> calls{tests::numbered(3), policy, seeded()};
    calls.run(2s, 100);
    fail(calls, "0", 5);
    calls.servers[0].after = 1h;
    for (int i = 0; i < 50 && calls.monitor.phase("0") != Phase::probation; ++i) calls.run(1s, 100);
    calls.run(1s, 100);
    CHECK(tests::stats_of(calls.balancer, "0").in_flight == 1);
    calls.servers[0].after = 10ms;
    calls.run(13s, 100);
    CHECK(calls.monitor.phase("0") == Phase::slow_start);
  });
}

TEST_CASE("a server that restarts is asked within ten seconds after its return") {
  with_each([](poise::AnyPolicy const& policy) {
    for (auto const down : {1s, 5s, 7s, 12s, 20s, 33s, 47s, 60s}) {
      CAPTURE(down.count());
      Calls<> calls{tests::numbered(3), policy, seeded()};
      calls.run(2s, 100);
      calls.servers[1] = tests::refuses;
      calls.run(down, 100);
      calls.servers[1] = tests::well;
      calls.attempts();
      calls.run(10s, 100);
      CHECK(calls.attempts()[1] > 0);
    }
  });
}

TEST_CASE("a probe that passes does not end the time of an ejection that requests began") {
  Calls<> calls{tests::numbered(3), tests::policy("round_robin"),
                seeded({.ejection = {.jitter = 0}})};
  calls.run(2s, 100);
  fail(calls, "0", 5);
  calls.run(5s, 100);
  calls.monitor.report("0", Signal::down, "probe");
  calls.run(2s, 100);
  calls.monitor.report("0", Signal::up, "probe");
  calls.run(20s, 100);
  CHECK(calls.monitor.phase("0") == Phase::ejected);
  calls.run(5s, 100);
  CHECK(calls.monitor.phase("0") != Phase::ejected);
  // Beyond its time probes hold it, and release it at once.
  fail(calls, "1", 5);
  calls.monitor.report("1", Signal::down, "probe");
  calls.run(40s, 100);
  CHECK(calls.monitor.phase("1") == Phase::ejected);
  calls.monitor.report("1", Signal::up, "probe");
  calls.run(2s, 100);
  CHECK(calls.monitor.phase("1") != Phase::ejected);
}

TEST_CASE("a trial has room beside what Shed keeps free, for every priority") {
  using Balancer = poise::Balancer<poise::Shed<poise::RoundRobin>, void,
                                   poise::Runtime<poise::VirtualClock, Standard>>;
  poise::VirtualClock clock;
  Balancer balancer{
      tests::letters("ab"),
      {},
      {.clock = clock, .seed = 1, .observers = {seeded({.ejection = {.jitter = 0}})}}};
  balancer.tick();
  std::vector<Balancer::Lease> old;
  for (int i = 0; i < 9; ++i) old.push_back(tests::pick_of(balancer, "a"));
  for (auto const priority :
       {poise::Priority::low, poise::Priority::normal, poise::Priority::high}) {
    for (int i = 0; i < 5; ++i) balancer.record("a", Result::error);
    clock.advance(10min);
    balancer.tick();
    bool asked = false;
    for (int i = 0; i < 4; ++i) {
      auto lease = balancer.pick({.priority = priority});
      asked = asked || lease->id() == "a";
      lease.finish();
    }
    CHECK(asked);
    clock.advance(10min);
    balancer.tick();
  }
  for (auto const* id : {"a", "b"}) balancer.set_admission(id, {.max_in_flight = 1});
  old.clear();
  CHECK(balancer.pick({.priority = poise::Priority::low}));
}

TEST_CASE("every duration of a monitor may be the longest there is") {
  constexpr auto forever = poise::Duration::max();
  MonitorOptions const all[] = {{.interval = forever},
                                {.ejection = {.max = forever}},
                                {.ejection = {.base = forever, .max = forever}},
                                {.ejection = {.unreachable = forever, .max = forever, .jitter = 1}},
                                {.ejection = {.max_trial = forever}},
                                {.slow_start = {.window = forever}},
                                {.probe_silence = forever}};
  for (std::size_t i = 0; i < std::size(all); ++i) {
    CAPTURE(i);
    Calls<> calls{tests::numbered(3), tests::policy("round_robin"), seeded(all[i])};
    calls.run(2s, 100);
    fail(calls, "0", 5);
    fail(calls, "1", 1, Result::refused);
    calls.monitor.report("2", Signal::down, "probe");
    calls.balancer.add({.id = "3"});
    calls.servers.resize(4);
    calls.run(1s, 100);
    CHECK(calls.monitor.phase("0") == Phase::ejected);
    calls.run(100s, 100);
    auto const phase = calls.monitor.phase("0");
    if (i == 2) CHECK(phase == Phase::ejected);
    else CHECK(phase != Phase::ejected);
    if (i == 5) CHECK(phase == Phase::slow_start);
    if (i == 5) CHECK(calls.monitor.phase("3") == Phase::slow_start);
  }
}

TEST_CASE("a monitor without ticks says so once, and still ends ejections") {
  std::vector<std::string> log;
  MonitorOptions options;
  options.log = [&](Transition const& each) { log.push_back(message(each)); };
  Calls<> calls{tests::numbered(3), tests::policy("round_robin"), seeded(options)};
  calls.ticks = false;
  calls.run(5s, 100);
  fail(calls, "0", 5);
  CHECK_FALSE(calls.balancer.stats().ticks_missing);
  calls.run(60s, 100);
  CHECK(calls.balancer.stats().ticks_missing);
  CHECK(calls.balancer.stats().warnings.at(0).find("poise::Ticker") != std::string::npos);
  auto const told = std::ranges::count_if(
      log, [](auto const& line) { return line.find("ticks are missing") == 0; });
  CHECK(told == 1);
  CHECK((calls.monitor.phase("0") == Phase::slow_start ||
         calls.monitor.phase("0") == Phase::healthy));
  calls.balancer.tick();
  CHECK_FALSE(calls.balancer.stats().ticks_missing);
}

TEST_CASE("failures are counted in a row by the kind that the limit names") {
  auto const outcome = [](std::string const& results) {
    using Only = Monitor<Consecutive>;
    poise::Balancer<poise::AnyPolicy, void, poise::Runtime<poise::VirtualClock, Only>> balancer{
        tests::numbered(3),
        tests::policy("round_robin"),
        {.clock = {},
         .seed = 1,
         .observers = {Only{{.seed = 1}, Consecutive{.failures = 5, .unreachable = 3}}}}};
    balancer.tick();
    for (char const each : results)
      balancer.record("0", each == 'E'   ? Result::error
                           : each == 'R' ? Result::refused
                                         : Result::success);
    auto const history = balancer.observer<Only>().history("0");
    return history.empty() ? std::string{}
                           : message(history.back()).substr(0, 24) +
                                 (history.back().lasts > 20s ? " base" : " unreachable") + " " +
                                 std::to_string(static_cast<int>(history.back().value));
  };
  CHECK(outcome("EEEER") == "0: healthy -> ejected fo base 5");
  CHECK(outcome("RREER") == "0: healthy -> ejected fo base 5");
  CHECK(outcome("EER") == "");
  CHECK(outcome("RRR") == "0: healthy -> ejected fo unreachable 3");
  CHECK(outcome("RRSR") == "");
  CHECK(outcome("RRER") == "");
  CHECK(outcome("EEEE") == "");
}

}  // namespace unit_health_recovery
