// SPDX-License-Identifier: MIT
// Requests, ticks, questions, probes and changes at once: for the sanitizers, and for what must
// hold at the end.

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <string>
#include <thread>
#include <vector>

#include <poise/health/limit.hpp>
#include <poise/health/monitor.hpp>
#include <poise/poise.hpp>
#include <poise/ticker.hpp>

#include "support/catch.hpp"
#include "support/servers.hpp"

namespace integration_health_threads {

using namespace std::chrono_literals;
using namespace poise::health;
using poise::Result;

TEST_CASE("threads that fail, tick, ask, probe and change leave a monitor that works") {
  using Runtime = poise::Runtime<poise::SteadyClock, Standard, poise::health::AdaptiveLimit>;
  std::atomic<int> told{0};
  MonitorOptions options;
  options.interval = 5ms;
  options.ejection = {.base = 2ms, .unreachable = 1ms, .max = 4ms};
  options.slow_start.window = 3ms;
  options.log = [&](Transition const& each) { told += message(each).empty() ? 0 : 1; };
  Standard const monitor{options};
  poise::Balancer<poise::P2C, void, Runtime> servers{
      tests::numbered(6), {}, {.observers = {monitor, {}}}};
  std::atomic<bool> stopping{false};
  std::vector<std::thread> threads;
  for (unsigned number = 0; number < 2; ++number)
    threads.emplace_back([&, number] {
      for (unsigned i = number; !stopping; ++i) {
        auto lease = servers.pick();
        if (!lease) continue;
        bool const bad = lease->id() < "3" && i / 1000 % 2 == 0;
        lease.finish(!bad ? Result::success : i % 2 == 0 ? Result::refused : Result::error);
      }
    });
  threads.emplace_back([&] {
    while (!stopping) {
      servers.tick();
      (void)monitor.panicking();
      for (auto const& each : servers.stats().backends) (void)monitor.history(each.id);
    }
  });
  threads.emplace_back([&] {
    for (unsigned i = 0; !stopping; ++i) {
      constexpr std::array words{Signal::up, Signal::down, Signal::doubt, Signal::degrade};
      monitor.report(std::to_string(i % 6), words[i % words.size()], "probe");
      if (i % 7 == 0) servers.update(tests::numbered(5 + i % 3));
      if (i % 5 == 0) servers.drain("4");
      if (i % 5 == 1) servers.undrain("4");
      std::this_thread::sleep_for(100us);
    }
  });
  std::this_thread::sleep_for(1s);
  stopping = true;
  for (auto& thread : threads) thread.join();

  servers.undrain("4");
  for (auto const& each : servers.stats().backends) monitor.report(each.id, Signal::up, "probe");
  auto const all_well = [&] {
    for (auto const& each : servers.stats().backends)
      if (monitor.phase(each.id) != Phase::healthy) return false;
    return true;
  };
  for (int i = 0; i < 2000 && !all_well(); ++i) {
    servers.tick();
    for (int j = 0; j < 20; ++j) servers.pick().finish();
    std::this_thread::sleep_for(1ms);
  }
  CHECK(all_well());
  CHECK(told > 10);
  CHECK(servers.stats().observer_failures == 0);
}

}  // namespace integration_health_threads
