// SPDX-License-Identifier: MIT
// A pool: which connection a caller gets, and when connections are closed.

#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <poise/pool/pool.hpp>

#include "support/catch.hpp"
#include "support/wires.hpp"

namespace unit_pool_pool {

using namespace std::chrono_literals;
using poise::BackendEvent;
using poise::VirtualClock;
using poise::pool::Closing;
using poise::pool::NoConnection;
using poise::pool::Options;
using poise::pool::Refusal;
using tests::Wire;
using tests::WireServer;

namespace {

using Pool = poise::pool::Pool<Wire, VirtualClock>;

/// A pool in virtual time, and its server.
struct World {
  explicit World(Options options = {}) : pool{tests::wires_to(server), options, clock} {}

  std::shared_ptr<WireServer> server = std::make_shared<WireServer>();
  VirtualClock clock{};
  Pool pool;

  std::vector<Pool::Held> take(int count) {
    std::vector<Pool::Held> result;
    for (int i = 0; i < count; ++i) result.push_back(pool.acquire());
    return result;
  }
  std::int64_t number_of_next() { return pool.acquire()->number(); }
};

/// A thread that waits for a connection; it has begun to wait when this returns.
template <class Fn>
std::thread start_waiting(Pool& pool, Fn fn) {
  auto const before = pool.numbers().waiting;
  std::thread thread{std::move(fn)};
  while (pool.numbers().waiting == before) std::this_thread::yield();
  return thread;
}

Refusal refusal_of(Pool& pool, poise::Duration wait = 1ms) {
  try {
    static_cast<void>(pool.acquire(wait));
  } catch (NoConnection const& none) {
    return none.why();
  }
  return Refusal::none;
}

}  // namespace

TEST_CASE("a pool opens a connection when it is needed, and uses it again") {
  World world;
  CHECK(world.server->opened.load() == 0);
  CHECK(world.number_of_next() == 0);
  CHECK(world.number_of_next() == 0);
  CHECK(world.server->opened.load() == 1);
}

TEST_CASE("the connection that was used last is used next") {
  World world;
  auto held = world.take(3);
  held[0].give_back();
  held[2].give_back();
  held[1].give_back();
  CHECK(world.number_of_next() == 1);
}

TEST_CASE("a pool has at most `max` connections, and says what is short") {
  World world{{.max = 2}};
  auto const held = world.take(2);
  CHECK(refusal_of(world.pool) == Refusal::timeout);
  CHECK(world.server->opened.load() == 2);
  CHECK_THROWS_WITH(world.pool.acquire(1ms), Catch::Contains("no connection became free in time"));
}

TEST_CASE("a connection that comes back goes to the caller that waits longest") {
  World world{{.max = 1}};
  auto held = world.take(1);
  std::string order;
  auto const caller = [&](char name) {
    return [&world, &order, name] {
      auto mine = world.pool.acquire(20s);
      order += name;  // only one has the connection
    };
  };
  auto first = start_waiting(world.pool, caller('1'));
  auto second = start_waiting(world.pool, caller('2'));
  auto third = start_waiting(world.pool, caller('3'));
  held.clear();
  first.join();
  second.join();
  third.join();
  CHECK(order == "123");
  CHECK(world.pool.numbers().waited == 3);
}

TEST_CASE("a queue that is full turns callers away") {
  World world{{.max = 1, .max_waiting = 1}};
  auto held = world.take(1);
  auto waiting = start_waiting(world.pool, [&] { static_cast<void>(world.pool.acquire(20s)); });
  CHECK(refusal_of(world.pool, 20s) == Refusal::queue_full);
  held.clear();
  waiting.join();
}

#if defined(__cpp_lib_jthread)
TEST_CASE("a caller that is stopped stops waiting, and leaves the queue") {
  World world{{.max = 1}};
  auto const held = world.take(1);
  std::stop_source source;
  auto why = Refusal::none;
  auto waiting = start_waiting(world.pool, [&] {
    try {
      static_cast<void>(world.pool.acquire(20s, source.get_token()));
    } catch (NoConnection const& none) {
      why = none.why();
    }
  });
  source.request_stop();
  waiting.join();
  CHECK(why == Refusal::stopped);
  CHECK(world.pool.numbers().waiting == 0);
}
#endif

TEST_CASE("a dead connection is found by its check, not by a caller") {
  World world{{.check_after = 1s}};
  world.take(3).clear();
  world.server->kills.store(3);
  world.clock.advance(1s);
  CHECK(world.number_of_next() == 3);
  CHECK(world.pool.numbers().closed_by(Closing::dead) == 3);
  CHECK(world.server->open.load() == 1);
}

TEST_CASE("a connection that was just used is not checked") {
  World world{{.check_after = 1s}};
  CHECK(world.number_of_next() == 0);
  world.server->kills.store(1);
  world.clock.advance(999ms);
  CHECK(world.number_of_next() == 0);
}

TEST_CASE("a connection that can't be reset, or is discarded, is closed") {
  World world;
  world.pool.acquire()->dirty = true;
  CHECK(world.server->open.load() == 0);
  auto broken = world.pool.acquire();
  broken.discard();
  CHECK(!broken);
  CHECK(world.server->open.load() == 0);
  CHECK(world.pool.numbers().closed_by(Closing::unclean) == 1);
  CHECK(world.pool.numbers().closed_by(Closing::discarded) == 1);
  CHECK(world.pool.numbers().all_closed() == 2);
}

TEST_CASE("connections grow old at different times, and are closed where they come back or rest") {
  World world{{.lifetime = 100s, .jitter = 0.5}};
  world.take(10).clear();
  world.clock.advance(50s - 1ns);
  world.pool.tick();
  CHECK(world.server->open.load() == 10);
  world.clock.advance(25s);
  world.pool.tick();
  auto const left = world.server->open.load();
  CHECK(left > 0);
  CHECK(left < 10);
  world.clock.advance(25s);
  CHECK(world.number_of_next() >= 10);  // an old one is never handed out
  world.pool.tick();
  CHECK(world.server->open.load() == 1);
}

TEST_CASE("connections that are not used are closed, except for those that are wanted") {
  World world{{.idle = 2, .idle_timeout = 10s}};
  world.take(5).clear();
  world.clock.advance(10s);
  world.pool.tick();
  CHECK(world.server->open.load() == 2);
  world.pool.tick();
  CHECK(world.server->open.load() == 2);
}

TEST_CASE("a tick opens the wanted connections in advance") {
  World world{{.idle = 3}};
  world.pool.tick();
  CHECK(world.pool.numbers().idle == 3);
  world.server->refuses.store(1);
  world.server->kills.store(3);
  world.clock.advance(1h);
  world.pool.tick();  // all are too old, and no new one can be had
  CHECK(world.pool.numbers().size() == 0);
  CHECK(world.pool.numbers().not_opened == 1);
}

TEST_CASE("a backend that refuses connections gets one attempt at a time, with growing pauses") {
  World world{{.backoff = 100ms, .max_backoff = 400ms}};
  world.server->refuses.store(1);
  CHECK_THROWS_AS(world.pool.acquire(), std::system_error);
  for (auto const pause : {100ms, 200ms, 400ms, 400ms}) {
    auto const before = world.server->attempts.load();
    world.clock.advance(pause / 2 - 1ns);  // half of a pause is random
    CHECK(refusal_of(world.pool) == Refusal::unreachable);
    CHECK(world.server->attempts.load() == before);
    world.clock.advance(pause / 2 + 1ns);
    CHECK_THROWS_AS(world.pool.acquire(), std::system_error);
    CHECK(world.server->attempts.load() == before + 1);
  }
  CHECK_THROWS_WITH(world.pool.acquire(), Catch::Contains("the backend refuses connections: wire"));
  world.server->refuses.store(0);
  world.clock.advance(400ms);
  CHECK(world.pool.acquire()->number() == 0);
}

TEST_CASE("every duration of a pool may be the longest there is") {
  constexpr auto forever = poise::Duration::max();
  for (auto const& options : {Options{.idle = 1, .idle_timeout = forever},
                              {.lifetime = forever},
                              {.lifetime = forever, .jitter = 0},
                              {.lifetime = forever, .jitter = 1},
                              {.check_after = forever},
                              {.wait = forever},
                              {.max_backoff = forever},
                              {.backoff = forever, .max_backoff = forever},
                              {.leak_after = forever}}) {
    World world{options};
    world.clock.advance(1h);
    auto const held = world.take(2);
    world.pool.tick();
    CHECK(world.pool.leaks().empty());
    CHECK(world.number_of_next() == 2);
    CHECK(world.number_of_next() == 2);
    world.server->refuses.store(1);
    for (int failure = 0; failure < 80; ++failure) {
      CHECK_THROWS_AS(world.take(2), std::system_error);
      world.clock.advance(24h * 365);
      world.pool.tick();
    }
  }
}

TEST_CASE("a caller waits in peace while the next attempt to connect is never due") {
  constexpr auto forever = poise::Duration::max();
  World world{{.backoff = forever, .max_backoff = forever}};
  world.clock.advance(1h);
  auto held = world.take(1);
  world.server->refuses.store(1);
  CHECK_THROWS_AS(world.pool.acquire(), std::system_error);
  auto const before = world.server->attempts.load();
  CHECK(refusal_of(world.pool, 20ms) == Refusal::timeout);
  CHECK(world.server->attempts.load() == before);
}

TEST_CASE(
    "a clock that is set back neither keeps a pool from connecting nor saves old connections") {
  World world{{.check_after = 1s}};
  world.clock.advance(2h);
  world.take(1).clear();
  auto held = world.take(2);
  world.server->refuses.store(1);
  CHECK_THROWS_AS(world.pool.acquire(), std::system_error);
  CHECK_THROWS_AS(world.pool.acquire(), NoConnection);
  world.server->refuses.store(0);
  world.clock.advance(-1h);
  CHECK(world.pool.acquire()->number() == 2);
  held.clear();
  world.clock.advance(-30min);
  world.server->kills.store(3);
  CHECK(world.number_of_next() == 3);  // idle ones are checked
  world.clock.advance(-20min);
  world.pool.tick();
  world.clock.advance(10min);
  world.pool.tick();
  CHECK(world.pool.numbers().idle == 0);
}

TEST_CASE("an ejected backend's pool closes what is idle at once, and what is in use later") {
  World world;
  auto held = world.take(3);
  held.pop_back();
  world.pool.on_event(BackendEvent::ejected);
  CHECK(world.server->open.load() == 2);
  world.pool.on_event(BackendEvent::readmitted);
  held.pop_back();
  CHECK(world.server->open.load() == 1);
  CHECK(world.number_of_next() == 3);
  CHECK(world.pool.numbers().idle == 1);
  held.pop_back();
  CHECK(world.server->open.load() == 1);
}

TEST_CASE("callers that wait for an ejected backend hear of it at once") {
  World world{{.max = 1}};
  auto const held = world.take(1);
  auto why = Refusal::none;
  auto waiting = start_waiting(world.pool, [&] { why = refusal_of(world.pool, 20s); });
  world.pool.on_event(BackendEvent::ejected);
  waiting.join();
  CHECK(why == Refusal::ejected);
}

TEST_CASE("an ejected backend can be tried, but keeps nothing") {
  World world;
  world.pool.on_event(BackendEvent::ejected);
  CHECK(world.number_of_next() == 0);
  CHECK(world.server->open.load() == 0);
}

TEST_CASE("a drained or removed backend's pool serves those that wait, then closes all") {
  for (auto const event : {BackendEvent::drained, BackendEvent::removed}) {
    World world{{.max = 1}};
    auto held = world.take(1);
    auto why = Refusal::timeout;
    auto waiting = start_waiting(world.pool, [&] { why = refusal_of(world.pool, 20s); });
    world.pool.on_event(event);
    held.clear();
    waiting.join();
    CHECK(why == Refusal::none);
    CHECK(world.server->opened.load() == 1);
    CHECK(world.server->open.load() == 0);
  }
}

TEST_CASE("a backend that is taken back keeps connections again") {
  World world;
  world.pool.on_event(BackendEvent::drained);
  world.pool.on_event(BackendEvent::undrained);
  CHECK(world.number_of_next() == 0);
  CHECK(world.number_of_next() == 0);
}

TEST_CASE("a connection in use outlives its pool, and is closed when it comes back") {
  auto world = std::make_unique<World>();
  auto const server = world->server;
  auto held = world->take(2);
  held.pop_back();
  world.reset();
  CHECK(server->open.load() == 1);
  held.clear();
  CHECK(server->open.load() == 0);
}

TEST_CASE("connections that do not come back are reported, with the place that took them") {
  World world{{.leak_after = 60s}};
  auto const held = world.pool.acquire();
  auto const line = __LINE__ - 1;
  world.clock.advance(59s);
  CHECK(world.pool.leaks().empty());
  world.clock.advance(1s);
  REQUIRE(world.pool.leaks().size() == 1);
  auto const text = message(world.pool.leaks()[0]);
  CHECK_THAT(text, Catch::StartsWith("held for 60 s, acquired at "));
  CHECK_THAT(text, Catch::EndsWith("pool.cpp:" + std::to_string(line)));
}

TEST_CASE("each closed connection is counted under its reason") {
  World world{{.max = 3, .idle_timeout = 10s, .lifetime = 100s, .jitter = 0, .check_after = 1s}};
  auto const closed = [&](Closing why) { return world.pool.numbers().closed_by(why); };
  world.take(2).clear();
  world.clock.advance(10s);
  world.pool.tick();
  CHECK(closed(Closing::unused) == 2);
  auto held = world.take(1);
  world.clock.advance(100s);
  held.clear();
  CHECK(closed(Closing::lifetime) == 1);
  world.take(1).clear();
  world.server->kills.store(4);
  world.clock.advance(1s);
  held = world.take(2);
  CHECK(closed(Closing::dead) == 1);
  held.pop_back();
  world.pool.on_event(BackendEvent::ejected);
  CHECK(closed(Closing::ejected) == 1);
  held.clear();
  CHECK(closed(Closing::ejected) == 2);
  held = world.take(1);  // tried while it is ejected
  held.clear();
  CHECK(closed(Closing::ejected) == 3);
  world.pool.on_event(BackendEvent::readmitted);
  held = world.take(2);
  held.pop_back();
  world.pool.on_event(BackendEvent::drained);
  held.clear();
  CHECK(closed(Closing::drained) == 2);
  CHECK(world.pool.numbers().all_closed() == world.pool.numbers().opened);
}

TEST_CASE("the time that callers wait for a connection adds up") {
  World world{{.max = 1}};
  auto const held = world.take(1);
  CHECK(world.pool.numbers().wait_time == 0s);
  CHECK(refusal_of(world.pool, 3ms) == Refusal::timeout);
  auto const first = world.pool.numbers().wait_time;
  CHECK(first >= 3ms);
  CHECK(refusal_of(world.pool, 3ms) == Refusal::timeout);
  CHECK(world.pool.numbers().wait_time >= first + 3ms);
  CHECK(world.pool.numbers().waited == 2);
}

TEST_CASE("options that make no sense are refused, with a way out") {
  auto const refused = [](Options const& options, char const* text) {
    CHECK_THROWS_WITH(World{options}, Catch::Contains(text));
  };
  refused({.max = 0}, "max of pool::Options is 0: use 1 or more");
  refused({.max = 2, .idle = 3}, "idle of pool::Options is 3: use at most max, which is 2");
  refused({.lifetime = 0s}, "lifetime of pool::Options");
  refused({.jitter = 1.5}, "jitter of pool::Options is 1.5");
  refused({.check_after = -1s}, "check_after of pool::Options is -1 s: use 0");
  refused({.wait = 0s}, "wait of pool::Options");
  refused({.backoff = 2s, .max_backoff = 1s}, "max_backoff of pool::Options is 1 s");
  CHECK_THROWS_WITH(Pool{poise::pool::Driver<Wire>{}}, Catch::Contains("open of pool::Driver"));
  World world;
  CHECK_THROWS_WITH(world.pool.acquire(-1s), Catch::Contains("acquire is -1 s"));
}

}  // namespace unit_pool_pool
