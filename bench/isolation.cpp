// SPDX-License-Identifier: MIT

// The time that a failing server does harm. One of five real HTTP servers on loopback fails. Three
// times are measured: until the fault is noticed, until the server gets no more requests, and, once
// it works again, until it gets requests again. With rules over requests alone (passive), with
// probes alone (active), and with both.
//
// All times of the monitor and of the probes are a tenth of the defaults, so that the program ends
// in minutes. The results scale with them.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <fmt/core.h>

#include <poise/asio/prober.hpp>
#include <poise/health/monitor.hpp>
#include <poise/poise.hpp>
#include <poise/ticker.hpp>

#include "../tests/integration/health/nodes.hpp"
#include "../tests/integration/health/requests.hpp"

namespace {

using namespace std::chrono_literals;
using namespace poise::health;
using tests::Loop;
using tests::Manner;
using tests::WebServer;
using Clock = std::chrono::steady_clock;

MonitorOptions tenth() {
  MonitorOptions options;
  options.interval = 1s;
  options.ejection = {.base = 3s, .unreachable = 500ms, .max = 30s};
  options.slow_start.window = 3s;
  return options;
}
constexpr ProbeOptions tenth_probes{.interval = 500ms,
                                    .timeout = 100ms,
                                    .doubt_interval = 100ms,
                                    .max_down_interval = 3s,
                                    .spread = 100ms};

struct Times {
  std::optional<Clock::duration> noticed{};
  std::optional<Clock::duration> isolated{};
  std::optional<Clock::duration> recovered{};
  std::uint64_t failed = 0;
};

/// Runs one incident. `wrong` and `right` make the first server misbehave and behave.
template <class Monitor, class Wrong, class Right>
Times incident(bool probes, Monitor const& monitor, std::vector<WebServer*> const& servers,
               Wrong const& wrong, Right const& right) {
  std::vector<std::string> addresses;
  for (auto* each : servers) addresses.push_back(each->address());
  poise::Balancer<poise::P2C, void, poise::Runtime<poise::CycleClock, Monitor>> balancer{
      poise::endpoints(addresses), {}, {.observers = {monitor}}};
  poise::Ticker ticker;
  auto const kept = ticker.watch(balancer, 100ms);
  Loop loop;
  std::optional<poise::asio::Prober> prober;
  if (probes)
    prober.emplace(loop.executor(), balancer, monitor, poise::asio::HttpProbe{}, tenth_probes);

  std::atomic<bool> stopping{false};
  std::atomic<std::uint64_t> failed{0};
  std::vector<std::thread> clients;
  for (int i = 0; i < 4; ++i)
    clients.emplace_back([&] {
      while (!stopping) {
        auto lease = balancer.pick();
        if (!lease) continue;
        auto const ending = tests::fetch(lease->address());
        if (is_failure(ending)) ++failed;
        lease.finish(ending);
        std::this_thread::sleep_for(1ms);
      }
    });

  auto const phase = [&] { return monitor.phase(addresses[0]).value_or(Phase::healthy); };
  auto const until = [&](auto const& condition) -> std::optional<Clock::duration> {
    auto const start = Clock::now();
    while (!condition()) {
      if (Clock::now() - start > 8s) return std::nullopt;
      std::this_thread::sleep_for(200us);
    }
    return Clock::now() - start;
  };
  std::this_thread::sleep_for(1200ms);
  failed = 0;
  Times times;
  auto const began = Clock::now();
  wrong();
  if (until([&] { return phase() != Phase::healthy; })) times.noticed = Clock::now() - began;
  if (until([&] { return phase() == Phase::ejected; })) times.isolated = Clock::now() - began;
  times.failed = failed;
  right();
  if (times.isolated)
    times.recovered =
        until([&] { return phase() == Phase::slow_start || phase() == Phase::healthy; });
  stopping = true;
  for (auto& client : clients) client.join();
  return times;
}

void print(std::string_view what, std::string_view with, Times const& times) {
  auto const text = [](std::optional<Clock::duration> time) {
    return time ? fmt::format("{:.0f} ms", std::chrono::duration<double, std::milli>{*time}.count())
                : std::string{"never"};
  };
  fmt::print("{:<12} {:<8} {:>10} {:>10} {:>10} {:>8}\n", what, with, text(times.noticed),
             text(times.isolated), text(times.recovered), times.failed);
}

using Passive = Monitor<Consecutive, FailureRate, SuccessRate, Latency>;
using Silent = Monitor<>;

template <class Wrong, class Right>
void compare(std::string_view what, std::vector<WebServer*> const& servers, Wrong const& wrong,
             Right const& right) {
  auto const slow_ejects = Latency{.intervals = 2, .enforcement = {.probability = 1}};
  Passive const first{tenth(), {}, {}, {}, slow_ejects};
  print(what, "passive", incident(false, first, servers, wrong, right));
  print("", "active", incident(true, Silent{tenth()}, servers, wrong, right));
  Passive const second{tenth(), {}, {}, {}, slow_ejects};
  print("", "both", incident(true, second, servers, wrong, right));
}

}  // namespace

int main() {
  Loop loop;
  std::vector<std::unique_ptr<WebServer>> owned;
  std::vector<WebServer*> servers;
  for (int i = 0; i < 5; ++i) {
    owned.push_back(std::make_unique<WebServer>(loop));
    servers.push_back(owned.back().get());
  }
  auto& bad = *servers[0];
  auto const behave = [&](Manner manner) { return [&bad, manner] { bad.behave(manner); }; };
  auto const good = behave(Manner::good);
  fmt::print("{:<12} {:<8} {:>10} {:>10} {:>10} {:>8}\n", "server 1", "with", "noticed", "isolated",
             "back after", "failed");
  compare("killed", servers, [&] { bad.kill(); }, [&] { bad.revive(); });
  compare("hung", servers, behave(Manner::hung), good);
  compare("slow", servers, behave(Manner::slow), good);
  compare("failing", servers, behave(Manner::failing), good);
  compare("resetting", servers, behave(Manner::resetting), good);
  return 0;
}
