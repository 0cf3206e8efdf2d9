// SPDX-License-Identifier: MIT
// Seam: those who watch and those who decide, listed in the runtime's type.

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include <poise/poise.hpp>

#include "support/catch.hpp"

namespace api_observe {

using namespace std::chrono_literals;
using poise::HealthState;
using poise::Result;

namespace {

/// A log callback is an observer like any other.
struct Log {
  std::function<void(std::string const&)> write;
  void on_event(poise::Event const& event) const {
    write(std::string{name(event.kind)} + " " + event.id + " " + std::string{name(event.health)});
  }
  void on_refused(poise::Refused const& event) const { write(message(event.error)); }
};

/// Three failures in a row put a backend out at once; a tick later than 10 s after brings all back.
struct Ejector {
  struct State {
    int in_a_row = 0;
    poise::Time until{};
  };
  static constexpr bool uses_time = true;
  void on_finish(poise::Finished const& event, State& state) const {
    if (!is_verdict(event.outcome.result)) return;
    state.in_a_row = is_failure(event.outcome.result) ? state.in_a_row + 1 : 0;
    if (state.in_a_row < 3) return;
    state.until = event.now + 10s;
    event.report(HealthState::unhealthy);
  }
  void on_tick(poise::Time now, std::span<poise::BackendView> all) const {
    for (auto& each : all)
      if (each.health == HealthState::unhealthy && now >= each.state<State>().until)
        each.health = HealthState::healthy;
  }
};

/// If less than half is left, all backends are used.
struct Panic {
  int* publications;
  void arrange(std::span<poise::BackendView> all) const {
    ++*publications;
    std::size_t healthy = 0;
    for (auto const& each : all) healthy += each.health == HealthState::healthy ? 1U : 0U;
    if (healthy * 2 >= all.size()) return;
    for (auto& each : all) each.health = HealthState::healthy;
  }
};

struct Fixture {
  poise::VirtualClock clock{};
  std::vector<std::string> lines{};
  int publications = 0;
  using Runtime = poise::Runtime<poise::VirtualClock, Log, Ejector, Panic>;
  poise::Balancer<poise::RoundRobin, void, Runtime> balancer{
      poise::endpoints({"a", "b", "c", "d"}),
      {},
      {.clock = clock,
       .seed = 1,
       .observers = {Log{[this](auto const& line) { lines.push_back(line); }}, Ejector{},
                     Panic{&publications}}}};

  void fail(std::string const& bad) {
    for (int failures = 0; failures < 3;) {
      auto lease = balancer.pick();
      bool const hit = lease->id() == bad;
      failures += hit ? 1 : 0;
      lease.finish(hit ? Result::timeout : Result::success);
    }
  }
  std::string next(int count) {
    std::string text;
    for (int i = 0; i < count; ++i) text += balancer.pick()->id();
    return text;
  }
};

}  // namespace

TEST_CASE("seam observer puts a backend out before the request's end returns") {
  Fixture test;
  test.fail("b");
  CHECK(test.next(8).find('b') == std::string::npos);
}

TEST_CASE("seam observer is notified of requests that were recorded, not picked") {
  Fixture test;
  for (int i = 0; i < 3; ++i) test.balancer.record("b", Result::timeout);
  CHECK(test.next(8).find('b') == std::string::npos);
  CHECK(test.balancer.stats().observer_failures == 0);
}

TEST_CASE("seam observer writes what happens to a log callback") {
  Fixture test;
  test.lines.clear();
  test.fail("b");
  test.balancer.drain("c");
  CHECK(test.lines ==
        std::vector<std::string>{"health b unhealthy", "drained c healthy", "empty c healthy"});
}

TEST_CASE("seam rule publishes all flips of one tick once") {
  Fixture test;
  test.fail("a");
  test.fail("b");
  test.clock.advance(11s);
  auto const before = test.publications;
  test.balancer.tick();
  CHECK(test.publications == before + 1);
  CHECK(test.next(4).find_first_of("ab") != std::string::npos);
}

TEST_CASE("seam rule publishes nothing when nothing changed") {
  Fixture test;
  auto const before = test.publications;
  test.balancer.tick();
  CHECK(test.publications == before);
}

TEST_CASE(
    "seam rule makes unhealthy backends eligible in a panic and still reports them as unhealthy") {
  Fixture test;
  for (auto const* id : {"a", "b", "c"}) test.fail(id);
  auto const text = test.next(8);
  for (char const id : {'a', 'b', 'c', 'd'}) CHECK(text.find(id) != std::string::npos);
  CHECK(test.balancer.stats().backends[0].health == HealthState::unhealthy);
}

TEST_CASE("seam rule never touches what the operator drained even in a panic") {
  Fixture test;
  test.balancer.drain("d");
  for (auto const* id : {"a", "b", "c"}) test.fail(id);
  auto const text = test.next(9);
  CHECK(text.find('a') != std::string::npos);
  CHECK(text.find('d') == std::string::npos);
}

TEST_CASE("seam observer learns why no backend could be picked") {
  Fixture test;
  for (auto const* id : {"a", "b", "c", "d"}) test.balancer.drain(id);
  (void)test.balancer.pick();
  CHECK(test.lines.back() == "4 backends: 4 drained");
}

}  // namespace api_observe
