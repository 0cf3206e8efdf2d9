// SPDX-License-Identifier: MIT

#include <atomic>
#include <chrono>
#include <memory>
#include <span>
#include <stdexcept>
#include <thread>
#include <vector>

#include <poise/poise.hpp>
#include <poise/ticker.hpp>

#include "support/catch.hpp"
#include "support/servers.hpp"

namespace unit_ticker {

using namespace std::chrono_literals;
using poise::Ticker;

namespace {

/// Waits until it happened; gives up after 10 s.
template <class Condition>
bool eventually(Condition const& condition) {
  for (int i = 0; i < 10'000 && !condition(); ++i) std::this_thread::sleep_for(1ms);
  return condition();
}

struct Count {
  std::atomic<int>* ticks;
  void on_tick(poise::Time, std::span<poise::BackendView>) const { ++*ticks; }
};
using Counted = poise::Balancer<poise::RoundRobin, void, poise::Runtime<poise::SteadyClock, Count>>;

}  // namespace

TEST_CASE("a ticker ticks a balancer until its handle is destroyed") {
  std::vector<std::atomic<int>> ticks(20);
  std::vector<std::unique_ptr<Counted>> balancers;
  for (auto& each : ticks)
    balancers.push_back(std::make_unique<Counted>(
        tests::letters("a"), poise::RoundRobin{},
        poise::Runtime<poise::SteadyClock, Count>{.observers = {Count{&each}}}));
  Ticker ticker;
  std::vector<Ticker::Handle> handles;
  for (auto& each : balancers) handles.push_back(ticker.watch(*each, 1ms));
  for (auto& each : ticks) CHECK(eventually([&] { return each >= 3; }));
  handles.erase(handles.begin());  // and the balancer may go
  balancers.erase(balancers.begin());
  auto const then = ticks[0].load();
  auto const other = ticks[1].load();
  CHECK(eventually([&] { return ticks[1] > other + 3; }));
  CHECK(ticks[0] == then);
}

TEST_CASE("a job that throws is counted and comes again") {
  Ticker ticker;
  auto const handle = ticker.every(1ms, [] { throw std::runtime_error{"job"}; });
  CHECK(eventually([&] { return ticker.failures() >= 3; }));
}

TEST_CASE("a job may end itself, and a ticker may end before its handles") {
  std::atomic<int> runs{0};
  Ticker::Handle outlives;
  {
    Ticker ticker;
    Ticker::Handle itself;
    std::atomic<bool> ready{false};
    itself = ticker.every(1ms, [&] {
      if (!ready) return;
      ++runs;
      itself = {};
    });
    ready = true;
    outlives = ticker.every(1h, [] {});
    CHECK(eventually([&] { return runs == 1; }));
    auto other = std::make_shared<std::atomic<int>>(0);
    auto const handle = ticker.every(1ms, [other] { ++*other; });
    CHECK(eventually([&] { return *other >= 3; }));
    CHECK(runs == 1);
  }
  outlives = {};
}

TEST_CASE("once a handle is destroyed its job does not run") {
  Ticker ticker;
  for (int i = 0; i < 50; ++i) {
    auto alive = std::make_unique<std::atomic<int>>(0);
    auto handle = ticker.every(10us, [&alive] { ++*alive; });
    if (i % 2 == 0) std::this_thread::yield();
    handle = {};
    alive.reset();  // a job that still ran would be caught by the sanitizers
  }
  CHECK(ticker.failures() == 0);
}

TEST_CASE("a job of the longest period runs once") {
  Ticker ticker;
  std::atomic<int> runs{0};
  auto const handle = ticker.every(poise::Duration::max(), [&] { ++runs; });
  std::atomic<int> others{0};
  auto const other = ticker.every(1ms, [&] { ++others; });
  CHECK(eventually([&] { return others >= 10; }));
  CHECK(runs == 1);
}

TEST_CASE("a period that is not above zero is refused") {
  Ticker ticker;
  CHECK_THROWS_AS(ticker.every(0s, [] {}), poise::ConfigError);
  CHECK_THROWS_AS(ticker.every(-1s, [] {}), poise::ConfigError);
}

}  // namespace unit_ticker
