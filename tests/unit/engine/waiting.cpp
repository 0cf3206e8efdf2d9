// SPDX-License-Identifier: MIT
// Waiting for room: order, bounds, and what ends the wait. Without threads where one can do.

#include <chrono>
#include <cstddef>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <poise/balancer.hpp>
#include <poise/compose/rate_limited.hpp>
#include <poise/condition.hpp>
#include <poise/engine/waiting.hpp>

#include "support/catch.hpp"
#include "support/servers.hpp"

namespace unit_engine_waiting {

using namespace std::chrono_literals;
using poise::HealthState;
using poise::PickError;
using poise::Priority;
using poise::Result;
using tests::letters;

namespace {

using Servers = tests::AnyServers;
using Core = std::remove_cvref_t<decltype(*poise::detail::Inside::core(std::declval<Servers&>()))>;
using Waiter = poise::detail::Waiter<Core>;

auto const& core_of(Servers& balancer) { return poise::detail::Inside::core(balancer); }

/// Backends with a limit of one request each.
Servers narrow(std::string_view ids) {
  auto endpoints = letters(ids);
  for (auto& each : endpoints) each.max_in_flight = 1;
  return tests::servers_with(poise::RoundRobin{}, std::move(endpoints));
}

/// Waiters by name, and the order in which they were served.
class Line {
 public:
  explicit Line(Servers& balancer) : core_{core_of(balancer)} {}
  Line(Line const&) = delete;
  Line& operator=(Line const&) = delete;
  ~Line() {
    for (auto& each : all_) core_->room().give_up(each);
  }

  bool join(char name, poise::Request const& request = {}) {
    auto& one = all_.emplace_back(
        Named{{.request = nullptr, .ready = &Line::note, .look_after = &Line::note_time},
              request,
              name,
              &served,
              &asked});
    one.request = &one.own;
    return core_->room().wait(one);
  }
  void leave(char name) { core_->room().give_up(find(name)); }
  /// The id that was got; "" if none.
  std::string got(char name) {
    auto& one = find(name);
    return one.lease ? one.lease->id() : "";
  }
  void finish(char name) { find(name).lease.finish(); }
  poise::Error error(char name) { return find(name).error; }

  /// What it does at the time that it was asked to look.
  void look(char name) { core_->room().look(find(name)); }

  std::string served{};
  std::string asked{};  // to look again: names, and after how many milliseconds

 private:
  struct Named : Waiter {
    poise::Request own;
    char name;
    std::string* served;
    std::string* asked;
  };
  static void note_time(Waiter& waiter, poise::Duration time) noexcept {
    auto& one = static_cast<Named&>(waiter);
    *one.asked += one.name + std::to_string(time / 1ms) + " ";
  }
  static void note(Waiter& waiter) noexcept {
    auto& one = static_cast<Named&>(waiter);
    *one.served += one.name;
  }
  Named& find(char name) {
    for (auto& each : all_)
      if (each.name == name) return each;
    throw std::out_of_range{"no such waiter"};
  }

  std::shared_ptr<Core> core_;
  std::list<Named> all_{};
};

}  // namespace

TEST_CASE("who waits is served when a request ends, first come, first served") {
  auto balancer = narrow("a");
  auto lease = balancer.pick();
  Line line{balancer};
  for (char const name : std::string{"123"}) CHECK(line.join(name));
  CHECK(line.served.empty());
  CHECK(balancer.waiting() == 3);
  lease.finish();
  CHECK(line.served == "1");
  CHECK(line.got('1') == "a");
  line.finish('1');
  line.finish('2');
  CHECK(line.served == "123");
  CHECK(balancer.waiting() == 0);
  CHECK(balancer.find("a")->in_flight() == 1);
}

TEST_CASE("a lease that is abandoned makes room, too") {
  auto balancer = narrow("a");
  std::optional lease{balancer.pick()};
  Line line{balancer};
  CHECK(line.join('1'));
  lease.reset();
  CHECK(line.served == "1");
}

TEST_CASE("higher priorities go first, and within a priority who came first") {
  auto balancer = narrow("a");
  auto lease = balancer.pick();
  Line line{balancer};
  line.join('1', {.priority = Priority::low});
  line.join('2', {.priority = Priority::normal});
  line.join('3', {.priority = Priority::high});
  line.join('4', {.priority = Priority::high});
  line.join('5', {.priority = Priority::normal});
  lease.finish();
  for (char const name : std::string{"3425"}) line.finish(name);
  CHECK(line.served == "34251");
}

TEST_CASE("a request that only some backends can serve does not hold up those behind it") {
  auto balancer = narrow("ab");
  auto on_a = tests::pick_of(balancer, "a");
  auto on_b = tests::pick_of(balancer, "b");
  Line line{balancer};
  auto const only_a = [](poise::Backend const& each) { return each.id() == "a"; };
  line.join('1', {.condition = only_a});
  line.join('2');
  on_b.finish();
  CHECK(line.served == "2");
  CHECK(line.got('2') == "b");
  on_a.finish();
  CHECK(line.served == "21");
  CHECK(line.got('1') == "a");
}

TEST_CASE("a queue that is full takes no more and says so") {
  auto balancer = narrow("a");
  balancer.set_max_waiting(2);
  auto const lease = balancer.pick();
  Line line{balancer};
  CHECK(line.join('1'));
  CHECK(line.join('2'));
  CHECK_FALSE(line.join('3'));
  CHECK(balancer.pick_for(1h).error().reason == PickError::queue_full);
  CHECK(message(balancer.pick_for(1h).error()).find("set_max_waiting") != std::string::npos);
  line.leave('1');
  CHECK(line.join('4'));
}

TEST_CASE("who gives up leaves the queue in order") {
  auto balancer = narrow("a");
  auto lease = balancer.pick();
  Line line{balancer};
  for (char const name : std::string{"123"}) line.join(name);
  line.leave('1');
  line.leave('1');
  lease.finish();
  CHECK(line.served == "2");
  line.leave('3');
  line.finish('2');
  CHECK(line.served == "2");
  CHECK(balancer.find("a")->in_flight() == 0);
}

TEST_CASE("room that a change makes is given to the queue") {
  for (std::string const change : {"limit", "add", "update", "undrain", "healthy", "changes"}) {
    CAPTURE(change);
    auto balancer = narrow("ab");
    balancer.drain("b");
    if (change == "healthy") {
      balancer.undrain("b");
      balancer.report_health("b", HealthState::unhealthy);
    }
    auto const lease = balancer.pick();
    Line line{balancer};
    line.join('1');
    CHECK(line.served.empty());
    if (change == "limit") balancer.set_admission("a", {.max_in_flight = 2});
    if (change == "add") balancer.add({.id = "c"});
    if (change == "update") balancer.update({{.id = "a", .max_in_flight = 2}});
    if (change == "undrain") balancer.undrain("b");
    if (change == "healthy") balancer.report_health("b", HealthState::healthy);
    if (change == "changes") balancer.apply(poise::Changes{}.add({.id = "c"}).remove("b"));
    CHECK(line.served == "1");
  }
}

TEST_CASE("a backend that joins while others wait wakes them when its requests end") {
  auto balancer = narrow("a");
  auto const lease = balancer.pick();
  Line line{balancer};
  line.join('1');
  line.join('2');
  balancer.add({.id = "b", .max_in_flight = 1});
  CHECK(line.got('1') == "b");
  line.finish('1');
  CHECK(line.got('2') == "b");
}

TEST_CASE("when no backend is left to wait for the wait ends with the reason") {
  auto balancer = narrow("ab");
  auto const leases = balancer.pick_all();
  Line line{balancer};
  line.join('1');
  balancer.drain("a");
  CHECK(line.served.empty());
  balancer.drain("b");
  CHECK(line.served == "1");
  CHECK(line.error('1').drained == 2);
}

TEST_CASE("the end of the balancer ends all waits") {
  auto balancer = std::optional{narrow("a")};
  auto lease = balancer->pick();
  Line line{*balancer};
  line.join('1');
  line.join('2');
  balancer.reset();
  CHECK(line.served == "12");
  CHECK(line.error('2').reason == PickError::closed);
  lease.finish();
}

TEST_CASE("a pick that may wait takes what there is at once") {
  auto balancer = narrow("ab");
  auto const first = balancer.pick_for(0ms);
  auto const second = balancer.pick_for({.preferred = "b"}, 0ms);
  CHECK(first);
  CHECK(second);
  CHECK(balancer.waiting() == 0);
}

TEST_CASE("a pick that waits in vain says why when its time is over") {
  auto balancer = narrow("ab");
  auto const leases = balancer.pick_all();
  auto const none = balancer.pick_for(5ms);
  CHECK(none.error().refused == 2);
  CHECK(balancer.waiting() == 0);
}

TEST_CASE("a pick that waits behind others says why, too") {
  auto balancer = narrow("ab");
  auto const leases = balancer.pick_all();
  Line line{balancer};
  CHECK(line.join('1'));
  auto const none = balancer.pick_for(5ms);
  CHECK(none.error().reason == PickError::unavailable);
  CHECK(none.error().refused == 2);
}

TEST_CASE("there is no waiting for what only an operator can change") {
  auto balancer = narrow("a");
  balancer.drain("a");
  CHECK(balancer.pick_for(1h).error().drained == 1);
  balancer.clear();
  CHECK(balancer.pick_for(1h).error().reason == PickError::empty);
  auto const other = std::move(balancer);
  CHECK(balancer.pick_for(1h).error().reason ==
        PickError::closed);  // NOLINT(bugprone-use-after-move)
}

TEST_CASE("a pick waits on its thread until another thread ends a request") {
  auto balancer = narrow("a");
  auto lease = balancer.pick();
  std::thread other{[&] {
    while (balancer.waiting() == 0) std::this_thread::yield();
    lease.finish();
  }};
  CHECK(balancer.pick_for(1h)->id() == "a");
  other.join();
}

TEST_CASE("an observer sees a pick that waited as any other") {
  struct Counts {
    std::size_t* picked;
    std::size_t* refused;
    void on_pick(poise::Picked const&) const { ++*picked; }
    void on_refused(poise::Refused const&) const { ++*refused; }
  };
  std::size_t picked = 0;
  std::size_t refused = 0;
  poise::Balancer<poise::RoundRobin, void, poise::Runtime<tests::Clock, Counts>> balancer{
      {{.id = "a", .max_in_flight = 1}}, {}, {.observers = {Counts{&picked, &refused}}}};
  auto lease = balancer.pick_for(1h);
  CHECK_FALSE(balancer.pick_for(1ms));
  CHECK(picked == 1);
  CHECK(refused == 1);
}

// -- room that time brings -----------------------------------------------------------------------

namespace {

/// Round robin with these limits, at most one request at once each.
Servers limited(poise::RateLimitOptions const& options, std::string_view ids,
                tests::Clock const& clock) {
  return tests::servers_with(poise::RateLimited<poise::RoundRobin>{options}, letters(ids), clock);
}

}  // namespace

TEST_CASE("who waits for a rate is asked to look when it has room, one waiter at a time") {
  tests::Clock const clock;
  auto balancer = limited({.backend = {.per_second = 10}}, "a", clock);
  balancer.pick().finish();
  Line line{balancer};
  for (char const name : std::string{"123"}) line.join(name);
  CHECK(line.asked == "1100 ");
  clock.advance(60ms);
  balancer.tick();  // serves the queue, in which 1 is asked already
  CHECK(line.asked == "1100 ");
  CHECK(line.served.empty());
  clock.advance(40ms);
  line.look('1');
  CHECK(line.served == "1");
  CHECK(line.asked == "1100 2100 ");
  clock.advance(100ms);
  line.look('2');
  clock.advance(100ms);
  line.look('3');
  CHECK(line.served == "123");
  CHECK(line.asked == "1100 2100 3100 ");
}

TEST_CASE("a waiter that looks too early for the balancer's clock is asked once more") {
  tests::Clock const clock;
  auto balancer = limited({.backend = {.per_second = 10}}, "a", clock);
  balancer.pick().finish();
  Line line{balancer};
  line.join('1');
  clock.advance(96ms);
  line.look('1');
  CHECK(line.served.empty());
  CHECK(line.asked == "1100 14 ");
  clock.advance(4ms);
  line.look('1');
  CHECK(line.served == "1");
}

TEST_CASE("if the waiter that was asked gives up the next one is asked") {
  tests::Clock const clock;
  auto balancer = limited({.backend = {.per_second = 10}}, "a", clock);
  balancer.pick().finish();
  Line line{balancer};
  line.join('1');
  line.join('2');
  clock.advance(30ms);
  line.leave('1');
  CHECK(line.asked == "1100 270 ");
  line.leave('2');
  CHECK(line.asked == "1100 270 ");
}

TEST_CASE("the waiter that has room first is asked") {
  tests::Clock const clock;
  auto balancer = limited({.key = {.per_second = 1}}, "ab", clock);
  Line line{balancer};
  balancer.pick({.route_key = "slow"}).finish();
  clock.advance(500ms);
  balancer.pick({.route_key = "slower"}).finish();
  line.join('1', {.route_key = "slower"});
  line.join('2', {.route_key = "slow"});
  CHECK(line.asked == "11000 2500 ");
  clock.advance(500ms);
  line.look('2');
  CHECK(line.served == "2");
  CHECK(line.asked == "11000 2500 1500 ");
}

TEST_CASE("a client above its own rate does not hold up the others") {
  tests::Clock const clock;
  auto balancer = limited({.key = {.per_second = 1}}, "ab", clock);
  balancer.pick({.client_id = "greedy"}).finish();
  Line line{balancer};
  for (char const name : std::string{"123"}) line.join(name, {.client_id = "greedy"});
  line.join('m', {.client_id = "modest"});
  CHECK(line.served == "m");
}

TEST_CASE("room comes from the end of a request and from time, whichever is first") {
  tests::Clock const clock;
  auto balancer = tests::servers_with(
      poise::RateLimited<poise::RoundRobin>{{.backend = {.per_second = 10}}},
      {{.id = "a", .max_in_flight = 1}, {.id = "b", .max_in_flight = 1}}, clock);
  auto on_a = tests::pick_of(balancer, "a");
  clock.advance(1s);
  auto on_b = tests::pick_of(balancer, "b");
  Line line{balancer};
  line.join('1');
  CHECK(line.asked.empty());  // no rate, but both limits are in the way
  on_b.finish();              // its token is spent
  CHECK(line.served.empty());
  CHECK(line.asked == "1100 ");
  on_a.finish();
  CHECK(line.served == "1");
}

TEST_CASE("a pick waits on its thread until the rate has room") {
  poise::Balancer<poise::RateLimited<poise::RoundRobin>> const balancer{
      letters("a"), {{.backend = {.per_second = 100}}}};
  for (int i = 0; i < 10; ++i) {
    auto lease = balancer.pick_for(1h);
    REQUIRE(lease);
    lease.finish();
  }
  CHECK(balancer.pick().error().retry_after > 0ms);
  CHECK(balancer.pick_for(1ms).error().retry_after > 0ms);
}

// -- until a backend is empty --------------------------------------------------------------------

TEST_CASE("draining waits until the last request ended") {
  auto balancer = tests::servers_with(poise::RoundRobin{}, letters("ab"));
  CHECK(balancer.drain_and_wait("a", 1h));
  balancer.undrain("a");
  auto lease = tests::pick_of(balancer, "a");
  CHECK_FALSE(balancer.drain_and_wait("a", 1ms));
  CHECK(balancer.find("a")->drained());
  std::thread other{[&] {
    std::this_thread::sleep_for(1ms);
    lease.finish();
  }};
  CHECK(balancer.drain_and_wait("a", 1h));
  other.join();
  CHECK_THROWS_AS((void)balancer.drain_and_wait("x", 1h), poise::ConfigError);
}

TEST_CASE("a drained backend that is removed is waited for all the same") {
  auto balancer = tests::servers_with(poise::RoundRobin{}, letters("ab"));
  auto lease = tests::pick_of(balancer, "a");
  auto const core = core_of(balancer);
  struct Told : poise::detail::Watcher<Core> {
    bool told = false;
  };
  Told one{{.backend = balancer.find("a"),
            .ready = [](auto& self) noexcept { static_cast<Told&>(self).told = true; }}};
  core->room().watch(one);
  balancer.remove("a");
  CHECK_FALSE(one.told);
  lease.finish();
  CHECK(one.told);
}

}  // namespace unit_engine_waiting
