// SPDX-License-Identifier: MIT

// Changes from inside callbacks: observers may make them, hooks that run inside a pick or a change
// may not, and are told so instead of hanging. Whatever is refused, nothing is lost.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include <poise/balancer.hpp>
#include <poise/policy/round_robin.hpp>

#include "stress/team.hpp"
#include "support/catch.hpp"

namespace {

using poise::Candidates;
using poise::Context;
using poise::Endpoint;
using poise::HealthState;
using poise::Result;
using poise::UpdateRefused;
using tests::Number;

std::vector<Endpoint> abc() { return poise::endpoints({"a", "b", "c"}); }

/// What a hook does, and how often it was called; set when the balancer exists.
struct Script {
  std::function<void()> run{};
  Number calls{0};
  Number refused{0};

  void play() {
    calls.add(1);
    if (!run) return;
    try {
      run();
    } catch (UpdateRefused const&) {
      refused.add(1);
      throw;
    }
  }
};

/// A policy every hook of which plays a script, if it has one.
struct Scripted {
  struct Plan {};
  std::shared_ptr<Script> in_pick = std::make_shared<Script>();
  std::shared_ptr<Script> in_plan = std::make_shared<Script>();
  std::shared_ptr<Script> in_admit = std::make_shared<Script>();
  std::shared_ptr<Script> in_finish = std::make_shared<Script>();
  std::shared_ptr<Script> in_tick = std::make_shared<Script>();

  [[nodiscard]] Plan plan(Candidates const&, Plan const*) const {
    in_plan->play();
    return {};
  }
  std::size_t pick(Plan const&, Candidates const& candidates, Context& context) const {
    in_pick->play();
    return context.random.below(candidates.size());
  }
  bool admit(Plan const&, Candidates const&, std::size_t, std::uint32_t, Context&) const {
    in_admit->play();
    return true;
  }
  void on_finish(poise::Finish&) const { in_finish->play(); }
  void on_tick(poise::Time) const { in_tick->play(); }
};

using Servers = poise::Balancer<Scripted>;

/// Every change there is, each of which must be refused.
std::vector<std::function<void()>> all_changes(Servers& servers) {
  return {
      [&] { servers.update(poise::endpoints({"x"})); },
      [&] { servers.add({.id = "x", .address = "x"}); },
      [&] { servers.remove("a"); },
      [&] { servers.clear(); },
      [&] { servers.drain("a"); },
      [&] { servers.undrain("a"); },
      [&] { servers.set_weight("a", 2); },
      [&] { servers.set_health("a", HealthState::unhealthy); },
      [&] { servers.report_health("a", HealthState::unhealthy); },
      [&] { servers.set_admission("a", {.max_in_flight = 1}); },
      [&] { servers.set_policy(Scripted{}); },
      [&] { servers.tick(); },
      [&] { (void)servers.stats(); },
  };
}

void check_untouched(Servers& servers) {
  auto const stats = servers.stats();
  REQUIRE(stats.backends.size() == 3);
  for (auto const& backend : stats.backends) {
    CHECK(backend.in_flight == 0);
    CHECK(backend.weight == 1);
    CHECK(backend.health == HealthState::healthy);
    CHECK_FALSE(backend.drained);
  }
  servers.add({.id = "d", .address = "d"});  // the lock is free
  servers.remove("d");
}

}  // namespace

TEST_CASE("a change from inside a pick is refused, and the pick counts nothing") {
  Scripted policy;
  Servers servers{abc(), policy};
  for (auto const& script : {policy.in_pick, policy.in_admit})
    for (auto const& change : all_changes(servers)) {
      script->run = change;
      CHECK_THROWS_AS(servers.pick(), UpdateRefused);
      script->run = {};
    }
  check_untouched(servers);
  for (auto const& backend : servers.stats().backends) CHECK(backend.total == 0);
}

TEST_CASE("a change from a policy's on_finish is refused and counted, and the request ends") {
  Scripted policy;
  Servers servers{abc(), policy};
  std::uint64_t refused = 0;
  for (auto const& change : all_changes(servers)) {
    auto lease = servers.pick();
    policy.in_finish->run = change;
    lease.finish();
    policy.in_finish->run = {};
    CHECK(servers.stats().observer_failures == ++refused);
  }
  check_untouched(servers);
}

TEST_CASE("a change from inside a change is refused, and neither of the two is made") {
  Scripted policy;
  Servers servers{abc(), policy};
  for (auto const& change : all_changes(servers)) {
    policy.in_plan->run = change;
    CHECK_THROWS_AS(servers.drain("b"), UpdateRefused);
    CHECK_THROWS_AS(servers.add({.id = "x", .address = "x"}), UpdateRefused);
    policy.in_plan->run = {};
    policy.in_tick->run = change;
    CHECK_THROWS_AS(servers.tick(), UpdateRefused);
    policy.in_tick->run = {};
    check_untouched(servers);
  }
}

TEST_CASE("a payload factory that changes its balancer is refused, and nothing was added") {
  using WithPayload = poise::Balancer<poise::RoundRobin, int>;
  WithPayload* self = nullptr;
  WithPayload servers{abc(), [&](Endpoint const& endpoint) {
                        if (endpoint.id == "x") self->remove("a");
                        return 1;
                      }};
  self = &servers;
  CHECK_THROWS_AS(servers.add({.id = "x", .address = "x"}), UpdateRefused);
  CHECK(servers.stats().backends.size() == 3);
  servers.add({.id = "y", .address = "y"});
  CHECK(servers.stats().backends.size() == 4);
}

namespace {

/// A rule both hooks of which play a script.
struct ScriptedRule {
  std::shared_ptr<Script> in_tick = std::make_shared<Script>();
  std::shared_ptr<Script> in_arrange = std::make_shared<Script>();
  bool on_tick(poise::Time, std::span<poise::BackendView>) const {
    in_tick->play();
    return false;
  }
  void arrange(std::span<poise::BackendView>) const { in_arrange->play(); }
};

/// An observer all hooks of which play a script. They may change the balancer.
struct ScriptedObserver {
  std::shared_ptr<Script> in_pick = std::make_shared<Script>();
  std::shared_ptr<Script> in_finish = std::make_shared<Script>();
  std::shared_ptr<Script> in_event = std::make_shared<Script>();
  void on_pick(poise::Picked const&) const { in_pick->play(); }
  void on_finish(poise::Finished const&) const { in_finish->play(); }
  void on_event(poise::Event const&) const { in_event->play(); }
};

template <class... Observers>
using Monitored =
    poise::Balancer<poise::RoundRobin, void, poise::Runtime<poise::SteadyClock, Observers...>>;

}  // namespace

TEST_CASE("a rule that changes its balancer is refused, and the change it sits in is not made") {
  ScriptedRule rule;
  Monitored<ScriptedRule> servers{abc(), {}, {.observers = {rule}}};
  rule.in_tick->run = rule.in_arrange->run = [&] { servers.remove("a"); };
  CHECK_THROWS_AS(servers.tick(), UpdateRefused);
  CHECK_THROWS_AS(servers.drain("b"), UpdateRefused);
  rule.in_tick->run = rule.in_arrange->run = {};
  CHECK(servers.stats().backends.size() == 3);
  CHECK_FALSE(servers.stats().backends[1].drained);
  servers.remove("a");
  CHECK(servers.stats().backends.size() == 2);
}

TEST_CASE("an observer may change the balancer in every hook") {
  ScriptedObserver observer;
  Monitored<ScriptedObserver> servers{abc(), {}, {.observers = {observer}}};
  observer.in_pick->run = [&] { servers.set_weight("a", 3); };
  observer.in_finish->run = [&] { servers.drain("b"); };
  observer.in_event->run = [&] {  // an event may cause others
    if (observer.in_event->calls.load() < 10)
      servers.set_weight("c", 1 + static_cast<std::uint32_t>(observer.in_event->calls.load()));
  };
  servers.pick().finish();
  auto const stats = servers.stats();
  CHECK(stats.observer_failures == 0);
  CHECK(stats.backends[0].weight == 3);
  CHECK(stats.backends[1].drained);
  CHECK(stats.backends[2].weight >= 9);
}

namespace {

/// Takes out what it hears of, puts back what was taken out.
struct Meddler {
  Monitored<Meddler>* servers = nullptr;

  void on_finish(poise::Finished const& event) const {
    if (servers == nullptr) return;
    if (event.outcome.result == Result::error) servers->drain(event.backend.id());
    else event.report(HealthState::healthy);
  }
  void on_event(poise::Event const& event) const {
    if (servers != nullptr && event.kind == poise::Event::Kind::drained) servers->undrain(event.id);
  }
};

struct Client {
  explicit Client(Monitored<Meddler>& balancer) : servers{balancer} {}
  void work() {
    auto lease = servers.pick();
    if (lease) lease.finish(++picks % 5 == 0 ? Result::error : Result::success);
  }
  Monitored<Meddler>& servers;
  std::uint64_t picks = 0;
};

}  // namespace

TEST_CASE(
    "callbacks on many threads may change the balancer at once, and all their changes are made") {
  Monitored<Meddler> servers{abc()};
  servers.observer<Meddler>().servers = &servers;
  {
    tests::Team<Client> clients{3, servers};
    for (tests::Rounds rounds{50}; rounds.next();) {
      servers.add({.id = "d", .address = "d"});
      servers.set_weight("a", 1 + static_cast<std::uint32_t>(rounds.made() % 3));
      servers.update(abc());
    }
    for (auto const& client : clients.stop()) CHECK(client.picks > 0);
  }
  auto const stats = servers.stats();
  CHECK(stats.backends.size() == 3);
  for (auto const& backend : stats.backends) {
    CHECK_FALSE(backend.drained);
    CHECK(backend.in_flight == 0);
  }
}

TEST_CASE("picks go on while a factory takes its time") {
  Number slow{0};
  poise::Balancer<poise::RoundRobin, int> servers{abc(), [&](Endpoint const& endpoint) {
                                                    if (endpoint.id == "slow") {
                                                      slow.store(1);
                                                      while (slow.load() != 2)
                                                        std::this_thread::yield();
                                                    }
                                                    return 1;
                                                  }};
  std::thread changer{[&] { servers.add({.id = "slow", .address = "slow"}); }};
  while (slow.load() != 1) std::this_thread::yield();
  int picked = 0;
  for (int i = 0; i < 1000; ++i)
    if (servers.pick()) ++picked;
  CHECK(picked == 1000);
  slow.store(2);
  changer.join();
  CHECK(servers.stats().backends.size() == 4);
}

namespace {

/// Counts per backend what it picked and what it hears of.
struct Listener {
  struct State {
    Number ended{0};
  };
  std::shared_ptr<Number> heard = std::make_shared<Number>(0);

  std::size_t pick(Candidates const& candidates, Context& context) const {
    return context.random.below(candidates.size());
  }
  void on_finish(poise::Finish& finish) const {
    finish.state<State>().ended.add(1);
    heard->add(1);
  }
};

struct Caller {
  explicit Caller(poise::Balancer<Listener>& balancer) : servers{balancer} {}
  void work() {
    servers.pick().finish();
    ++picks;
  }
  poise::Balancer<Listener>& servers;
  std::int64_t picks = 0;
};

}  // namespace

TEST_CASE("a policy is notified of every outcome, also while its backends change places") {
  Listener policy;
  poise::Balancer<Listener> servers{abc(), policy};
  tests::Team<Caller> callers{2, servers};
  for (tests::Rounds rounds{100}; rounds.next();) {
    auto endpoints = abc();
    std::rotate(endpoints.begin(), endpoints.begin() + rounds.made() % 3, endpoints.end());
    servers.update(endpoints);
  }
  std::int64_t picks = 0;
  for (auto const& caller : callers.stop()) picks += caller.picks;
  CHECK(picks > 0);
  CHECK(policy.heard->load() == picks);
}
