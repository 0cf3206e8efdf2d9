// SPDX-License-Identifier: MIT
// A lease and a connection together: how one that can't be had leads to the next backend.

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

#include <poise/balancer.hpp>
#include <poise/policy/round_robin.hpp>
#include <poise/pool/acquire.hpp>
#include <poise/pool/pool.hpp>

#include "support/catch.hpp"
#include "support/servers.hpp"
#include "support/wires.hpp"

namespace unit_pool_acquire {

using namespace std::chrono_literals;
using poise::Result;
using poise::pool::acquire;
using poise::pool::NoConnection;
using tests::Wire;

namespace {

using Pool = poise::pool::Pool<Wire, poise::VirtualClock>;
using Clocked = poise::Runtime<poise::VirtualClock>;
using Pools = poise::Balancer<poise::RoundRobin, Pool, Clocked>;

/// Pools of the backends a, b ... and their servers.
struct World {
  explicit World(std::string const& ids, poise::pool::Options options = {})
      : pools{tests::letters(ids),
              [this, options](poise::Endpoint const& endpoint) {
                auto& server = servers[endpoint.id];
                if (!server) server = std::make_shared<tests::WireServer>();
                return Pool{tests::wires_to(server), options, clock};
              },
              {},
              {.clock = clock, .seed = 1}} {}

  std::map<std::string, std::shared_ptr<tests::WireServer>> servers{};
  poise::VirtualClock clock{};
  Pools pools;

  auto ended(char const* id, Result result) { return pools.find(id)->ended(result); }
};

}  // namespace

TEST_CASE("a lease and its connection are one value, which gives both back") {
  World world{"a"};
  {
    auto both = acquire(world.pools);
    CHECK(both->number() == 0);
    CHECK(both.backend().id() == "a");
    CHECK(both.backend().in_flight() == 1);
    both.finish();
    CHECK(!both);
    both.finish();  // does nothing
  }
  CHECK(world.ended("a", Result::success) == 1);
  CHECK(world.pools.find("a")->in_flight() == 0);
  CHECK(world.pools.find("a")->payload().numbers().idle == 1);
}

TEST_CASE("a value that is dropped closes its connection, whose state is unknown") {
  World world{"a"};
  static_cast<void>(acquire(world.pools));
  CHECK(world.ended("a", Result::abandoned) == 1);
  CHECK(world.servers["a"]->open.load() == 0);
  auto first = acquire(world.pools);
  first = acquire(world.pools);
  CHECK(world.servers["a"]->open.load() == 1);
  CHECK(world.ended("a", Result::abandoned) == 2);
}

TEST_CASE("a connection that was not needed goes back, and says nothing of its backend") {
  World world{"a"};
  auto both = acquire(world.pools);
  both.give_back();
  CHECK(!both);
  both.finish(Result::reset);  // does nothing
  CHECK(world.servers["a"]->open.load() == 1);
  CHECK(world.ended("a", Result::cancelled) == 1);
}

TEST_CASE("an outcome that leaves an answer unread closes the connection") {
  for (auto const result : {Result::timeout, Result::reset, Result::cancelled}) {
    World world{"a"};
    acquire(world.pools).finish(result);
    CHECK(world.servers["a"]->open.load() == 0);
  }
  for (auto const result : {Result::error, Result::rejected, Result::overloaded}) {
    World world{"a"};
    acquire(world.pools).finish(result);
    CHECK(world.servers["a"]->open.load() == 1);
  }
}

TEST_CASE("the time to get a connection is not the backend's latency") {
  World world{"a"};
  world.servers["a"]->on_open = [&] { world.clock.advance(1h); };
  auto both = acquire(world.pools);
  world.clock.advance(7ms);
  both.finish();
  CHECK(world.pools.find("a")->latency() == 7ms);
}

TEST_CASE("a backend that can't be connected to is passed over, and fails once per attempt") {
  World world{"ab"};
  world.servers["a"]->refuses.store(1);
  for (int i = 0; i < 10; ++i) {
    auto both = acquire(world.pools);
    CHECK(both.backend().id() == "b");
    both.finish();
  }
  CHECK(world.servers["a"]->attempts.load() == 1);
  CHECK(world.ended("a", Result::refused) == 1);
  CHECK(world.ended("a", Result::cancelled) == 4);
}

TEST_CASE("if no backend can be connected to, the caller gets the last one's error") {
  World world{"ab"};
  for (auto const& [id, server] : world.servers) server->refuses.store(1);
  CHECK_THROWS_AS(acquire(world.pools), std::system_error);
  CHECK(world.ended("a", Result::refused) == 1);
  CHECK(world.ended("b", Result::refused) == 1);
  CHECK_THROWS_WITH(acquire(world.pools), Catch::Contains("the backend refuses connections: wire"));
  world.pools.clear();
  CHECK_THROWS_AS(acquire(world.pools), poise::NoBackend);
}

TEST_CASE("a refused password is not tried elsewhere") {
  int attempts = 0;
  poise::Balancer<poise::RoundRobin, Pool, Clocked> pools{
      tests::letters("abc"), [&](poise::Endpoint const&) {
        return Pool{{.open = [&](poise::Duration) -> Wire {
          ++attempts;
          throw std::system_error{std::make_error_code(std::errc::invalid_argument), "password"};
        }}};
      }};
  CHECK_THROWS_WITH(acquire(pools), Catch::Contains("password"));
  CHECK(attempts == 1);
  std::uint64_t failed = 0;
  pools.for_each([&](auto& backend) { failed += backend.failed(); });
  CHECK(failed == 0);
}

TEST_CASE("a full pool leads to the next backend, whose connection is free") {
  World world{"ab", {.max = 1}};
  auto const first = acquire(world.pools);
  auto const second = acquire(world.pools);
  CHECK(first.backend().id() != second.backend().id());
  CHECK_THROWS_AS(acquire(world.pools, {}, {.wait = 2ms}), NoConnection);
}

TEST_CASE("a deadline that has passed asks no pool") {
  World world{"a"};
  CHECK_THROWS_AS(acquire(world.pools, {.deadline = world.clock.now()}), NoConnection);
  CHECK(world.servers["a"]->attempts.load() == 0);
}

TEST_CASE("pools hear of drained and ejected backends from the balancer") {
  World world{"ab"};
  for (int i = 0; i < 2; ++i) acquire(world.pools).finish();
  world.pools.drain("a");
  CHECK(world.servers["a"]->open.load() == 0);
  world.pools.report_health("b", poise::HealthState::unhealthy);
  CHECK(world.servers["b"]->open.load() == 0);
}

TEST_CASE("a removed backend's connection can be used to its end") {
  World world{"ab"};
  auto both = acquire(world.pools);
  auto const id = both.backend().id();
  world.pools.remove(id);
  CHECK(world.servers[id]->open.load() == 1);
  both.finish();
  world.pools.tick();
  CHECK(world.servers[id]->open.load() == 0);
}

TEST_CASE("a payload may point to its pool") {
  auto const server = std::make_shared<tests::WireServer>();
  poise::Balancer<poise::RoundRobin, std::unique_ptr<Pool>> pools{
      tests::letters("a"),
      [&](poise::Endpoint const&) { return std::make_unique<Pool>(tests::wires_to(server)); }};
  CHECK(acquire(pools)->number() == 0);
  pools.drain("a");
  CHECK(server->open.load() == 0);
}

}  // namespace unit_pool_acquire
