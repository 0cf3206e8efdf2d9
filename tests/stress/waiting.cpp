// SPDX-License-Identifier: MIT
// Many threads wait for few places: no limit is exceeded, and no waiter is forgotten.

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <poise/balancer.hpp>
#include <poise/changes.hpp>
#include <poise/compose/rate_limited.hpp>
#include <poise/engine/call.hpp>
#include <poise/observer.hpp>
#include <poise/policy/round_robin.hpp>

#include "stress/team.hpp"
#include "support/catch.hpp"

using namespace std::chrono_literals;

namespace {

using Servers = poise::Balancer<poise::RoundRobin>;

/// So long that only a lost wake-up takes it.
constexpr auto for_ever = 20s;

std::vector<poise::Endpoint> narrow(int count, std::uint32_t limit) {
  std::vector<poise::Endpoint> result;
  for (int i = 0; i < count; ++i)
    result.push_back({.id = std::to_string(i), .max_in_flight = limit});
  return result;
}

/// Waits for a place, and gives it back at once.
struct Client {
  Servers const& balancer;
  std::int64_t forgotten = 0;

  explicit Client(Servers const& of) : balancer{of} {}
  void work() {
    auto lease = balancer.pick_for(for_ever);
    if (!lease) ++forgotten;
    lease.finish();
  }
};

/// Picks without waiting: its claims come and go between those of the queue.
template <class Of = Servers>
struct Impatient {
  Of const& balancer;
  explicit Impatient(Of const& of) : balancer{of} {}
  void work() {
    auto lease = balancer.pick();
    lease.finish();
  }
};

/// Counts the events of each kind.
struct Listener {
  std::array<tests::Number, 11>* told;
  void on_event(poise::Event const& event) const {
    told->at(static_cast<std::size_t>(event.kind)).add(1);
  }
};

}  // namespace

TEST_CASE("no waiter is forgotten, whoever makes room and whoever takes it back") {
  Servers balancer{narrow(2, 1)};
  {
    tests::Team<Client> clients{4, balancer};
    tests::Team<Impatient<>> others{1, balancer};
    tests::Rounds rounds{200};
    while (rounds.next()) {
      auto lease = balancer.pick_for(for_ever);
      REQUIRE(lease);
      REQUIRE(lease->in_flight() >= 1);
    }
    others.stop();
    for (auto const& each : clients.stop()) CHECK(each.forgotten == 0);
  }
  CHECK(balancer.waiting() == 0);
  for (auto const& each : balancer.stats().backends) CHECK(each.in_flight == 0);
}

TEST_CASE("no waiter is forgotten while limits and backends change") {
  Servers balancer{narrow(2, 1)};
  tests::Team<Client> clients{3, balancer};
  tests::Rounds rounds{100};
  for (int i = 0; rounds.next(); ++i) balancer.update(narrow(1 + i % 3, i / 3 % 2 == 0 ? 1 : 2));
  balancer.update(narrow(2, 1));
  for (auto const& each : clients.stop()) CHECK(each.forgotten == 0);
  CHECK(balancer.waiting() == 0);
}

TEST_CASE("a change alone lets waiters in") {
  Servers balancer{narrow(1, 1)};
  auto held = balancer.pick();  // the only place, so that no end of a request wakes the clients
  tests::Team<Client> clients{3, balancer};
  tests::Rounds rounds{50};
  while (rounds.next()) {
    while (balancer.waiting() == 0) std::this_thread::yield();
    balancer.update(narrow(2, 1));
    auto const end = std::chrono::steady_clock::now() + for_ever;
    while (balancer.find("1")->total() == 0 && std::chrono::steady_clock::now() < end)
      std::this_thread::yield();
    CHECK(balancer.find("1")->total() != 0);
    balancer.update(narrow(1, 1));
  }
  held.finish();
  for (auto const& each : clients.stop()) CHECK(each.forgotten == 0);
}

TEST_CASE("no waiter is forgotten when only time makes room") {
  poise::Balancer<poise::RateLimited<poise::RoundRobin>> const balancer{
      narrow(2, 1), {{.backend = {.per_second = 1000, .burst = 2}}}};
  tests::Number forgotten{0};
  tests::together(4, [&](unsigned number) {
    for (int i = 0; i < 25; ++i) {
      // Some give up: maybe the one that was asked to look.
      bool const gives_up = number == 0;
      auto const lease = balancer.pick_for(gives_up ? 300us : poise::Duration{for_ever});
      if (!lease && !gives_up) forgotten.add(1);
    }
  });
  CHECK(forgotten.load() == 0);
  CHECK(balancer.waiting() == 0);
}

TEST_CASE("a drain that waits returns when the backend is empty, while others use it") {
  Servers balancer{narrow(2, 4)};
  tests::Team<Client> clients{3, balancer};
  tests::Rounds rounds{100};
  while (rounds.next()) {
    REQUIRE(balancer.drain_and_wait("0", for_ever));
    REQUIRE(balancer.find("0")->in_flight() == 0);
    balancer.undrain("0");
  }
  for (auto const& each : clients.stop()) CHECK(each.forgotten == 0);
}

TEST_CASE("each drained backend is told to be empty once, and each full has its room") {
  using Kind = poise::Event::Kind;
  using Told =
      poise::Balancer<poise::RoundRobin, void, poise::Runtime<poise::SteadyClock, Listener>>;
  std::array<tests::Number, 11> told;
  auto const count = [&](Kind kind) { return told.at(static_cast<std::size_t>(kind)).load(); };
  Told servers{narrow(3, 1), {}, {.clock = {}, .observers = {Listener{&told}}}};
  tests::Team<Impatient<Told>> clients{3, servers};
  int round = 0;
  for (tests::Rounds rounds{100}; rounds.next(); ++round) {
    auto const id = std::to_string(round % 3);
    poise::Endpoint const next{.id = id, .max_in_flight = 1};
    if (round % 2 == 0) {
      servers.apply(poise::Changes{}.drain(id).remove(id).add(next));
    } else {
      servers.drain(id);
      servers.remove(id);
      servers.add(next);
    }
  }
  (void)clients.stop();
  servers.tick();
  CHECK(count(Kind::drained) == round);
  CHECK(count(Kind::empty) == round);
  CHECK(count(Kind::full) == count(Kind::room));
}

TEST_CASE("a balancer may go while threads wait, and they hear of it") {
  tests::Rounds rounds{20};
  while (rounds.next()) {
    auto balancer = std::make_unique<Servers>(narrow(1, 1));
    auto const core = poise::detail::Inside::core(*balancer);
    auto lease = balancer->pick();
    tests::together(4, [&](unsigned number) {
      if (number == 0) {
        balancer.reset();
        lease.finish();
      } else {
        (void)core->pick_for(poise::any_request, for_ever);
      }
    });
  }
}
