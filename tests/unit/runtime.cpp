// SPDX-License-Identifier: MIT
// Those who watch: observers hear what happens, rules decide, and neither can do harm.

#include <poise/runtime.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "support/scripted.hpp"
#include "support/servers.hpp"
#include "support/text.hpp"

namespace unit_runtime {

using namespace std::chrono_literals;
using poise::HealthState;
using poise::Result;
using tests::letters;
using tests::mentions;
using tests::pick_of;
using tests::picks;
using tests::Scene;
using tests::stats_of;
using tests::thrown;
using Standings = std::span<poise::BackendView>;

namespace {

/// What the scene's observers hear of changes, as "drained a; weight b".
std::shared_ptr<std::string> note_events(Scene& scene) {
  auto text = std::make_shared<std::string>();
  scene.spy.hooks->on_event = [text](poise::Event const& event) {
    *text += (text->empty() ? "" : ", ") + std::string{name(event.kind)} +
             (event.id.empty() ? "" : " " + event.id);
  };
  return text;
}

}  // namespace

// -- observers
// ---------------------------------------------------------------------------------------

TEST_CASE("an observer is notified of every pick, with its request and backend") {
  Scene scene{letters("ab")};
  std::string heard;
  scene.spy.hooks->on_pick = [&](poise::Picked const& event) {
    heard += std::string{event.request.id} + event.backend.id();
  };
  (void)scene.balancer.pick({.id = "1"});
  (void)scene.balancer.pick({.id = "2"});
  CHECK(heard == "1a2b");
}

TEST_CASE("an observer is notified of every failed pick and its reason") {
  Scene scene{letters("ab")};
  scene.balancer.drain("a");
  scene.balancer.drain("b");
  poise::Error heard;
  scene.spy.hooks->on_refused = [&](poise::Refused const& event) { heard = event.error; };
  (void)scene.balancer.pick();
  CHECK(heard.drained == 2);
}

TEST_CASE("an observer is notified of every outcome once") {
  Scene scene{letters("a")};
  std::vector<Result> heard;
  scene.spy.hooks->on_finish = [&](poise::Finished const& event) {
    heard.push_back(event.outcome.result);
  };
  auto lease = scene.balancer.pick();
  lease.finish(Result::timeout);
  lease.finish();
  {
    auto const dropped = scene.balancer.pick();
  }
  CHECK(heard == std::vector{Result::timeout, Result::abandoned});
}

TEST_CASE("an observer gets the latency if it is measured") {
  Scene scene{letters("a")};
  std::optional<poise::Duration> heard;
  scene.spy.hooks->on_finish = [&](poise::Finished const& event) { heard = event.latency; };
  scene.balancer.pick().finish();
  CHECK_FALSE(heard);
  scene.balancer.pick().finish(Result::success, 3ms);
  CHECK(heard == 3ms);
  scene.policy.hooks->uses_time = true;
  scene.balancer.set_policy(scene.policy);
  auto lease = scene.balancer.pick();
  scene.clock.advance(8ms);
  lease.finish();
  CHECK(heard == 8ms);
}

TEST_CASE("neither a completed request nor statistics wait for a change that is in progress") {
  Scene scene{letters("ab")};
  scene.spy.hooks->on_finish = [](poise::Finished const& event) {
    event.report(poise::HealthState::unhealthy);
  };
  auto lease = scene.balancer.pick();
  auto const id = lease->id();
  std::atomic<int> planning{0};
  std::atomic<bool> go{false};
  scene.policy.hooks->plan = [&](poise::Candidates const&) {
    if (planning++ == 0)
      while (!go.load()) std::this_thread::yield();
  };
  std::thread changer{[&] { scene.balancer.set_weight("b", 2); }};
  while (planning.load() == 0) std::this_thread::yield();
  lease.finish(Result::error);
  CHECK(stats_of(scene.balancer, id).health == poise::HealthState::healthy);
  go.store(true);
  changer.join();
  // The thread that made the change has served the note.
  CHECK(stats_of(scene.balancer, id).health == poise::HealthState::unhealthy);
}

TEST_CASE("picks, statistics and other changes go on while a factory takes its time") {
  std::atomic<bool> making{false};
  std::atomic<bool> go{false};
  poise::Balancer<poise::RoundRobin, int> balancer{letters("a"),
                                                   [&](poise::Endpoint const& endpoint) {
                                                     if (endpoint.id == "b") {
                                                       making.store(true);
                                                       while (!go.load()) std::this_thread::yield();
                                                     }
                                                     return 1;
                                                   }};
  std::thread changer{[&] { balancer.add({.id = "b"}); }};
  while (!making.load()) std::this_thread::yield();
  balancer.report_health("a", poise::HealthState::degraded);
  balancer.tick();
  CHECK(balancer.stats().backends.size() == 1);
  CHECK(balancer.pick());
  go.store(true);
  changer.join();
  CHECK(balancer.stats().backends.size() == 2);
}

TEST_CASE("an abandoned request has no latency to tell") {
  Scene scene{letters("a")};
  scene.policy.hooks->uses_time = true;
  scene.balancer.set_policy(scene.policy);
  std::optional<poise::Duration> heard = 1ms;
  scene.spy.hooks->on_finish = [&](poise::Finished const& event) { heard = event.latency; };
  scene.balancer.pick() = {};
  CHECK_FALSE(heard);
}

TEST_CASE("the request still counts as in flight while observers are notified of its outcome") {
  Scene scene{letters("a")};
  std::uint32_t in_flight = 0;
  scene.spy.hooks->on_finish = [&](poise::Finished const& event) {
    in_flight = event.backend.in_flight();
  };
  scene.balancer.pick().finish();
  CHECK(in_flight == 1);
}

TEST_CASE("an observer is notified of every change, with its own kind of event") {
  Scene scene{letters("ab")};
  auto const heard = note_events(scene);
  scene.balancer.add({.id = "c"});
  scene.balancer.drain("a");
  scene.balancer.undrain("a");
  scene.balancer.set_weight("b", 3);
  scene.balancer.set_health("c", HealthState::unhealthy);
  scene.balancer.set_policy(scene.policy);
  scene.balancer.remove("c");
  CHECK(*heard ==
        "added c, drained a, empty a, undrained a, weight b, health c, policy, removed c");
}

TEST_CASE("an observer is notified of an update as one event per changed backend") {
  Scene scene{letters("abc")};
  auto const heard = note_events(scene);
  scene.balancer.update(
      {{.id = "a", .address = "a"}, {.id = "b", .address = "b", .weight = 2}, {.id = "x"}});
  CHECK(*heard == "weight b, added x, removed c");
}

TEST_CASE("a backend with a new address is reported as added and removed") {
  Scene scene{letters("a")};
  auto const heard = note_events(scene);
  scene.balancer.update({{.id = "a", .address = "elsewhere"}});
  CHECK(*heard == "added a, removed a");
}

TEST_CASE("a change that was refused is no event") {
  Scene scene{letters("ab")};
  auto const heard = note_events(scene);
  scene.policy.hooks->plan = [](auto const&) { throw std::runtime_error{"no"}; };
  CHECK_THROWS(scene.balancer.update(letters("xyz")));
  CHECK(heard->empty());
}

TEST_CASE("an event has the new health and the new weight") {
  Scene scene{letters("ab")};
  std::vector<poise::Event> events;
  scene.spy.hooks->on_event = [&](poise::Event const& event) { events.push_back(event); };
  scene.balancer.set_weight("a", 7);
  scene.balancer.report_health("b", HealthState::degraded);
  REQUIRE(events.size() == 2);
  CHECK(events[0].weight == 7);
  CHECK(events[1].health == HealthState::degraded);
}

TEST_CASE("a finding that the operator overrides is no event") {
  Scene scene{letters("a")};
  scene.balancer.set_health("a", HealthState::healthy);
  auto const heard = note_events(scene);
  scene.balancer.report_health("a", HealthState::unhealthy);
  CHECK(heard->empty());
}

TEST_CASE("an observer keeps data of its own per backend and over updates") {
  Scene scene{letters("ab")};
  for (int i = 0; i < 3; ++i) pick_of(scene.balancer, "a").finish();
  scene.balancer.update(letters("ac"));
  pick_of(scene.balancer, "a").finish();
  int finished = 0;
  scene.spy.hooks->on_tick = [&](poise::Time, Standings all) {
    finished = all[0].state<tests::Spy::State>().finished;
    return false;
  };
  scene.balancer.tick();
  // What pick_of passed over ended on others.
  CHECK(finished == 4);
}

TEST_CASE("observers that throw are counted and affect no request") {
  Scene scene{letters("ab")};
  scene.spy.hooks->on_pick = [](auto const&) { throw std::runtime_error{"pick"}; };
  scene.spy.hooks->on_finish = [](auto const&) { throw std::runtime_error{"finish"}; };
  scene.spy.hooks->on_event = [](auto const&) { throw 42; };
  scene.spy.hooks->on_refused = [](auto const&) { throw std::runtime_error{"refused"}; };
  auto lease = scene.balancer.pick();
  REQUIRE(lease);
  lease.finish();
  scene.balancer.drain("a");
  scene.balancer.drain("b");
  (void)scene.balancer.pick();
  // The pick and its end, two drained, two empty, the refusal.
  CHECK(scene.balancer.stats().observer_failures == 7);
  CHECK(stats_of(scene.balancer, "a").in_flight == 0);
}

TEST_CASE("a policy whose on_finish throws is counted and affects no request") {
  Scene scene{letters("a")};
  scene.policy.hooks->on_finish = [](auto&) { throw std::runtime_error{"finish"}; };
  scene.balancer.pick().finish(Result::error);
  CHECK(scene.balancer.stats().observer_failures == 1);
  CHECK(stats_of(scene.balancer, "a").failed == 1);
}

TEST_CASE("observers may use the balancer that they watch") {
  Scene scene{letters("abc")};
  scene.spy.hooks->on_finish = [&](poise::Finished const& event) {
    if (event.outcome.result == Result::refused) scene.balancer.drain(event.backend.id());
  };
  scene.spy.hooks->on_event = [&](poise::Event const& event) {
    if (event.kind == poise::Event::Kind::drained) scene.balancer.set_weight("c", 5);
  };
  auto lease = scene.balancer.pick();
  auto const id = lease->id();
  lease.finish(Result::refused);
  CHECK(stats_of(scene.balancer, id).drained);
  CHECK(stats_of(scene.balancer, "c").weight == 5);
  CHECK(scene.balancer.stats().observer_failures == 0);
}

TEST_CASE("an observer is found in the balancer by its type") {
  Scene scene{letters("a")};
  CHECK(scene.balancer.observer<tests::Spy>().hooks == scene.spy.hooks);
}

// -- reports
// -----------------------------------------------------------------------------------------

TEST_CASE("a rule's report at the end of a request is published before finish returns") {
  Scene scene{letters("ab")};
  scene.spy.hooks->on_finish = [](poise::Finished const& event) {
    if (is_failure(event.outcome.result)) event.report(HealthState::unhealthy);
  };
  pick_of(scene.balancer, "a").finish(Result::error);
  CHECK(picks(scene.balancer, 4) == "bbbb");
  CHECK(stats_of(scene.balancer, "a").health == HealthState::unhealthy);
}

TEST_CASE("a report does not override the operator") {
  Scene scene{letters("ab")};
  scene.balancer.set_health("a", HealthState::healthy);
  scene.spy.hooks->on_finish = [](poise::Finished const& event) {
    event.report(HealthState::unhealthy);
  };
  pick_of(scene.balancer, "a").finish(Result::error);
  CHECK(stats_of(scene.balancer, "a").health == HealthState::healthy);
}

TEST_CASE("a report on a backend that is gone does nothing") {
  Scene scene{letters("ab")};
  scene.spy.hooks->on_finish = [](poise::Finished const& event) {
    event.report(HealthState::unhealthy);
  };
  auto lease = pick_of(scene.balancer, "a");
  scene.balancer.remove("a");
  lease.finish(Result::error);
  CHECK(stats_of(scene.balancer, "b").health == HealthState::healthy);  // it has a's old place
  CHECK(scene.balancer.stats().observer_failures == 0);
}

TEST_CASE("a report after the balancer is gone does nothing") {
  auto scene = std::make_unique<Scene>(letters("ab"));
  scene->spy.hooks->on_finish = [](poise::Finished const& event) {
    event.report(HealthState::unhealthy);
  };
  auto lease = scene->balancer.pick();
  scene.reset();
  lease.finish(Result::error);
  CHECK_FALSE(lease);
}

// -- rules
// -------------------------------------------------------------------------------------------

TEST_CASE("all that a rule changes in one tick is published once") {
  Scene scene{letters("abcd")};
  int plans = 0;
  scene.policy.hooks->plan = [&](auto const&) { ++plans; };
  scene.spy.hooks->on_tick = [](poise::Time, Standings all) {
    for (std::size_t i = 0; i < 3; ++i) all[i].health = HealthState::unhealthy;
    return false;
  };
  scene.balancer.tick();
  CHECK(plans == 1);
  CHECK(picks(scene.balancer, 3) == "ddd");
}

TEST_CASE("a rule gets the time of the tick") {
  Scene scene{letters("a")};
  poise::Time heard{};
  scene.spy.hooks->on_tick = [&](poise::Time now, Standings) {
    heard = now;
    return false;
  };
  scene.balancer.tick(poise::Time{77s});
  CHECK(heard == poise::Time{77s});
  scene.balancer.tick();
  CHECK(heard == scene.clock.now());
}

TEST_CASE("a rule's limits hold from its tick on") {
  Scene scene{letters("ab")};
  scene.spy.hooks->on_tick = [](poise::Time, Standings all) {
    all[0].admission.max_in_flight = 0;
    return false;
  };
  scene.balancer.tick();
  CHECK(picks(scene.balancer, 4) == "bbbb");
}

TEST_CASE("a rule may have arrange called again although nothing else changed") {
  Scene scene{letters("a")};
  int arranged = 0;
  scene.spy.hooks->arrange = [&](Standings) { ++arranged; };
  scene.balancer.tick();
  CHECK(arranged == 0);
  scene.spy.hooks->on_tick = [](poise::Time, Standings) { return true; };
  scene.balancer.tick();
  CHECK(arranged == 1);
}

TEST_CASE("a rule that throws in a tick changes nothing") {
  Scene scene{letters("ab")};
  scene.spy.hooks->on_tick = [](poise::Time, Standings all) -> bool {
    all[0].health = HealthState::unhealthy;
    all[0].admission.max_in_flight = 0;
    throw std::runtime_error{"rule"};
  };
  CHECK(thrown<std::runtime_error>([&] { scene.balancer.tick(); }) == "rule");
  CHECK(stats_of(scene.balancer, "a").health == HealthState::healthy);
  CHECK(stats_of(scene.balancer, "a").admission == poise::Admission{});
}

TEST_CASE("a tick whose publication fails leaves the limits as they were") {
  Scene scene{letters("ab")};
  scene.spy.hooks->on_tick = [](poise::Time, Standings all) {
    all[0].health = HealthState::unhealthy;
    all[0].admission.max_in_flight = 0;
    return false;
  };
  scene.policy.hooks->plan = [](auto const&) { throw std::runtime_error{"no"}; };
  CHECK_THROWS(scene.balancer.tick());
  CHECK(stats_of(scene.balancer, "a").health == HealthState::healthy);
  CHECK(stats_of(scene.balancer, "a").admission == poise::Admission{});
}

TEST_CASE("a rule may not change the balancer from inside its tick") {
  Scene scene{letters("ab")};
  std::string message;
  scene.spy.hooks->on_tick = [&](poise::Time, Standings) {
    message = thrown<poise::UpdateRefused>([&] { scene.balancer.drain("a"); });
    return false;
  };
  scene.balancer.tick();
  CHECK(mentions(message, "inside its own change"));
  CHECK_FALSE(stats_of(scene.balancer, "a").drained);
}

TEST_CASE("picks see the weights that a rule arranges while the configured ones stay") {
  Scene scene{letters("ab")};
  std::uint32_t seen = 0;
  scene.policy.hooks->plan = [&](poise::Candidates const& candidates) {
    seen = candidates.weight(0);
  };
  scene.spy.hooks->arrange = [](Standings all) { all[0].weight = 40; };
  scene.balancer.set_weight("b", 2);
  CHECK(seen == 40);
  CHECK(stats_of(scene.balancer, "a").weight == 1);
}

TEST_CASE("a weight that a rule arranges to 0 takes a backend out") {
  Scene scene{letters("ab")};
  scene.spy.hooks->arrange = [](Standings all) { all[0].weight = 0; };
  scene.balancer.set_weight("b", 2);
  CHECK(picks(scene.balancer, 3) == "bbb");
}

TEST_CASE("tables kept by generation are rebuilt when a rule arranges other weights") {
  Scene scene{letters("ab")};
  std::vector<std::uint64_t> generations;
  scene.policy.hooks->plan = [&](poise::Candidates const& candidates) {
    generations.push_back(candidates.generation());
  };
  std::uint32_t weight = 1;
  scene.spy.hooks->arrange = [&](Standings all) { all[0].weight = weight; };
  scene.spy.hooks->on_tick = [](poise::Time, Standings) { return true; };
  scene.balancer.tick();
  weight = 5;
  scene.balancer.tick();
  scene.balancer.tick();
  REQUIRE(generations.size() == 3);
  CHECK(generations[1] != generations[0]);
  CHECK(generations[2] == generations[1]);
}

TEST_CASE("a rule may bring unhealthy backends back when too many are out") {
  Scene scene{letters("abc")};
  scene.spy.hooks->arrange = [](Standings all) {
    for (auto& each : all) each.health = HealthState::healthy;
  };
  for (auto const* id : {"a", "b", "c"}) scene.balancer.report_health(id, HealthState::unhealthy);
  CHECK(picks(scene.balancer, 3) == "abc");
  CHECK(stats_of(scene.balancer, "a").health == HealthState::unhealthy);
}

TEST_CASE("no rule brings back what the operator drained") {
  Scene scene{letters("ab")};
  scene.spy.hooks->arrange = [](Standings all) {
    for (auto& each : all) each.health = HealthState::healthy;
  };
  scene.balancer.drain("a");
  CHECK(picks(scene.balancer, 3) == "bbb");
}

TEST_CASE("no rule brings back what the operator declared unhealthy") {
  Scene scene{letters("ab")};
  scene.spy.hooks->arrange = [](Standings all) {
    for (auto& each : all) each.health = HealthState::healthy;
  };
  scene.balancer.set_health("a", HealthState::unhealthy);
  CHECK(picks(scene.balancer, 3) == "bbb");
}

TEST_CASE("no rule takes out what the operator declared healthy") {
  Scene scene{letters("ab")};
  scene.spy.hooks->arrange = [](Standings all) { all[0].health = HealthState::unhealthy; };
  scene.balancer.set_health("a", HealthState::healthy);
  CHECK(picks(scene.balancer, 4).find('a') != std::string::npos);
}

TEST_CASE("events have names") {
  CHECK(name(poise::Event::Kind::added) == "added");
  CHECK(name(poise::Event::Kind::policy) == "policy");
  CHECK(name(static_cast<poise::Event::Kind>(99)) == "unknown event");
}

}  // namespace unit_runtime
