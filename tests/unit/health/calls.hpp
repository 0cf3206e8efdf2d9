// SPDX-License-Identifier: MIT
#pragma once

// Whole calls, with retries, against servers that break and are mended, in virtual time: open loop,
// a tick each second, and probes if wanted.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <poise/compose/any_policy.hpp>
#include <poise/engine/call.hpp>
#include <poise/health/monitor.hpp>
#include <poise/poise.hpp>

#include "support/servers.hpp"

namespace tests {

/// How a server answers.
struct Behaviour {
  poise::Result result = poise::Result::success;
  poise::Duration after = std::chrono::milliseconds{10};
};
inline constexpr Behaviour well{};
inline constexpr Behaviour refuses{poise::Result::refused, std::chrono::microseconds{100}};
inline constexpr Behaviour fails{poise::Result::error, std::chrono::milliseconds{1}};
inline constexpr Behaviour resets{poise::Result::reset, std::chrono::milliseconds{1}};
inline constexpr Behaviour hangs{poise::Result::timeout, std::chrono::seconds{1}};
inline constexpr Behaviour rejects{poise::Result::rejected, std::chrono::microseconds{100}};

/// An observer without hooks in place of a monitor.
struct NoMonitor {
  static constexpr bool uses_time = true;
};

template <class Monitor = poise::health::Standard>
class Calls {
 public:
  using Runtime = poise::Runtime<poise::VirtualClock, Monitor>;
  using Balancer = poise::Balancer<poise::AnyPolicy, void, Runtime>;

  Calls(std::vector<poise::Endpoint> endpoints, poise::AnyPolicy policy, Monitor with = {})
      : monitor{with},
        servers(endpoints.size()),
        balancer{std::move(endpoints),
                 std::move(policy),
                 {.clock = clock, .seed = 1, .observers = {std::move(with)}}} {
    clock.advance(std::chrono::hours{1});
    next_tick_ = clock.now();
  }

  /// So many calls a second, evenly.
  void run(poise::Duration time, double per_second) {
    auto const gap = poise::Duration{static_cast<poise::Duration::rep>(1e9 / per_second)};
    auto const end = clock.now() + time;
    for (auto next = clock.now() + gap; next <= end; next += gap) {
      pass_until(next);
      call();
    }
    pass_until(end);
  }

  void pass_until(poise::Time time) {
    for (;;) {
      auto const due = events_.empty() ? poise::Time::max() : events_.begin()->first;
      if (std::min(due, ticks ? next_tick_ : poise::Time::max()) > time) break;
      if (ticks && next_tick_ <= due) {
        clock.set(next_tick_);
        if (probes) probe();
        balancer.tick();
        next_tick_ += std::chrono::seconds{1};
      } else {
        auto event = events_.extract(events_.begin());
        clock.set(std::max(clock.now(), event.key()));
        event.mapped()();
      }
    }
    clock.set(time);
  }

  /// Since the last look: calls that failed, of all that ended, in percent.
  double failed_percent() {
    auto const all = std::exchange(ended, 0U);
    auto const bad = std::exchange(failed, 0U);
    return all == 0 ? 0 : 100.0 * static_cast<double>(bad) / static_cast<double>(all);
  }
  /// Attempts at each server since the last look.
  std::vector<std::uint64_t> attempts() {
    auto result = std::exchange(attempts_, {});
    result.resize(servers.size());
    return result;
  }

  poise::VirtualClock clock{};
  Monitor monitor;
  std::vector<Behaviour> servers;
  Balancer balancer;
  bool probes = false;
  bool ticks = true;
  std::uint64_t ended = 0;
  std::uint64_t failed = 0;
  std::uint64_t refused = 0;  // calls that found no backend at all

 private:
  using Core =
      std::remove_cvref_t<decltype(*poise::detail::Inside::core(std::declval<Balancer const&>()))>;
  using Call = poise::detail::Call<Core>;
  struct Flight {
    explicit Flight(Core& core)
        : call{core, request, poise::detail::Terms{core, request, nullptr}, nullptr} {}
    poise::Request request{};
    Call call;
    typename Call::ActiveAttempt attempt{};
  };

  void call() {
    auto flight = std::make_shared<Flight>(*poise::detail::Inside::core(balancer));
    try {
      flight->attempt = flight->call.begin();
    } catch (poise::NoBackend const&) {
      ++refused, ++failed, ++ended;
      return;
    }
    attempt(flight);
  }

  void attempt(std::shared_ptr<Flight> const& flight) {
    auto const number = static_cast<std::size_t>(std::stoul(flight->attempt.lease->id()));
    attempts_.resize(servers.size());
    ++attempts_[number];
    auto const how = servers[number];
    events_.emplace(clock.now() + how.after, [=, this] { finish(flight, how.result); });
  }

  void finish(std::shared_ptr<Flight> const& flight, poise::Result result) {
    if (auto const pause = flight->call.ended(flight->attempt, result)) {
      events_.emplace(clock.now() + *pause, [=, this] {
        if (flight->call.again(flight->attempt, *pause)) return attempt(flight);
        ++ended, ++failed;
      });
      return;
    }
    ++ended;
    failed += result == poise::Result::success ? 0U : 1U;
  }

  /// Each server each second: down after three failures, up after two successes.
  void probe() {
    if constexpr (!std::is_same_v<Monitor, NoMonitor>) {
      answers_.resize(servers.size());
      for (std::size_t i = 0; i < servers.size(); ++i) {
        bool const passed = servers[i].result == poise::Result::success;
        auto& answer = answers_[i];
        answer = passed ? std::max(answer, 0) + 1 : std::min(answer, 0) - 1;
        using poise::health::Signal;
        if (answer == 2) monitor.report(std::to_string(i), Signal::up, "probe");
        if (answer <= -3) monitor.report(std::to_string(i), Signal::down, "probe");
      }
    }
  }

  std::multimap<poise::Time, std::function<void()>> events_{};
  std::vector<std::uint64_t> attempts_{};
  std::vector<int> answers_{};
  poise::Time next_tick_{};
};

}  // namespace tests
