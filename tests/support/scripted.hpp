// SPDX-License-Identifier: MIT
#pragma once

// A policy and an observer whose hooks a test writes as lambdas, so that one balancer type serves
// many tests. Copies share their hooks.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include <poise/balancer.hpp>
#include <poise/policy/round_robin.hpp>
#include <poise/runtime.hpp>

#include "clock.hpp"

namespace tests {

/// Round robin where a hook is not set.
struct Scripted {
  static constexpr char const* name = "scripted";
  struct Plan {
    std::size_t size = 0;  // of the candidates it was made for
  };
  struct Hooks {
    std::function<std::size_t(poise::Candidates const&, poise::Context&)> pick{};
    std::function<void(poise::Candidates const&)> plan{};
    std::function<bool(poise::Candidates const&, std::size_t, std::uint32_t)> admit{};
    std::function<void(poise::Finish&)> on_finish{};
    std::function<void(poise::Time)> on_tick{};
    std::function<poise::Decision(poise::Attempt const&)> decide{};
    poise::CallTimeouts timeouts{};
    bool uses_time = false;
  };
  std::shared_ptr<Hooks> hooks = std::make_shared<Hooks>();
  poise::RoundRobin otherwise{};

  [[nodiscard]] poise::Traits traits() const { return {.uses_time = hooks->uses_time}; }
  [[nodiscard]] Plan plan(poise::Candidates const& candidates, Plan const*) const {
    if (hooks->plan) hooks->plan(candidates);
    return {candidates.size()};
  }
  std::size_t pick(Plan const&, poise::Candidates const& candidates,
                   poise::Context& context) const {
    if (hooks->pick) return hooks->pick(candidates, context);
    if (!context.unrestricted()) return context.first_usable(candidates, 0);  // "a", "b", "c"
    return otherwise.pick(candidates, context);
  }
  bool admit(poise::Candidates const& candidates, std::size_t i, std::uint32_t in_flight,
             poise::Context&) const {
    return !hooks->admit || hooks->admit(candidates, i, in_flight);
  }
  void on_finish(poise::Finish& finish) const {
    if (hooks->on_finish) hooks->on_finish(finish);
  }
  void on_tick(poise::Time now) const {
    if (hooks->on_tick) hooks->on_tick(now);
  }
  [[nodiscard]] poise::Decision decide(poise::Attempt const& attempt) const {
    return hooks->decide ? hooks->decide(attempt) : poise::Decision{};
  }
  [[nodiscard]] poise::CallTimeouts timeouts(poise::Request const&) const {
    return hooks->timeouts;
  }
};

/// Hears everything; does nothing where a hook is not set.
struct Spy {
  struct State {
    int finished = 0;
  };
  struct Hooks {
    std::function<void(poise::Picked const&)> on_pick{};
    std::function<void(poise::Refused const&)> on_refused{};
    std::function<void(poise::Finished const&)> on_finish{};
    std::function<void(poise::Event const&)> on_event{};
    std::function<void(poise::Called const&)> on_call{};
    std::function<bool(poise::Time, std::span<poise::BackendView>)> on_tick{};
    std::function<void(std::span<poise::BackendView>)> arrange{};
  };
  std::shared_ptr<Hooks> hooks = std::make_shared<Hooks>();

  void on_pick(poise::Picked const& event) const {
    if (hooks->on_pick) hooks->on_pick(event);
  }
  void on_refused(poise::Refused const& event) const {
    if (hooks->on_refused) hooks->on_refused(event);
  }
  void on_finish(poise::Finished const& event, State& state) const {
    ++state.finished;
    if (hooks->on_finish) hooks->on_finish(event);
  }
  void on_event(poise::Event const& event) const {
    if (hooks->on_event) hooks->on_event(event);
  }
  void on_call(poise::Called const& called) const {
    if (hooks->on_call) hooks->on_call(called);
  }
  bool on_tick(poise::Time now, std::span<poise::BackendView> all) const {
    return hooks->on_tick && hooks->on_tick(now, all);
  }
  void arrange(std::span<poise::BackendView> all) const {
    if (hooks->arrange) hooks->arrange(all);
  }
};

/// A balancer with everything scripted, its clock and its hooks.
struct Scene {
  Clock clock{};
  Scripted policy{};
  Spy spy{};
  poise::Balancer<Scripted, void, poise::Runtime<Clock, Spy>> balancer;

  explicit Scene(std::vector<poise::Endpoint> endpoints)
      : balancer{std::move(endpoints), policy, {.clock = clock, .seed = 1, .observers = {spy}}} {}
};

}  // namespace tests
