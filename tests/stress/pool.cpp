// SPDX-License-Identifier: MIT
// Many threads share few connections: never more than the pool may have, no waiter is forgotten,
// and a connection belongs to one thread at a time.

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

#include <poise/pool/pool.hpp>

#include "stress/team.hpp"
#include "support/catch.hpp"
#include "support/wires.hpp"

using namespace std::chrono_literals;
using poise::BackendEvent;
using poise::pool::NoConnection;
using poise::pool::Refusal;
using tests::Wire;

namespace {

using Pool = poise::pool::Pool<Wire>;

/// So long that only a lost wake-up takes it.
constexpr auto for_ever = 20s;

/// Takes a connection, writes into it, and gives it back.
struct Client {
  Pool& pool;
  std::int64_t forgotten = 0;
  std::int64_t turned_away = 0;
  unsigned turn = 0;

  explicit Client(Pool& of) : pool{of} {}
  void work() {
    try {
      auto held = pool.acquire(for_ever);
      held->dirty = ++turn % 16 == 0;  // a data race if another thread has it, too
      if (turn % 64 == 0) held.discard();
    } catch (NoConnection const& none) {
      ++(none.why() == Refusal::timeout ? forgotten : turned_away);
    } catch (std::system_error const&) {
      ++turned_away;
    }
  }
};

/// Gives up almost at once.
struct Impatient : Client {
  using Client::Client;
  void work() {
    try {
      static_cast<void>(pool.acquire(1us));
    } catch (std::system_error const&) {
      ++turned_away;
    }
  }
};

struct World {
  explicit World(poise::pool::Options options) : pool{tests::wires_to(server), options} {}
  std::shared_ptr<tests::WireServer> server = std::make_shared<tests::WireServer>();
  Pool pool;
};

constexpr poise::pool::Options small{
    .max = 2, .check_after = 0s, .backoff = 100us, .max_backoff = 1ms};

}  // namespace

TEST_CASE("no waiter is forgotten, and no connection is in two hands") {
  World world{small};
  {
    tests::Team<Client> clients{4, world.pool};
    tests::Team<Impatient> others{1, world.pool};
    tests::Rounds rounds{200};
    while (rounds.next()) {
      auto held = world.pool.acquire(for_ever);
      held->dirty = rounds.made() % 8 == 0;
    }
    others.stop();
    for (auto const& each : clients.stop()) CHECK(each.forgotten == 0);
  }
  CHECK(world.server->most.load() <= 2);
  CHECK(world.pool.numbers().waiting == 0);
  CHECK(world.pool.numbers().in_use == 0);
}

TEST_CASE("a connection that is closed leaves its place to the next waiter") {
  tests::Rounds rounds{100};
  while (rounds.next()) {
    World world{{.max = 1}};
    tests::Number turned_away{0};
    tests::together(3, [&](unsigned) {
      try {
        world.pool.acquire(for_ever)->dirty = true;
      } catch (NoConnection const&) {
        turned_away.add(1);
      }
    });
    REQUIRE(turned_away.load() == 0);
    REQUIRE(world.server->most.load() == 1);
  }
}

TEST_CASE("no waiter is forgotten while the backend fails, and is ejected and readmitted") {
  World world{small};
  tests::Team<Client> clients{4, world.pool};
  tests::Rounds rounds{200};
  for (int i = 0; rounds.next(); ++i) {
    world.server->refuses.store(i % 3 == 0 ? 1 : 0);
    if (i % 5 == 0) world.pool.on_event(BackendEvent::ejected);
    if (i % 7 == 0) world.pool.on_event(BackendEvent::drained);
    world.pool.tick();
    std::this_thread::sleep_for(100us);
    world.pool.on_event(BackendEvent::readmitted);
    world.pool.on_event(BackendEvent::undrained);
  }
  world.server->refuses.store(0);
  for (auto const& each : clients.stop()) CHECK(each.forgotten == 0);
  CHECK(world.server->most.load() <= 2);
  CHECK(world.pool.numbers().waiting == 0);
}

TEST_CASE("connections in use may come back while their pool goes") {
  tests::Rounds rounds{50};
  while (rounds.next()) {
    std::optional<World> world{std::in_place, small};
    auto const server = world->server;
    auto held = world->pool.acquire(for_ever);
    auto idle = world->pool.acquire(for_ever);
    idle.give_back();
    tests::together(2, [&](unsigned i) {
      if (i == 0) held.give_back();
      else world.reset();
    });
    REQUIRE(server->open.load() == 0);
  }
}
