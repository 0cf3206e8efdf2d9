// SPDX-License-Identifier: MIT

#include <chrono>
#include <cmath>
#include <cstddef>
#include <set>
#include <string>
#include <vector>

#include <poise/health/machine.hpp>

#include "support/catch.hpp"

namespace unit_health_machine {

using namespace std::chrono_literals;
using poise::HealthState;
using poise::Time;
using namespace poise::health;

namespace {

std::vector<Phase> phases() {
  std::vector<Phase> all;
  for (std::size_t i = 0; i < phase_count; ++i) all.push_back(static_cast<Phase>(i));
  return all;
}
std::vector<Signal> signals() {
  std::vector<Signal> all;
  for (std::size_t i = 0; i < signal_count; ++i) all.push_back(static_cast<Signal>(i));
  return all;
}

/// Every step that leads somewhere, as docs/health.md draws them.
std::set<std::string> all_steps() {
  std::set<std::string> result;
  for (auto const from : phases())
    for (auto const signal : signals())
      if (auto const to = next(from, signal); to != from)
        result.insert(std::string{name(from)} + " " + std::string{name(signal)} + " " +
                      std::string{name(to)});
  return result;
}

}  // namespace

TEST_CASE("the state machine has these steps and no others") {
  CHECK(all_steps() ==
        std::set<std::string>{
            "healthy doubt suspect",     "healthy degrade degraded",    "healthy eject ejected",
            "healthy down ejected",      "healthy appeared slow start", "suspect degrade degraded",
            "suspect eject ejected",     "suspect served healthy",      "suspect down ejected",
            "suspect up healthy",        "degraded eject ejected",      "degraded served healthy",
            "degraded passed healthy",   "degraded down ejected",       "ejected served probation",
            "ejected up probation",      "probation passed slow start", "probation failed ejected",
            "probation down ejected",    "slow start degrade degraded", "slow start eject ejected",
            "slow start served healthy", "slow start down ejected"});
}

TEST_CASE("every phase leads back to healthy") {
  for (auto const start : phases()) {
    std::set<Phase> reached{start};
    for (std::size_t i = 0; i < phase_count; ++i)
      for (auto const phase : std::set<Phase>{reached})
        for (auto const signal : signals()) reached.insert(next(phase, signal));
    CHECK(reached.count(Phase::healthy) == 1);
  }
}

TEST_CASE("an ejected backend comes back only through probation") {
  for (auto const signal : signals()) {
    auto const to = next(Phase::ejected, signal);
    CHECK((to == Phase::ejected || to == Phase::probation));
  }
}

TEST_CASE("the world sees six phases as three states") {
  CHECK(public_state(Phase::healthy) == HealthState::healthy);
  CHECK(public_state(Phase::suspect) == HealthState::healthy);
  CHECK(public_state(Phase::degraded) == HealthState::degraded);
  CHECK(public_state(Phase::ejected) == HealthState::unhealthy);
  CHECK(public_state(Phase::probation) == HealthState::healthy);
  CHECK(public_state(Phase::slow_start) == HealthState::healthy);
}

TEST_CASE("ejections grow as Envoy's do, with base 30 s and max 300 s") {
  EjectionBackoff record;
  std::vector<long> seconds;
  for (int i = 0; i < 13; ++i)
    seconds.push_back(
        std::chrono::duration_cast<std::chrono::seconds>(record.eject(30s, 300s)).count());
  CHECK(seconds == std::vector<long>{30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300, 300, 300});
  CHECK(record.times() == 11);  // base * n < max + base holds up to n = 10
  for (int i = 0; i < 9; ++i) record.forgive();
  CHECK(record.eject(30s, 300s) == 90s);
  for (int i = 0; i < 20; ++i) record.forgive();
  CHECK(record.eject(30s, 300s) == 30s);
}

TEST_CASE("the slow start's curve is Envoy's") {
  SlowStart const linear{.window = 60s};
  CHECK(ramp(0s, linear) == Approx(0.1));  // the floor
  CHECK(ramp(6s, linear) == Approx(0.1));
  CHECK(ramp(15s, linear) == Approx(0.25));
  CHECK(ramp(30s, linear) == Approx(0.5));
  CHECK(ramp(60s, linear) == 1);
  CHECK(ramp(2h, linear) == 1);
  SlowStart const brisk{.window = 60s, .aggression = 2};
  CHECK(ramp(15s, brisk) == Approx(0.5));
  CHECK(ramp(0s, brisk) == Approx(std::sqrt(1.0 / 60)));  // t counts as one second at least
  CHECK(ramp(0s, SlowStart{.window = 0s}) == 1);
}

TEST_CASE("a ramp yields where the others would have to carry too much") {
  CHECK(least_ramp(19, 1, 1.4) == 0);
  CHECK(least_ramp(0, 5, 1.4) == 1);
  CHECK(least_ramp(1, 4, 1.4) == Approx((5 / 1.4 - 1) / 4));
  for (std::size_t full = 1; full < 20; ++full)
    for (std::size_t slow = 1; slow < 20; ++slow) {
      auto const share = least_ramp(full, slow, 1.4);
      auto const f = static_cast<double>(full);
      auto const s = static_cast<double>(slow);
      CHECK(share <= 1);
      CHECK((f + s) / (f + s * share) <= 1.4 + 1e-9);  // what a full one gets against its due
    }
}

TEST_CASE("panic begins below the threshold, not at it") {
  CHECK_FALSE(is_panic(5, 10, 0.5));
  CHECK(is_panic(4, 10, 0.5));
  CHECK_FALSE(is_panic(2, 3, 0.5));
  CHECK(is_panic(1, 3, 0.5));
  CHECK_FALSE(is_panic(1, 2, 0.5));
  CHECK(is_panic(0, 1, 0.5));
  CHECK_FALSE(is_panic(0, 0, 0.5));
  CHECK_FALSE(is_panic(0, 10, 0));
}

TEST_CASE("an ejection ends in probation and a passed request in slow start") {
  Machine machine;
  Ejection const ejection{};
  SlowStart const slow_start{};
  Time const start{100s};
  CHECK(machine.follow(Signal::eject, start, ejection, slow_start));
  CHECK(machine.until() == start + 30s);
  CHECK_FALSE(machine.is_served(start + 29s));
  CHECK(machine.is_served(start + 30s));
  CHECK(machine.follow(Signal::served, start + 30s, ejection, slow_start));
  CHECK(machine.phase() == Phase::probation);
  CHECK_FALSE(machine.until());
  CHECK(machine.follow(Signal::failed, start + 31s, ejection, slow_start));
  CHECK(machine.until() == start + 31s + 60s);
  machine.follow(Signal::served, start + 91s, ejection, slow_start);
  CHECK(machine.follow(Signal::passed, start + 92s, ejection, slow_start));
  CHECK(machine.phase() == Phase::slow_start);
  CHECK(machine.until() == start + 92s + slow_start.window);
}

TEST_CASE("without a window a passed request ends in healthy") {
  Machine machine;
  for (auto const signal : {Signal::eject, Signal::served, Signal::passed})
    machine.follow(signal, Time{1s}, {}, {.window = 0s});
  CHECK(machine.phase() == Phase::healthy);
  machine.follow(Signal::appeared, Time{1s}, {}, {.window = 0s});
  CHECK(machine.phase() == Phase::healthy);
}

TEST_CASE("jitter adds up to its share") {
  Machine machine;
  machine.follow(Signal::eject, Time{}, {.jitter = 0.5}, {}, 0.999999);
  CHECK(*machine.until() > Time{44s});
  CHECK(*machine.until() < Time{45s});
}

TEST_CASE("what probes hold only probes release") {
  Machine machine;
  machine.follow(Signal::down, Time{}, {}, {});
  CHECK(machine.phase() == Phase::ejected);
  CHECK_FALSE(machine.is_served(Time{1h}));
  machine.follow(Signal::up, Time{1h}, {}, {});
  CHECK(machine.phase() == Phase::probation);
}

TEST_CASE("a probe does not acquit what requests convicted") {
  Machine machine;
  machine.follow(Signal::eject, Time{}, {}, {});
  CHECK_FALSE(machine.follow(Signal::up, Time{1s}, {}, {}));
  CHECK(machine.phase() == Phase::ejected);
}

TEST_CASE("good intervals are credited only from one interval after the return on") {
  Machine machine;
  Ejection const ejection{};
  machine.follow(Signal::eject, Time{0s}, ejection, {});
  machine.forgive(Time{20s}, 10s);  // still out
  CHECK(machine.ejections() == 1);
  machine.follow(Signal::served, Time{30s}, ejection, {});
  machine.follow(Signal::passed, Time{31s}, ejection, {});
  machine.forgive(Time{40s}, 10s);
  CHECK(machine.ejections() == 1);
  machine.forgive(Time{41s}, 10s);
  CHECK(machine.ejections() == 0);
}

}  // namespace unit_health_machine
