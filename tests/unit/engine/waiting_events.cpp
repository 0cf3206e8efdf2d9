// SPDX-License-Identifier: MIT
// What observers are told of limits: a drained backend is empty, all are full, there is room again.

#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <poise/balancer.hpp>
#include <poise/engine/announcer.hpp>
#include <poise/health/monitor.hpp>
#include <poise/observe/event_log.hpp>
#include <poise/policy/round_robin.hpp>

#include "support/catch.hpp"
#include "support/servers.hpp"

namespace unit_engine_waiting_events {

using namespace std::chrono_literals;
using poise::Event;
using tests::letters;

namespace {

/// Writes down the events, and calls `then`.
struct Listener {
  std::shared_ptr<std::string> heard = std::make_shared<std::string>();
  std::function<void(Event const&)> then{};

  void on_event(Event const& event) const {
    if (event.kind == Event::Kind::added) return;
    *heard += (event.id.empty() ? "" : event.id + ":") + std::string{name(event.kind)} + " ";
    if (then) then(event);
  }
};
using Heard = poise::Balancer<poise::RoundRobin, void, poise::Runtime<tests::Clock, Listener>>;

struct Scene {
  tests::Clock clock{};
  Listener listener{};
  std::optional<Heard> balancer{};

  explicit Scene(std::string_view ids, std::uint32_t limit = 1, Listener with = {})
      : listener{std::move(with)} {
    auto endpoints = letters(ids);
    for (auto& each : endpoints) each.max_in_flight = limit;
    balancer.emplace(
        std::move(endpoints), poise::RoundRobin{},
        poise::Runtime<tests::Clock, Listener>{.clock = clock, .seed = 1, .observers = {listener}});
  }
  Heard* operator->() { return &*balancer; }
  /// What was heard since it was asked for last.
  std::string heard() { return std::exchange(*listener.heard, {}); }
};

}  // namespace

TEST_CASE("a backend that is drained is told to be empty when its last request ends") {
  Scene scene{"ab", 9};
  auto first = tests::pick_of(*scene.balancer, "a");
  auto second = tests::pick_of(*scene.balancer, "a");
  scene->drain("a");
  CHECK(scene.heard() == "a:drained ");
  first.finish();
  CHECK(scene.heard().empty());
  second.finish();
  CHECK(scene.heard() == "a:empty ");
  scene->tick();
  CHECK(scene.heard().empty());
}

TEST_CASE("a backend without requests is told to be empty by the drain itself") {
  Scene scene{"ab"};
  scene->apply(poise::Changes{}.drain("a").drain("b"));
  CHECK(scene.heard() == "a:drained b:drained a:empty b:empty ");
}

TEST_CASE("a backend that is taken into service again is not told to be empty") {
  Scene scene{"ab", 9};
  auto lease = tests::pick_of(*scene.balancer, "a");
  scene->drain("a");
  scene->undrain("a");
  lease.finish();
  CHECK(scene.heard() == "a:drained a:undrained ");
  lease = tests::pick_of(*scene.balancer, "a");
  scene->drain("a");
  lease.finish();
  CHECK(scene.heard() == "a:drained a:empty ");
}

TEST_CASE("a drained backend is told to be empty also if it was removed meanwhile") {
  Scene scene{"ab", 9};
  auto lease = tests::pick_of(*scene.balancer, "a");
  scene->drain("a");
  scene->remove("a");
  CHECK(scene.heard() == "a:drained a:removed ");
  lease.finish();
  CHECK(scene.heard() == "a:empty ");
}

TEST_CASE("drained and removed by one change is told to be empty, too") {
  Scene scene{"abc", 9};
  auto lease = tests::pick_of(*scene.balancer, "a");
  scene->apply(poise::Changes{}.drain("a").remove("a").drain("b").remove("b"));
  CHECK(scene.heard() == "a:drained a:removed b:drained b:removed b:empty ");
  lease.finish();
  CHECK(scene.heard() == "a:empty ");
}

TEST_CASE("drained, removed and added by one change: the old one is told to be empty") {
  Scene scene{"ab", 9};
  auto lease = tests::pick_of(*scene.balancer, "a");
  scene->apply(poise::Changes{}.drain("a").remove("a").add({.id = "a"}));
  CHECK(scene.heard() == "a:drained a:removed ");
  lease.finish();
  CHECK(scene.heard() == "a:empty ");
  CHECK_FALSE(scene->find("a")->drained());
}

TEST_CASE("what one change drains and takes back, or adds and removes, is not told to be empty") {
  Scene scene{"ab", 9};
  scene->apply(poise::Changes{}.drain("a").undrain("a").remove("a"));
  CHECK(scene.heard() == "a:drained a:undrained a:removed ");
  scene->apply(poise::Changes{}.add({.id = "c"}).drain("c").remove("c"));
  CHECK(scene.heard() == "c:drained c:removed ");
  scene->apply(poise::Changes{}.add({.id = "c"}).drain("c"));
  CHECK(scene.heard() == "c:drained c:empty ");
}

TEST_CASE("an event and a caller that wait for the same backend are both served") {
  Scene scene{"ab", 9};
  auto lease = tests::pick_of(*scene.balancer, "a");
  scene->drain("a");
  CHECK_FALSE(scene->drain_and_wait("a", 1ms));  // gives up: the event still comes
  lease.finish();
  CHECK(scene.heard() == "a:drained a:empty ");
  CHECK(scene->drain_and_wait("a", 1h));
}

TEST_CASE("nothing is told of what happens after the balancer's end") {
  Scene scene{"ab", 1};
  auto on_a = tests::pick_of(*scene.balancer, "a");
  scene->drain("a");
  auto on_b = scene->pick();
  CHECK_FALSE(scene->pick());
  CHECK(scene.heard() == "a:drained full ");
  scene.balancer.reset();
  on_a.finish();
  on_b.finish();
  CHECK(scene.heard().empty());
}

TEST_CASE("full is told once, and room when a request ends") {
  Scene scene{"ab"};
  auto leases = scene->pick_all();
  CHECK(scene.heard().empty());
  CHECK_FALSE(scene->pick());
  CHECK_FALSE(scene->pick());
  CHECK(scene.heard() == "full ");
  leases[0].finish();
  CHECK(scene.heard() == "room ");
  leases[1].finish();
  CHECK(scene.heard().empty());
}

TEST_CASE("full is told once a second at most, and room once for each") {
  Scene scene{"a"};
  for (int i = 0; i < 8; ++i) {  // one second at last
    auto lease = scene->pick();
    CHECK_FALSE(scene->pick());
    lease.finish();
    scene.clock.advance(125ms);
  }
  CHECK(scene.heard() == "full room ");
  auto const lease = scene->pick();
  CHECK_FALSE(scene->pick());
  CHECK(scene.heard() == "full ");
}

TEST_CASE("a clock that is set back does not silence the events") {
  Scene scene{"a"};
  auto lease = scene->pick();
  CHECK_FALSE(scene->pick());
  lease.finish();
  scene.clock.set(poise::Time{1s});
  lease = scene->pick();
  CHECK_FALSE(scene->pick());
  CHECK(scene.heard() == "full room full ");
}

TEST_CASE("every kind of pick that finds no room has full told") {
  for (std::string const kind : {"pick", "pick_for", "pick_many", "pick_all", "call"}) {
    CAPTURE(kind);
    Scene scene{"a"};
    auto const lease = scene->pick();
    if (kind == "pick") CHECK_FALSE(scene->pick());
    if (kind == "pick_for") CHECK_FALSE(scene->pick_for(0ms));
    if (kind == "pick_many") CHECK(scene->pick_many(2).empty());
    if (kind == "pick_all") CHECK(scene->pick_all().empty());
    if (kind == "call")
      CHECK_THROWS_AS(scene->call([](auto&) { return poise::Result::success; }), poise::NoBackend);
    CHECK(scene.heard() == "full ");
  }
}

TEST_CASE("what is not a limit of requests in flight is not full") {
  Scene scene{"ab"};
  auto const lease = tests::pick_of(*scene.balancer, "a");
  auto const only_a = [](poise::Backend const& each) { return each.id() == "a"; };
  CHECK_FALSE(scene->pick({.condition = only_a}));
  CHECK(scene.heard().empty());
  scene->set_health("b", poise::HealthState::unhealthy);
  (void)scene.heard();
  CHECK_FALSE(scene->pick());
  CHECK(scene.heard() == "full ");  // of those in service
  scene->drain("a");
  scene->undrain("a");
  (void)scene.heard();
  scene->clear();
  scene.clock.advance(2s);
  CHECK_FALSE(scene->pick());
  CHECK(scene.heard() == "a:removed b:removed ");
}

TEST_CASE("in an open panic all are in service: full is told, and requests wait for room") {
  using Runtime = poise::Runtime<tests::Clock, poise::health::Standard, Listener>;
  tests::Clock clock;
  Listener listener;
  auto endpoints = letters("abc");
  for (auto& each : endpoints) each.max_in_flight = 1;
  poise::health::Standard monitor{{.seed = 1}};
  poise::Balancer<poise::RoundRobin, void, Runtime> balancer{
      endpoints, {}, {.clock = clock, .seed = 1, .observers = {monitor, listener}}};
  for (auto const* id : {"a", "b", "c"}) monitor.report(id, poise::health::Signal::down, "probe");
  balancer.tick();
  REQUIRE(monitor.panicking());
  std::vector<decltype(balancer.pick())> leases;
  for (int i = 0; i < 3; ++i) leases.push_back(balancer.pick());
  listener.heard->clear();
  auto const none = balancer.pick();
  REQUIRE_FALSE(none);
  CHECK(none.error().refused == 3);
  CHECK(none.error().unhealthy == 0);
  CHECK(*listener.heard == "full ");
  auto const freed = leases[1]->id();
  leases[1].finish();
  CHECK(*listener.heard == "full room ");
  auto const waited = balancer.pick_for(1h);
  CHECK(waited->id() == freed);
}

TEST_CASE("a change that makes room is told, too") {
  Scene scene{"a"};
  auto const lease = scene->pick();
  CHECK_FALSE(scene->pick());
  scene->add({.id = "b"});
  CHECK(scene.heard() == "full room ");
}

TEST_CASE("room that a waiter takes is not told") {
  Scene scene{"a"};
  auto lease = scene->pick();
  auto const core = poise::detail::Inside::core(*scene.balancer);
  using Core = std::remove_cvref_t<decltype(*core)>;
  poise::detail::Waiter<Core> waiter{.request = &poise::any_request,
                                     .ready = [](auto&) noexcept {},
                                     .look_after = [](auto&, poise::Duration) noexcept {}};
  CHECK_FALSE(scene->pick());
  CHECK(core->room().wait(waiter));
  lease.finish();
  CHECK(waiter.lease);
  CHECK(scene.heard() == "full ");
  waiter.lease.finish();
  CHECK(scene.heard() == "room ");
}

TEST_CASE("an observer may use the balancer when it is told") {
  Heard* balancer = nullptr;
  std::string ids;
  Listener listener;
  listener.then = [&](Event const& event) {
    if (event.kind == Event::Kind::room) ids += balancer->pick()->id();
    if (event.kind == Event::Kind::empty) balancer->remove(event.id);
  };
  Scene scene{"ab", 1, listener};
  balancer = &*scene.balancer;
  auto leases = scene->pick_all();
  CHECK_FALSE(scene->pick());
  leases[1].finish();
  CHECK(ids == "b");
  scene->drain("a");
  leases[0].finish();
  CHECK(scene.heard() == "full room a:drained a:empty a:removed ");
  CHECK(scene->stats().observer_failures == 0);
  CHECK(tests::ids_of(*scene.balancer) == "b");
}

TEST_CASE("what happens inside of a pick is told by the next change or tick") {
  Scene scene{"ab", 9};
  auto lease = tests::pick_of(*scene.balancer, "a");
  scene->drain("a");
  auto const ends_another = [&](poise::Backend const&) {
    lease.finish();
    return true;
  };
  CHECK(scene->pick({.condition = ends_another}));
  CHECK(scene.heard() == "a:drained ");
  scene->tick();
  CHECK(scene.heard() == "a:empty ");
}

TEST_CASE("the events have sentences and levels") {
  using poise::observe::Level;
  using poise::observe::level_of;
  CHECK(poise::observe::message(Event{Event::Kind::empty, "a"}) ==
        "a: drained and empty, no request is in flight any more");
  CHECK(poise::observe::message(Event{Event::Kind::full, ""})
            .find("no room: every backend in service") == 0);
  CHECK(poise::observe::message(Event{Event::Kind::room, ""}).find("room again") == 0);
  CHECK(level_of(Event{Event::Kind::full, ""}) == Level::warning);
  CHECK(level_of(Event{Event::Kind::room, ""}) == Level::info);
}

TEST_CASE("news are told in order, those that come meanwhile last") {
  poise::detail::Announcer<int> announcer;
  std::list<int> news{1, 2};
  announcer.add(news);
  CHECK(news.empty());
  std::string told;
  announcer.tell([&](int one) {
    told += std::to_string(one);
    if (one != 1) return;
    std::list<int> more{3};
    announcer.add(more);
    announcer.tell([&](int) { told += "twice"; });
  });
  CHECK(told == "123");
}

}  // namespace unit_engine_waiting_events
