// SPDX-License-Identifier: MIT

#include <atomic>
#include <chrono>
#include <memory>
#include <span>
#include <stdexcept>
#include <thread>
#include <vector>

#include <poise/health/keeper.hpp>
#include <poise/poise.hpp>

#include "support/catch.hpp"
#include "support/servers.hpp"

using namespace std::chrono_literals;
using poise::health::Keeper;

namespace {

/// Waits until it happened; gives up after 10 s.
template <class Condition>
bool eventually(Condition const& condition) {
  for (int i = 0; i < 10'000 && !condition(); ++i) std::this_thread::sleep_for(1ms);
  return condition();
}

struct Count {
  std::atomic<int>* ticks;
  void on_tick(poise::Time, std::span<poise::Standing>) const { ++*ticks; }
};
using Counted = poise::Balancer<poise::RoundRobin, void, poise::Runtime<poise::SteadyClock, Count>>;

}  // namespace

TEST_CASE("a keeper ticks many balancers until it is told not to") {
  std::vector<std::atomic<int>> ticks(20);
  std::vector<std::unique_ptr<Counted>> balancers;
  for (auto& each : ticks)
    balancers.push_back(std::make_unique<Counted>(
        tests::letters("a"), poise::RoundRobin{},
        poise::Runtime<poise::SteadyClock, Count>{.observers = {Count{&each}}}));
  Keeper keeper;
  std::vector<Keeper::Kept> kept;
  for (auto& each : balancers) kept.push_back(keeper.watch(*each, 1ms));
  for (auto& each : ticks) CHECK(eventually([&] { return each >= 3; }));
  kept.erase(kept.begin());  // and the balancer may go
  balancers.erase(balancers.begin());
  auto const then = ticks[0].load();
  auto const other = ticks[1].load();
  CHECK(eventually([&] { return ticks[1] > other + 3; }));
  CHECK(ticks[0] == then);
}

TEST_CASE("a job that throws is counted and comes again") {
  Keeper keeper;
  auto const kept = keeper.every(1ms, [] { throw std::runtime_error{"job"}; });
  CHECK(eventually([&] { return keeper.failures() >= 3; }));
}

TEST_CASE("a job may end itself and a keeper may end before what it kept") {
  std::atomic<int> runs{0};
  Keeper::Kept outlives;
  {
    Keeper keeper;
    Keeper::Kept itself;
    std::atomic<bool> ready{false};
    itself = keeper.every(1ms, [&] {
      if (!ready) return;
      ++runs;
      itself = {};
    });
    ready = true;
    outlives = keeper.every(1h, [] {});
    CHECK(eventually([&] { return runs == 1; }));
    auto other = std::make_shared<std::atomic<int>>(0);
    auto const kept = keeper.every(1ms, [other] { ++*other; });
    CHECK(eventually([&] { return *other >= 3; }));
    CHECK(runs == 1);
  }
  outlives = {};
}

TEST_CASE("what no longer runs is not running") {
  Keeper keeper;
  for (int i = 0; i < 50; ++i) {
    auto alive = std::make_unique<std::atomic<int>>(0);
    auto kept = keeper.every(10us, [&alive] { ++*alive; });
    if (i % 2 == 0) std::this_thread::yield();
    kept = {};
    alive.reset();  // a job that still ran would be caught by the sanitizers
  }
  CHECK(keeper.failures() == 0);
}

TEST_CASE("a period that is not above zero is refused") {
  Keeper keeper;
  CHECK_THROWS_AS(keeper.every(0s, [] {}), poise::ConfigError);
  CHECK_THROWS_AS(keeper.every(-1s, [] {}), poise::ConfigError);
}
