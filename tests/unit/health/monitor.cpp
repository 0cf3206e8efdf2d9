// SPDX-License-Identifier: MIT

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include <poise/poise.hpp>

#include "support/catch.hpp"
#include "support/policies.hpp"
#include "support/servers.hpp"
#include "unit/health/fleet.hpp"

namespace unit_health_monitor {

using namespace std::chrono_literals;
using namespace poise::health;
using poise::HealthState;
using poise::Result;
using tests::Fleet;
using tests::stats_of;

namespace {

using Plain = poise::RoundRobin;

/// A backend fails so often in a row.
template <class Balancer>
void fail(Balancer& balancer, std::string const& id, int times, Result how = Result::error) {
  for (int i = 0; i < times; ++i) balancer.record(id, how);
}

template <class Monitor>
std::string last(Monitor const& monitor, std::string const& id) {
  auto const history = monitor.history(id);
  return history.empty() ? "nothing" : message(history.back());
}

using AnyFleet = Fleet<poise::AnyPolicy>;

/// Runs a test with each policy.
template <class Test>
void with_each(Test const& test) {
  for (auto const name : tests::policies_in_long_tests()) {
    CAPTURE(name);
    test(tests::policy(name));
  }
}

}  // namespace

// -- under every policy
// ------------------------------------------------------------------------------

TEST_CASE("a backend that fails fast gets almost nothing, under every policy") {
  with_each([](poise::AnyPolicy const& policy) {
    AnyFleet fleet{20, AnyFleet::seeded(), policy};
    fleet.run(2s, 2000);
    fleet.nodes[3] = {.service = 100us, .result = Result::error};
    auto const began = fleet.clock.now();
    fleet.run(60s, 2000);
    CHECK(fleet.worst_second(3, began) <= 2 * 2000 / 20);
    auto const picks = fleet.since(began);
    // 5 until it is found, then one on probation after 30 s; 0.1 % would be 120.
    CHECK(picks[3] <= 10);
    CHECK(fleet.phase("3") == Phase::ejected);
    CHECK(fleet.refused == 0);
    for (std::size_t i = 0; i < 20; ++i)
      if (i != 3) CHECK(fleet.phase(std::to_string(i)) == Phase::healthy);
  });
}

TEST_CASE("of two backends the failing one is isolated and the other never is") {
  with_each([](poise::AnyPolicy const& policy) {
    AnyFleet fleet{2, AnyFleet::seeded(), policy};
    fleet.nodes[0].result = Result::error;
    fleet.run(100s, 500);
    CHECK(fleet.health("0") == HealthState::unhealthy);
    CHECK(fleet.monitor.history("1").empty());
    CHECK(fleet.since(fleet.clock.now() - 20s)[0] <= 1);
    fleet.nodes[0].result = Result::success;
    fleet.run(200s, 500);
    CHECK(fleet.phase("0") == Phase::healthy);
    auto const after = fleet.since(fleet.clock.now() - 20s);
    CHECK(after[0] * 10 > after[1] * 5);  // latency-aware ones may keep a favourite among equals
  });
}

TEST_CASE("a backend that comes back warms up, whatever the policy") {
  with_each([](poise::AnyPolicy const& policy) {
    // Its share must stay near the ramp's: at most 1.5 times it, once steering has settled.
    AnyFleet fleet{10, AnyFleet::seeded(), policy};
    fleet.nodes[0].result = Result::error;
    fleet.run(20s, 2000);
    fleet.nodes[0].result = Result::success;
    while (fleet.phase("0") != Phase::slow_start) fleet.run(1s, 2000);
    auto const due = 2000.0 / 10;
    for (int second = 0; second < 29; ++second) {
      auto const began = fleet.clock.now();
      fleet.run(1s, 2000);
      auto const got = static_cast<double>(fleet.since(began)[0]);
      INFO("second " << second << " got " << got);
      CHECK(got <= std::max(1.5 * due * (second + 2) / 30, 0.25 * due));
      if (second > 8) CHECK(got >= 0.5 * due * second / 30);
    }
    fleet.run(5s, 2000);
    CHECK(fleet.phase("0") == Phase::healthy);
    CHECK(stats_of(fleet.balancer, "0").admission == poise::Admission{});
  });
}

// -- criteria
// ----------------------------------------------------------------------------------------

TEST_CASE("five failures in a row eject at once, four do not") {
  Fleet<Plain> fleet{3};
  fail(fleet.balancer, "1", 4);
  fleet.balancer.record("1", Result::success);
  fail(fleet.balancer, "1", 4);
  CHECK(fleet.health("1") == HealthState::healthy);
  fail(fleet.balancer, "1", 1);
  CHECK(fleet.health("1") == HealthState::unhealthy);  // no tick was needed
  CHECK(last(fleet.monitor, "1").find("healthy -> ejected for 3") != std::string::npos);
  CHECK(last(fleet.monitor, "1").find("consecutive failures 5.00, limit 5.00") !=
        std::string::npos);
}

TEST_CASE("the numbers of a monitor change while it runs, and what it knows stays") {
  Fleet<Plain> fleet{3};
  auto const set = [&](poise::Duration base, std::uint32_t failures) {
    fleet.monitor.set({.ejection = {.base = base, .jitter = 0}}, {.failures = failures}, {}, {}, {},
                      {});
    fleet.balancer.tick();
  };
  auto const pass = [&](poise::Duration time) {
    fleet.clock.advance(time);
    fleet.balancer.tick();
  };
  fail(fleet.balancer, "1", 3);
  set(60s, 4);
  CHECK(fleet.health("1") == HealthState::healthy);
  fail(fleet.balancer, "1", 1);
  CHECK(fleet.health("1") == HealthState::unhealthy);
  CHECK(fleet.monitor.history("1").back().lasts == 60s);
  set(5s, 9);
  pass(59s);
  CHECK(fleet.phase("1") == Phase::ejected);  // an ejection keeps its end
  pass(2s);
  CHECK(fleet.phase("1") == Phase::probation);
  CHECK_THROWS_AS(set(-1s, 4), poise::ConfigError);
}

TEST_CASE("one refused connection ejects, for a shorter time") {
  Fleet<Plain> fleet{3};
  fail(fleet.balancer, "1", 1, Result::refused);
  CHECK(fleet.health("1") == HealthState::unhealthy);
  auto const history = fleet.monitor.history("1");
  REQUIRE(history.size() == 1);
  CHECK(*history[0].lasts >= 5s);
  CHECK(*history[0].lasts <= 5500ms);
  CHECK(history[0].results[static_cast<std::size_t>(Result::refused)] == 1);
}

TEST_CASE("outcomes that are not the backend's fault do not count") {
  Fleet<Plain> fleet{3};
  for (auto const result : {Result::rejected, Result::cancelled, Result::abandoned})
    fail(fleet.balancer, "1", 50, result);
  fleet.clock.advance(10s);
  fleet.balancer.tick();
  CHECK(fleet.monitor.history("1").empty());
}

TEST_CASE("Envoy's example of success rates ejects the one at 50 percent") {
  // {50, 100, 100, 100, 100}: mean 90, population deviation 20, limit 90 - 1.9 * 20 = 52.
  using Only = Monitor<SuccessRate>;
  Fleet<Plain, Only> fleet{5};
  for (int i = 0; i < 100; ++i)
    for (auto const* id : {"0", "1", "2", "3", "4"})
      fleet.balancer.record(id, *id == '0' && i % 2 == 0 ? Result::error : Result::success);
  fleet.clock.advance(10s);
  fleet.balancer.tick();
  auto const history = fleet.monitor.history("0");
  REQUIRE(history.size() == 1);
  CHECK(history[0].to == Phase::ejected);
  CHECK(history[0].value == Approx(0.50));
  CHECK(history[0].limit == Approx(0.52));
  for (auto const* id : {"1", "2", "3", "4"}) CHECK(fleet.monitor.history(id).empty());
}

TEST_CASE("success rates of four backends are too few to compare, and are not judged") {
  using Only = Monitor<SuccessRate>;
  Fleet<Plain, Only> fleet{4};
  for (int i = 0; i < 100; ++i)
    for (auto const* id : {"0", "1", "2", "3"})
      fleet.balancer.record(id, *id == '0' ? Result::error : Result::success);
  fleet.clock.advance(10s);
  fleet.balancer.tick();
  CHECK(fleet.monitor.history("0").empty());
}

TEST_CASE("a healthy pool ejects no backend for being last") {
  using Only = Monitor<SuccessRate>;
  Fleet<Plain, Only> fleet{100};
  for (auto& node : fleet.nodes) node.failing = 0.01;
  fleet.run(60s, 3000);
  for (std::size_t i = 0; i < 100; ++i) CHECK(fleet.monitor.history(std::to_string(i)).empty());
}

TEST_CASE("nine failures in ten eject at the interval's end though none came in a row of five") {
  Fleet<Plain, Monitor<FailureRate>> fleet{2};
  for (int i = 0; i < 40; ++i) {
    fleet.balancer.record("0", i % 10 == 0 ? Result::success : Result::error);
    fleet.balancer.record("1", Result::success);
  }
  CHECK(fleet.health("0") == HealthState::healthy);
  fleet.clock.advance(10s);
  fleet.balancer.tick();
  CHECK(fleet.health("0") == HealthState::unhealthy);
  CHECK(last(fleet.monitor, "0").find("failure rate 0.90, limit 0.85") != std::string::npos);
}

TEST_CASE("few requests are no reason to eject") {
  Fleet<Plain, Monitor<FailureRate>> fleet{2};
  fail(fleet.balancer, "0", 19);
  fleet.clock.advance(10s);
  fleet.balancer.tick();
  CHECK(fleet.monitor.history("0").empty());
}

TEST_CASE("failures of an interval gone by are not counted again") {
  Fleet<Plain, Monitor<FailureRate>> fleet{2};
  fail(fleet.balancer, "0", 15);
  fleet.clock.advance(10s);
  fleet.balancer.tick();
  fail(fleet.balancer, "0", 15);
  fleet.clock.advance(10s);
  fleet.balancer.tick();
  CHECK(fleet.monitor.history("0").empty());
}

TEST_CASE("a backend ten times as slow as the other is noted after two intervals") {
  Fleet<Plain> fleet{2};
  fleet.nodes[1].service = 100ms;
  fleet.run(15s, 200);
  CHECK(fleet.monitor.history("1").empty());
  fleet.run(15s, 200);
  auto const history = fleet.monitor.history("1");
  REQUIRE(!history.empty());
  CHECK(history[0].to == Phase::suspect);
  CHECK(history[0].note == Transition::Note::watched);
  CHECK(history[0].value == Approx(100).epsilon(0.1));  // ms
  CHECK(history[0].limit == Approx(30).epsilon(0.1));
  CHECK(fleet.monitor.history("0").empty());
}

TEST_CASE("a latency criterion that is enforced ejects or degrades") {
  for (bool const degrade : {false, true}) {
    using Only = Monitor<Latency>;
    Fleet<Plain, Only> fleet{
        5, Only{{.seed = 1}, Latency{.enforcement = {.probability = 1, .degrade = degrade}}}};
    fleet.nodes[1].service = 100ms;
    fleet.run(25s, 500);
    CHECK(fleet.health("1") == (degrade ? HealthState::degraded : HealthState::unhealthy));
  }
}

TEST_CASE("one request in ten that takes a hundred times as long does not make a backend slow") {
  Fleet<Plain> fleet{3};
  for (int second = 0; second < 30; ++second) {
    for (int i = 0; i < 100; ++i)
      for (auto const* id : {"0", "1", "2"})
        fleet.balancer.record(id, Result::success, *id == '1' && i % 10 == 0 ? 1000ms : 10ms);
    fleet.clock.advance(1s);
    fleet.balancer.tick();
  }
  CHECK(fleet.monitor.history("1").empty());
}

TEST_CASE("an enforcement of one half ejects about every other time") {
  // 400 backends, one chance each: 200 expected, deviation 10; the cap is out of the way.
  using Only = Monitor<Consecutive>;
  MonitorOptions const options{.ejection = {.max_ejected = 1}, .seed = 3};
  Fleet<Plain, Only> fleet{400, Only{options, Consecutive{.enforcement = {.probability = 0.5}}}};
  for (int i = 0; i < 400; ++i) fail(fleet.balancer, std::to_string(i), 5);
  int ejected = 0;
  int suspect = 0;
  for (int i = 0; i < 400; ++i) {
    ejected += fleet.phase(std::to_string(i)) == Phase::ejected ? 1 : 0;
    suspect += fleet.phase(std::to_string(i)) == Phase::suspect ? 1 : 0;
  }
  CHECK(ejected + suspect == 400);
  CHECK(std::abs(ejected - 200) < 50);
}

namespace {

/// A criterion of one's own.
struct Resets {
  static constexpr std::string_view name = "resets";
  Enforcement enforcement{};
  void on_interval(std::span<Subject<>> pool) const {
    for (auto& each : pool)
      if (auto const n = each.tally.ended(Result::reset); n > 3)
        each.finding = Finding{static_cast<double>(n), 3};
  }
};

}  // namespace

TEST_CASE("a criterion of one's own is one small struct") {
  Fleet<Plain, Monitor<Resets>> fleet{2};
  fail(fleet.balancer, "0", 4, Result::reset);
  fail(fleet.balancer, "1", 40, Result::error);
  fleet.clock.advance(10s);
  fleet.balancer.tick();
  CHECK(fleet.health("0") == HealthState::unhealthy);
  CHECK(fleet.health("1") == HealthState::healthy);
  CHECK(last(fleet.monitor, "0").find("resets 4.00, limit 3.00") != std::string::npos);
}

// -- the cap
// -----------------------------------------------------------------------------------------

TEST_CASE("no more than the cap are ejected and the rest is degraded") {
  Fleet<Plain> fleet{10, Standard{{.ejection = {.max_ejected = 0.3}, .seed = 1}}};
  for (int i = 0; i < 10; ++i) fail(fleet.balancer, std::to_string(i), 5);
  fleet.balancer.tick();
  int out = 0;
  int degraded = 0;
  for (auto const& each : fleet.balancer.stats().backends) {
    out += each.health == HealthState::unhealthy ? 1 : 0;
    degraded += each.health == HealthState::degraded ? 1 : 0;
  }
  CHECK(out == 3);
  CHECK(degraded == 7);
  CHECK(last(fleet.monitor, "9").find("(held back by the cap)") != std::string::npos);
  CHECK(fleet.balancer.pick());
}

TEST_CASE("one may always go, however small the cap") {
  Fleet<Plain> fleet{3, Standard{{.ejection = {.max_ejected = 0}, .seed = 1}}};
  fail(fleet.balancer, "0", 5);
  fail(fleet.balancer, "1", 5);
  CHECK(fleet.health("0") == HealthState::unhealthy);
  fleet.balancer.tick();
  CHECK(fleet.health("1") == HealthState::degraded);
}

TEST_CASE("the only backend is never ejected") {
  Fleet<Plain> fleet{1};
  fail(fleet.balancer, "0", 50);
  fleet.balancer.tick();
  CHECK(fleet.health("0") == HealthState::degraded);
  CHECK(fleet.balancer.pick());
}

TEST_CASE("the last backend of a tier is never ejected") {
  Fleet<Plain> fleet{0, Standard{{.ejection = {.max_ejected = 1}, .seed = 1}}};
  fleet.balancer.update({{.id = "near 1"},
                         {.id = "near 2"},
                         {.id = "far 1", .tier = 1},
                         {.id = "far 2", .tier = 1},
                         {.id = "far 3", .tier = 1},
                         {.id = "far 4", .tier = 1}});
  for (auto const* id : {"near 1", "near 2"}) fail(fleet.balancer, id, 5);
  fleet.balancer.tick();
  CHECK(fleet.health("near 1") == HealthState::unhealthy);
  CHECK(fleet.health("near 2") == HealthState::degraded);
  fleet.balancer.drain("far 1");
  fleet.balancer.set_health("far 2", HealthState::unhealthy);
  fail(fleet.balancer, "far 3", 5);
  CHECK(fleet.health("far 3") == HealthState::unhealthy);
  fail(fleet.balancer, "far 4", 5);
  fleet.balancer.tick();
  CHECK(fleet.health("far 4") == HealthState::degraded);
}

TEST_CASE("one held back by the cap goes when there is room") {
  Fleet<Plain> fleet{2};
  fail(fleet.balancer, "0", 5);
  fail(fleet.balancer, "1", 5);
  CHECK(fleet.phase("0") == Phase::ejected);
  fleet.balancer.tick();
  CHECK(fleet.phase("1") == Phase::degraded);
  fleet.nodes[1].result = Result::error;
  fleet.run(60s, 100);
  CHECK(fleet.phase("0") != Phase::ejected);
  CHECK(fleet.phase("1") == Phase::ejected);
}

// -- probation
// ---------------------------------------------------------------------------------------

TEST_CASE("on probation one request at a time is admitted, and its result decides") {
  Fleet<Plain> fleet{2, Standard{{.ejection = {.jitter = 0}, .seed = 1}}};
  fail(fleet.balancer, "0", 5);
  fleet.clock.advance(30s);
  fleet.balancer.tick();
  CHECK(fleet.phase("0") == Phase::probation);
  std::vector<decltype(fleet.balancer)::Lease> leases;
  int on_trial = 0;
  for (int i = 0; i < 20; ++i) {
    leases.push_back(fleet.balancer.pick());
    on_trial += leases.back()->id() == "0" ? 1 : 0;
  }
  CHECK(on_trial == 1);
  SECTION("a failure ejects it for twice the time") {
    for (auto& lease : leases)
      if (lease->id() == "0") lease.finish(Result::timeout);
    CHECK(fleet.phase("0") == Phase::ejected);
    CHECK(*fleet.monitor.history("0").back().lasts == 60s);
  }
  SECTION("a success brings it back") {
    for (auto& lease : leases)
      if (lease->id() == "0") lease.finish();
    CHECK(fleet.phase("0") == Phase::slow_start);
  }
  SECTION("a cancelled request decides nothing, and the next one may try") {
    for (auto& lease : leases)
      if (lease->id() == "0") lease.finish(Result::cancelled);
    CHECK(fleet.phase("0") == Phase::probation);
    CHECK(tests::picks(fleet.balancer, 2).find('0') != std::string::npos);
  }
}

TEST_CASE("a request that was in flight before the probation does not decide it") {
  Fleet<Plain> fleet{2, Standard{{.ejection = {.jitter = 0}, .seed = 1}}};
  auto old = tests::pick_of(fleet.balancer, "0");
  fleet.clock.advance(1s);
  fail(fleet.balancer, "0", 5);
  fleet.clock.advance(30s);
  fleet.balancer.tick();
  REQUIRE(fleet.phase("0") == Phase::probation);
  old.finish(Result::success);
  CHECK(fleet.phase("0") == Phase::probation);
}

TEST_CASE("a backend that flaps gets less and less") {
  // Every 10 s it works or fails in turn. Taken out for 30, 60, 90 s ..., it does ever less harm.
  Fleet<Plain> fleet{3};
  std::uint64_t last_minutes = 0;
  for (int turn = 0; turn < 120; ++turn) {
    fleet.nodes[1].result = turn % 2 == 0 ? Result::error : Result::success;
    auto const before = stats_of(fleet.balancer, "1").failed;
    fleet.run(10s, 100);
    if (turn >= 60) last_minutes += stats_of(fleet.balancer, "1").failed - before;
  }
  CHECK(last_minutes < 60);  // of 60,000 requests
  CHECK(fleet.refused == 0);
}

// -- panic
// -------------------------------------------------------------------------------------------

TEST_CASE("in an open panic all backends are picked except those the operator took out") {
  std::vector<std::string> log;
  Fleet<Plain> fleet{
      5,
      Standard{{.log = [&](Transition const& each) { log.push_back(message(each)); }, .seed = 1}}};
  for (auto const* id : {"0", "1", "2"}) fleet.monitor.report(id, Signal::down, "tcp: refused");
  fleet.balancer.set_health("3", HealthState::unhealthy);
  fleet.balancer.drain("4");
  fleet.balancer.tick();
  CHECK(fleet.monitor.panicking());
  auto const text = tests::picks(fleet.balancer, 9);
  CHECK(text == "012012012");
  CHECK(fleet.health("0") == HealthState::unhealthy);  // the truth stays visible
  CHECK(log.back() == "panic begins: 0.00 selectable, limit 2.00");
  fleet.balancer.undrain("4");
  fleet.balancer.set_health("3", HealthState::healthy);
  fleet.monitor.report("0", Signal::up, "tcp: connected");
  fleet.balancer.tick();
  CHECK_FALSE(fleet.monitor.panicking());
}

TEST_CASE("in a closed panic no backend is picked") {
  Fleet<Plain> fleet{4, Standard{{.panic = {.mode = Panic::Mode::closed}, .seed = 1}}};
  for (auto const* id : {"0", "1", "2"}) fleet.monitor.report(id, Signal::down, "down");
  fleet.balancer.tick();
  CHECK(fleet.monitor.panicking());
  CHECK(tests::picks(fleet.balancer, 2) == "--");
  fleet.monitor.report("0", Signal::up, "up");
  fleet.balancer.tick();
  CHECK_FALSE(fleet.monitor.panicking());  // 2 of 4
  CHECK(fleet.balancer.pick());
}

TEST_CASE("without a threshold there is no panic") {
  Fleet<Plain> fleet{4, Standard{{.panic = {.threshold = 0}, .seed = 1}}};
  for (auto const* id : {"0", "1", "2", "3"}) fleet.monitor.report(id, Signal::down, "down");
  fleet.balancer.tick();
  CHECK_FALSE(fleet.monitor.panicking());
  CHECK(fleet.balancer.pick().error().unhealthy == 4);
}

// -- others who have a say
// ---------------------------------------------------------------------------

TEST_CASE("reports from outside go through the same state machine") {
  Fleet<Plain> fleet{3};
  fleet.balancer.report_health("1", HealthState::unhealthy);
  fleet.balancer.tick();
  CHECK(fleet.phase("1") == Phase::ejected);
  fleet.clock.advance(1h);
  fleet.balancer.tick();
  CHECK(fleet.health("1") == HealthState::unhealthy);
  fleet.balancer.report_health("1", HealthState::healthy);
  fleet.balancer.tick();
  CHECK(fleet.phase("1") == Phase::probation);
}

TEST_CASE("the operator's word is never overridden") {
  Fleet<Plain> fleet{3};
  fleet.balancer.set_health("1", HealthState::healthy);
  fail(fleet.balancer, "1", 50);
  fleet.balancer.tick();
  CHECK(fleet.health("1") == HealthState::healthy);
  CHECK(tests::picks(fleet.balancer, 6).find('1') != std::string::npos);
  fleet.balancer.set_admission("2", {.max_in_flight = 4});
  fleet.balancer.tick();
  CHECK(stats_of(fleet.balancer, "2").admission.max_in_flight == 4);
}

TEST_CASE("a probe that falls silent is not believed for ever") {
  Fleet<Plain> fleet{3};
  fleet.monitor.report("1", Signal::down, "down");
  fleet.balancer.tick();
  for (int i = 0; i < 100; ++i) {
    fleet.clock.advance(1s);
    fleet.balancer.tick();
  }
  CHECK(fleet.phase("1") == Phase::ejected);
  for (int i = 0; i < 100; ++i) {
    fleet.clock.advance(1s);
    fleet.balancer.tick();
  }
  CHECK(fleet.phase("1") == Phase::probation);
}

TEST_CASE("a backend that joins a running set warms up and one that was there does not") {
  Fleet<Plain> fleet{3};
  CHECK(fleet.monitor.history("0").empty());
  fleet.balancer.add({.id = "3"});
  CHECK(stats_of(fleet.balancer, "3").admission.share < (1U << 30U));  // before the next tick
  fleet.run(10s, 1000);
  CHECK(fleet.phase("3") == Phase::slow_start);
  auto const picks = fleet.since(fleet.clock.now() - 2s);
  CHECK(picks[3] * 2 < picks[0]);
  fleet.run(30s, 1000);
  CHECK(fleet.phase("3") == Phase::healthy);
}

TEST_CASE("a backend that is removed while it is ejected is forgotten, and comes back fresh") {
  Fleet<Plain> fleet{3};
  fail(fleet.balancer, "1", 5);
  fleet.monitor.report("1", Signal::down, "down");
  fleet.balancer.remove("1");
  fleet.clock.advance(10s);
  fleet.balancer.tick();
  CHECK(fleet.monitor.history("1").empty());
  fleet.balancer.add({.id = "1"});
  fleet.balancer.tick();
  CHECK(fleet.phase("1") == Phase::slow_start);
}

TEST_CASE("a clock that jumps back delays an ejection's end but does not lose it") {
  Fleet<Plain> fleet{2, Standard{{.ejection = {.jitter = 0}, .seed = 1}}};
  fail(fleet.balancer, "0", 5);
  fleet.clock.set(poise::Time{10s});  // an hour back
  fleet.balancer.tick();
  fleet.clock.advance(30s);
  fleet.balancer.tick();
  CHECK(fleet.phase("0") == Phase::probation);
  fleet.clock.set(poise::Time{5s});
  fleet.balancer.tick();
  tests::pick_of(fleet.balancer, "0").finish();
  CHECK(fleet.phase("0") == Phase::slow_start);
}

// -- the log
// -----------------------------------------------------------------------------------------

TEST_CASE("the log's callback may use the balancer and may throw") {
  int told = 0;
  Fleet<Plain>* known = nullptr;
  Fleet<Plain> fleet{3, Standard{{.log =
                                      [&](Transition const&) {
                                        ++told;
                                        if (known != nullptr) known->balancer.tick();
                                        throw std::runtime_error{"log"};
                                      },
                                  .seed = 1}}};
  known = &fleet;
  fail(fleet.balancer, "0", 5);
  CHECK(told == 1);
  CHECK(fleet.balancer.stats().observer_failures > 0);
  CHECK(fleet.health("0") == HealthState::unhealthy);
}

TEST_CASE("only the last transitions are kept") {
  Fleet<Plain> fleet{3, Standard{{.history = 4, .seed = 1}}};
  for (int i = 0; i < 10; ++i) {
    fleet.monitor.report("0", i % 2 == 0 ? Signal::down : Signal::up, "flap");
    fleet.balancer.tick();
  }
  CHECK(fleet.monitor.history("0").size() == 4);
}

// -- bad input
// ---------------------------------------------------------------------------------------

TEST_CASE("a monitor refuses numbers that make no sense, and says which") {
  auto const nan = std::numeric_limits<double>::quiet_NaN();
  auto const refused = [](MonitorOptions options, std::string const& word) {
    try {
      Standard const monitor{std::move(options)};
      return false;
    } catch (poise::ConfigError const& error) {
      return std::string{error.what()}.find(word) != std::string::npos;
    }
  };
  CHECK(refused({.interval = 0s}, "interval"));
  CHECK(refused({.interval = -1s}, "-1 s"));
  CHECK(refused({.ejection = {.base = 0s}}, "base"));
  CHECK(refused({.ejection = {.base = 400s}}, "max"));
  CHECK(refused({.ejection = {.jitter = 1.5}}, "jitter"));
  CHECK(refused({.ejection = {.max_ejected = nan}}, "max_ejected"));
  CHECK(refused({.slow_start = {.window = -1s}}, "window"));
  CHECK(refused({.slow_start = {.min_fraction = 0}}, "min_fraction"));
  CHECK(refused({.slow_start = {.aggression = 0}}, "aggression"));
  CHECK(refused({.slow_start = {.overload = 0.5}}, "overload"));
  CHECK(refused({.panic = {.threshold = 2}}, "threshold"));
  CHECK(refused({.probe_silence = 0s}, "probe_silence"));
  CHECK(refused({.history = 0}, "history"));
  using Only = Monitor<Consecutive>;
  CHECK_THROWS_AS((Only{{}, Consecutive{.failures = 0}}), poise::ConfigError);
  CHECK_THROWS_AS((Only{{}, Consecutive{.enforcement = {.probability = nan}}}), poise::ConfigError);
  CHECK_THROWS_AS(Standard{}.report("a", Signal::eject, ""), poise::ConfigError);
  CHECK_THROWS_AS((Monitor<Latency>{{}, Latency{.factor = -1}}), poise::ConfigError);
}

}  // namespace unit_health_monitor
