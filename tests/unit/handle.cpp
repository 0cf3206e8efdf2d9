// SPDX-License-Identifier: MIT
// Backends without a pick, several in one pick, and what a const balancer can do.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <poise/balancer.hpp>
#include <poise/policy/maglev.hpp>
#include <poise/policy/power_of_two.hpp>

#include "support/catch.hpp"
#include "support/scripted.hpp"
#include "support/servers.hpp"

namespace unit_handle {

using poise::HealthState;
using poise::PickError;
using poise::Result;
using tests::letters;
using tests::numbered;
using tests::servers;
using tests::servers_with;

namespace {

/// Counts how many of it live.
struct Pool {
  static inline int alive = 0;
  explicit Pool(poise::Endpoint const& endpoint) : name{endpoint.id} { ++alive; }
  Pool(Pool&& other) noexcept : name{other.name}, queries{other.queries} { ++alive; }
  ~Pool() { --alive; }
  std::string name;
  int queries = 0;
};
using Pools = poise::Balancer<poise::RoundRobin, Pool, poise::Runtime<tests::Clock>>;

template <class Leases>
std::string ids(Leases const& leases) {
  std::string text;
  for (auto const& lease : leases) text += lease->id();
  std::ranges::sort(text);
  return text;
}

}  // namespace

// -- for_each and find ---------------------------------------------------------------------------

TEST_CASE("for_each visits every backend in configured order, picked or not") {
  auto balancer = servers(letters("cab"));
  balancer.drain("a");
  balancer.report_health("b", HealthState::unhealthy);
  std::string seen;
  balancer.for_each([&](poise::Backend& backend) { seen += backend.id(); });
  CHECK(seen == "cab");
  CHECK(balancer.stats().backends[0].total == 0);
}

TEST_CASE("for_each gives every payload, also through a const balancer") {
  Pools const pools{letters("abc")};
  pools.for_each([](auto& backend) { ++backend.payload().queries; });
  int queries = 0;
  pools.for_each([&](auto& backend) { queries += backend.payload().queries; });
  CHECK(queries == 3);
}

TEST_CASE("what for_each calls may change the balancer and sees the old set to its end") {
  auto balancer = servers(letters("abc"));
  std::string seen;
  balancer.for_each([&](auto& backend) {
    seen += backend.id();
    balancer.update(letters("xyz"));
  });
  CHECK(seen == "abc");
  CHECK(tests::ids_of(balancer) == "xyz");
}

TEST_CASE("for_each over no backends, and over a balancer that was moved from, does nothing") {
  auto balancer = servers({});
  int calls = 0;
  balancer.for_each([&](auto&) { ++calls; });
  auto const other = std::move(balancer);
  balancer.for_each([&](auto&) { ++calls; });  // NOLINT(bugprone-use-after-move)
  CHECK(calls == 0);
}

TEST_CASE("an exception from for_each's function comes out and leaves the balancer as it was") {
  auto balancer = servers(letters("ab"));
  CHECK_THROWS_AS(balancer.for_each([](auto&) { throw 1; }), int);
  balancer.remove("a");
  CHECK(tests::picks(balancer, 2) == "bb");
}

TEST_CASE("find gives the backend of an id, or nothing") {
  auto const balancer = servers(letters("abc"));
  CHECK(balancer.find("b")->address() == "b");
  CHECK_FALSE(balancer.find("x"));
  CHECK_FALSE(balancer.find(""));
  CHECK(balancer.stats().backends[1].in_flight == 0);
}

TEST_CASE("a handle keeps a removed backend and its payload alive, and the last one lets it go") {
  Pools pools{letters("ab")};
  auto handle = pools.find("a");
  pools.remove("a");
  CHECK(Pool::alive == 2);
  CHECK(handle->payload().name == "a");
  auto copy = handle;
  handle = {};
  pools.tick();
  CHECK(Pool::alive == 2);
  copy = pools.find("b");
  pools.tick();
  CHECK(Pool::alive == 1);
  CHECK(copy->id() == "b");
}

TEST_CASE("a handle outlives its balancer, with the payload") {
  Pools::Handle handle;
  {
    Pools const pools{letters("ab")};
    handle = pools.find("a");
  }
  CHECK(Pool::alive == 1);
  CHECK(handle->payload().name == "a");
  handle = {};
  CHECK(Pool::alive == 0);
}

TEST_CASE("a handle and a lease of one removed backend may go in either order") {
  for (bool const lease_first : {true, false}) {
    Pools pools{letters("a")};
    auto handle = pools.find("a");
    auto lease = pools.pick();
    pools.clear();
    if (lease_first) lease.finish();
    else handle = {};
    pools.tick();
    CHECK(Pool::alive == 1);
    lease.finish();
    handle = {};
    pools.tick();
    CHECK(Pool::alive == 0);
  }
}

TEST_CASE("a handle that is assigned to itself, moved or empty is what one expects") {
  auto balancer = servers(letters("a"));
  auto handle = balancer.find("a");
  auto& same = handle;
  handle = same;
  CHECK(handle);
  auto moved = std::move(handle);
  CHECK_FALSE(handle);  // NOLINT(bugprone-use-after-move)
  CHECK(moved->id() == "a");
  CHECK_FALSE(tests::Servers::Handle{});
}

// -- several at once -----------------------------------------------------------------------------

TEST_CASE("a quorum is so many distinct backends") {
  auto balancer = servers(letters("abcde"));
  for (int i = 0; i < 100; ++i) {
    auto const leases = balancer.pick_many(3);
    REQUIRE(leases.size() == 3);
    CHECK(std::set<std::string>{leases[0]->id(), leases[1]->id(), leases[2]->id()}.size() == 3);
  }
  std::uint64_t total = 0;
  for (auto const& each : balancer.stats().backends) total += each.total;
  CHECK(total == 300);
}

TEST_CASE("a quorum that can't be had is as large as it can be") {
  auto balancer = servers(letters("abcde"));
  balancer.drain("a");
  balancer.set_admission("b", {.max_in_flight = 0});
  CHECK(ids(balancer.pick_many(5)) == "cde");
  CHECK(ids(balancer.pick_many(500)) == "cde");
  CHECK(balancer.pick_many(0).empty());
}

TEST_CASE("a pick of several says why there are none") {
  auto balancer = servers(letters("ab"));
  balancer.drain("a");
  balancer.drain("b");
  poise::Error error;
  CHECK(balancer.pick_many(2, {}, &error).empty());
  CHECK(error.drained == 2);
  CHECK(balancer.pick_all({}, &error).empty());
  CHECK(error.reason == PickError::unavailable);
  balancer.undrain("a");
  CHECK(balancer.pick_many(2, {}, &error).size() == 1);
  CHECK(error == poise::Error{});
}

TEST_CASE("a pick of several never repeats what the request excludes") {
  auto balancer = servers(letters("abc"));
  auto const lease = tests::pick_of(balancer, "b");
  std::vector<std::uint64_t> const excluded{lease.serial()};
  CHECK(ids(balancer.pick_many(3, {.excluded = excluded})) == "ac");
  CHECK(ids(balancer.pick_all({.excluded = excluded})) == "ac");
}

TEST_CASE("under a keyed policy a key has the same quorum every time, led by its owner") {
  auto balancer = servers_with(poise::Maglev{}, letters("abcdefgh"));
  auto const first = ids(balancer.pick_many(3, {.route_key = "user-17"}));
  auto const owner = balancer.pick({.route_key = "user-17"})->id();
  CHECK(balancer.pick_many(3, {.route_key = "user-17"})[0]->id() == owner);
  CHECK(first.find(owner) != std::string::npos);
}

TEST_CASE("quorums of two random choices spread over all backends") {
  auto balancer = servers_with(poise::P2C{}, letters("abcdef"));
  for (int i = 0; i < 600; ++i) (void)balancer.pick_many(2);
  // 1200 picks over 6 backends: 200 each, and 5 standard deviations are 65.
  for (auto const& each : balancer.stats().backends) {
    CHECK(each.total > 135);
    CHECK(each.total < 265);
  }
}

TEST_CASE("a broadcast reaches each backend that takes requests once") {
  auto balancer = servers(letters("abcdef"));
  balancer.drain("a");
  balancer.report_health("b", HealthState::degraded);
  balancer.report_health("c", HealthState::unhealthy);
  balancer.set_admission("d", {.max_in_flight = 1});
  auto const lease = tests::pick_of(balancer, "d");
  CHECK(ids(balancer.pick_all()) == "bef");
}

TEST_CASE("a broadcast to a thousand backends counts each in and out once") {
  auto balancer = servers(numbered(1000));
  {
    auto const leases = balancer.pick_all();
    CHECK(leases.size() == 1000);
    CHECK(balancer.find("999")->in_flight() == 1);
  }
  for (auto const& each : balancer.stats().backends) {
    CHECK(each.in_flight == 0);
    CHECK(each.total == 1);
    CHECK(each.ended(Result::abandoned) == 1);
  }
}

TEST_CASE("a balancer that was moved from gives no leases and says so") {
  auto balancer = servers(letters("ab"));
  auto const other = std::move(balancer);
  poise::Error error;
  CHECK(balancer.pick_many(2, {}, &error).empty());  // NOLINT(bugprone-use-after-move)
  CHECK(error.reason == PickError::closed);
  CHECK_FALSE(balancer.find("a"));
}

// -- const ---------------------------------------------------------------------------------------

TEST_CASE("a const balancer picks, calls and answers questions") {
  auto const balancer = servers(letters("ab"));
  balancer.pick().finish();
  CHECK(balancer.call([](auto& backend) { return backend.id(); }).size() == 1);
  CHECK(balancer.stats().backends.size() == 2);
  CHECK(balancer.name() == "round_robin");
}

TEST_CASE("a backend knows its successes exactly") {
  auto balancer = servers(letters("a"));
  for (int i = 0; i < 5; ++i) balancer.pick().finish(i < 3 ? Result::success : Result::timeout);
  auto const lease = balancer.pick();
  CHECK(lease->ended(Result::success) == 3);
  CHECK(lease->ended(Result::timeout) == 2);
}

}  // namespace unit_handle
