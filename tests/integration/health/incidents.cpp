// SPDX-License-Identifier: MIT
// Real servers go wrong in every way, and requests alone find it, isolate it and take it back.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include <poise/health/monitor.hpp>
#include <poise/poise.hpp>
#include <poise/ticker.hpp>

#include "integration/health/nodes.hpp"
#include "integration/health/requests.hpp"
#include "support/catch.hpp"

namespace integration_health_incidents {

using namespace std::chrono_literals;
using namespace poise::health;
using tests::Loop;
using tests::Manner;
using tests::WebServer;

namespace {

/// Three servers, two clients that never stop asking, and a monitor twenty times as fast as usual.
class Service {
 public:
  Service() {
    for (int i = 0; i < 2; ++i) clients_.emplace_back([this] { ask(); });
  }
  Service(Service const&) = delete;
  Service& operator=(Service const&) = delete;
  ~Service() {
    stopping_ = true;
    for (auto& client : clients_) client.join();
  }

  /// Does the bad one reach this phase?
  [[nodiscard]] bool reaches(Phase wanted) const {
    for (auto const end = std::chrono::steady_clock::now() + 20s;
         std::chrono::steady_clock::now() < end; std::this_thread::sleep_for(1ms))
      if (monitor.phase(bad.address()) == wanted) return true;
    return false;
  }
  [[nodiscard]] int ejections(WebServer const& server) const {
    auto const all = monitor.history(server.address());
    return static_cast<int>(std::ranges::count(all, Phase::ejected, &Transition::to));
  }

 private:
  using Monitor = poise::health::Monitor<Consecutive, FailureRate, Latency>;
  using Runtime = poise::Runtime<poise::SteadyClock, Monitor>;

  static Monitor fast() {
    MonitorOptions options;
    options.interval = 500ms;
    options.ejection = {.base = 300ms, .unreachable = 200ms, .max = 3s};
    options.slow_start.window = 300ms;
    options.history = 100;
    return {options, {}, {}, Latency{.min = 20ms, .volume = 5, .enforcement = {.probability = 1}}};
  }
  void ask() {
    while (!stopping_) {
      auto lease = servers_.pick();
      if (lease) lease.finish(tests::fetch(lease->address()));
      std::this_thread::sleep_for(1ms);
    }
  }

  Loop loop_{};

 public:
  WebServer bad{loop_};
  WebServer good{loop_};
  WebServer other{loop_};
  Monitor const monitor = fast();

 private:
  poise::Balancer<poise::RoundRobin, void, Runtime> servers_{
      poise::endpoints(std::vector{bad.address(), good.address(), other.address()}),
      {},
      {.observers = {monitor}}};
  poise::Ticker ticker_{};
  poise::Ticker::Handle const watched_ = ticker_.watch(servers_, 50ms);
  std::atomic<bool> stopping_{false};
  std::vector<std::thread> clients_{};
};

}  // namespace

TEST_CASE("a server that hangs, slows down, fails or resets is isolated by requests alone") {
  Service service;
  for (auto const manner :
       {Manner::failing, Manner::hung, Manner::resetting, Manner::garbage, Manner::slow}) {
    INFO("manner " << static_cast<int>(manner));
    service.bad.behave(manner);
    CHECK(service.reaches(Phase::ejected));
    service.bad.behave(Manner::good);
    CHECK(service.reaches(Phase::healthy));
  }
  CHECK(service.ejections(service.good) == 0);
  CHECK(service.ejections(service.other) == 0);
}

TEST_CASE("a server that is killed is out after one refused connection, and back after a start") {
  Service service;
  std::this_thread::sleep_for(100ms);
  service.bad.kill();
  CHECK(service.reaches(Phase::ejected));
  auto const history = service.monitor.history(service.bad.address());
  CHECK(history.back().cause == "consecutive failures");
  CHECK(history.back().value <= 2);  // two clients may have met it, or a request that was reset
  service.bad.revive();
  CHECK(service.reaches(Phase::healthy));
  CHECK(service.ejections(service.good) + service.ejections(service.other) == 0);
}

TEST_CASE("a server that flaps stays out for longer and longer") {
  Service service;
  for (int i = 0; i < 40; ++i) {
    service.bad.behave(i % 2 == 0 ? Manner::failing : Manner::good);
    std::this_thread::sleep_for(100ms);
  }
  service.bad.behave(Manner::good);
  poise::Duration longest{};
  for (auto const& each : service.monitor.history(service.bad.address()))
    if (each.to == Phase::ejected) longest = std::max(longest, each.lasts.value_or(longest));
  CHECK(service.ejections(service.bad) >= 2);
  CHECK(longest >= 600ms);  // the second one, and more
  CHECK(service.reaches(Phase::healthy));
  CHECK(service.ejections(service.good) + service.ejections(service.other) == 0);
}

}  // namespace integration_health_incidents
