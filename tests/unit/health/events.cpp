// SPDX-License-Identifier: MIT
// Who hears of transitions, and whose monitor it is.

#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <poise/health/monitor.hpp>
#include <poise/poise.hpp>

#include "support/catch.hpp"
#include "support/servers.hpp"

namespace unit_health_events {

using namespace std::chrono_literals;
using namespace poise::health;
using poise::HealthState;
using poise::Result;

namespace {

/// An observer that decides nothing.
struct Recorder {
  std::vector<std::string>* told;
  void on_transition(Transition const& transition) const { told->push_back(message(transition)); }
};

struct Thrower {
  void on_transition(Transition const&) const { throw std::runtime_error{"no"}; }
};

template <class... Observers>
using Servers =
    poise::Balancer<poise::RoundRobin, void, poise::Runtime<poise::VirtualClock, Observers...>>;

void fail(auto& balancer, char const* id, int times, Result how = Result::error) {
  for (; times > 0; --times) balancer.record(id, how, 1ms);
}

}  // namespace

TEST_CASE("every observer of the runtime is notified of each transition in order, inner ones too") {
  std::vector<std::string> before;
  std::vector<std::string> after;
  std::vector<std::string> log;
  poise::VirtualClock const clock;
  Standard const monitor{{.ejection = {.jitter = 0},
                          .log = [&](auto const& each) { log.push_back(message(each)); },
                          .seed = 1}};
  Servers<Recorder, Thrower, Standard, Recorder> servers{
      tests::letters("abc"),
      {},
      {.clock = clock, .seed = 1, .observers = {Recorder{&before}, {}, monitor, Recorder{&after}}}};
  servers.tick();
  fail(servers, "b", 5);
  clock.advance(30s);
  servers.tick();
  tests::pick_of(servers, "b").finish();
  monitor.report("c", Signal::doubt, "tcp: slow");
  clock.advance(30s);
  servers.tick();
  CHECK(before == std::vector<std::string>{
                      "b: healthy -> ejected for 30.00 s: consecutive failures 5.00, limit 5.00",
                      "b: ejected -> probation: time served",
                      "b: probation -> slow start for 30.00 s: success",
                      "c: healthy -> suspect for 30.00 s: tcp: slow",
                      "b: slow start -> healthy: time served"});
  CHECK(after == before);
  CHECK(log == before);
  CHECK(servers.stats().observer_failures == before.size());  // a throwing observer delays no other
}

TEST_CASE("the history has the cause, the numbers behind it, and failures by cause") {
  poise::VirtualClock const clock;
  clock.advance(100s);
  Standard const monitor{{.seed = 1}};
  Servers<Standard> servers{
      tests::letters("abc"), {}, {.clock = clock, .seed = 1, .observers = {monitor}}};
  servers.tick();
  fail(servers, "a", 3, Result::timeout);
  fail(servers, "a", 2, Result::reset);
  fail(servers, "b", 1, Result::refused);
  auto const history = monitor.history("a");
  REQUIRE(history.size() == 1);
  auto const& ejected = history[0];
  CHECK(ejected.at == clock.now());
  CHECK(ejected.id == "a");
  CHECK(ejected.from == Phase::healthy);
  CHECK(ejected.to == Phase::ejected);
  CHECK(ejected.cause == "consecutive failures");
  CHECK(ejected.value == 5);
  CHECK(ejected.limit == 5);
  CHECK(ejected.results[static_cast<std::size_t>(Result::timeout)] == 3);
  CHECK(ejected.results[static_cast<std::size_t>(Result::reset)] == 2);
  CHECK(ejected.results[static_cast<std::size_t>(Result::refused)] == 0);
  CHECK(ejected.results[static_cast<std::size_t>(Result::success)] == 0);
}

TEST_CASE("an observer may use the balancer in on_transition") {
  struct Curious {
    Servers<Standard, Curious>** servers;
    std::size_t* told;
    void on_transition(Transition const& transition) const {
      ++*told;
      (*servers)->tick();
      (*servers)->drain(transition.id);
    }
  };
  Servers<Standard, Curious>* known = nullptr;
  std::size_t told = 0;
  Servers<Standard, Curious> servers{
      tests::letters("abc"),
      {},
      {.clock = {}, .seed = 1, .observers = {Standard{{.seed = 1}}, Curious{&known, &told}}}};
  known = &servers;
  servers.tick();
  fail(servers, "a", 5);
  CHECK(told == 1);
  CHECK(tests::stats_of(servers, "a").drained);
  CHECK(servers.stats().observer_failures == 0);
}

namespace {

/// A rule that takes its time, under the balancer's lock.
struct Slow {
  std::atomic<bool>* waits;
  std::atomic<bool>* began;
  void on_tick(poise::Time, std::span<poise::BackendView>) const {
    while (*waits) {
      *began = true;
      std::this_thread::yield();
    }
  }
};

}  // namespace

TEST_CASE("picks and requests that end well don't wait for an ejection that takes its time") {
  std::atomic<bool> waits{false};
  std::atomic<bool> began{false};
  Standard const monitor{{.seed = 1}};
  Servers<Standard, Slow> servers{
      tests::letters("abc"),
      {},
      {.clock = {}, .seed = 1, .observers = {monitor, Slow{&waits, &began}}}};
  servers.tick();
  waits = true;
  std::thread failing{[&] { fail(servers, "a", 5); }};
  while (!began) std::this_thread::yield();
  int picked = 0;
  for (int i = 0; i < 1000; ++i) {
    auto lease = servers.pick();
    picked += lease ? 1 : 0;
    lease.finish();
  }
  CHECK(began);
  waits = false;
  failing.join();
  CHECK(picked == 1000);
  CHECK(tests::stats_of(servers, "a").health == HealthState::unhealthy);
}

TEST_CASE("transitions are reported one at a time, and none is lost, with any number of threads") {
  std::atomic<int> inside{0};
  std::atomic<bool> overlapped{false};
  std::vector<std::string> told;
  Journal journal{4, [&](Transition const& each) {
                    if (++inside != 1) overlapped = true;
                    std::this_thread::yield();  // long enough for others to come in
                    told.push_back(each.id);
                    --inside;
                  }};
  auto const ignore = [](Transition const&) {};
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread)
    threads.emplace_back([&, thread] {
      for (int i = 0; i < 500; ++i) {
        journal.write({.id = std::to_string(thread)});
        journal.tell(ignore);
      }
    });
  for (auto& thread : threads) thread.join();
  CHECK_FALSE(overlapped);
  CHECK(told.size() == 2000);
}

TEST_CASE("transitions without listeners do not pile up") {
  std::size_t told = 0;
  Journal journal{1, [&](Transition const&) { ++told; }};
  for (int i = 0; i < 100'000; ++i) journal.write({.id = "a"});
  journal.tell([](Transition const&) {});
  CHECK(told == 4096);
}

TEST_CASE("a monitor serves one balancer at a time") {
  Standard const monitor{{.seed = 1}};
  auto const make = [&](char const* ids) {
    return Servers<Standard>{
        tests::letters(ids), {}, {.clock = {}, .seed = 1, .observers = {monitor}}};
  };
  std::optional<Servers<Standard>> first{make("ab")};
  try {
    auto const second = make("cd");
    FAIL("two balancers share a monitor");
  } catch (poise::ConfigError const& error) {
    CHECK(std::string{error.what()}.find("two balancers") != std::string::npos);
  }
  fail(*first, "a", 5);  // the first one goes on
  CHECK(monitor.phase("a") == Phase::ejected);
  auto moved = std::move(*first);
  moved.tick();
  auto lease = moved.pick();
  {
    auto const gone = std::move(moved);
  }
  CHECK_THROWS_AS(make("ab"), poise::ConfigError);  // its lease will be heard of
  lease.finish();
  first.reset();
  auto const next = make("ab");
  CHECK(monitor.phase("a") == Phase::ejected);  // what was written stays until it is known better
}

}  // namespace unit_health_events
