// SPDX-License-Identifier: MIT
// A lease: one pick in progress, which reports exactly once whatever happens to it.

#include <poise/lease.hpp>

#include <chrono>
#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/servers.hpp"

namespace unit_lease {

using namespace std::chrono_literals;
using poise::Result;
using tests::letters;
using tests::stats_of;

namespace {

/// As Servers, with latencies measured and a payload.
struct Pool {
  explicit Pool(poise::Endpoint const& endpoint) : name{"pool of " + endpoint.id} {}
  std::string name;
};
using Pools =
    poise::Balancer<poise::RoundRobin, Pool, poise::Runtime<tests::Clock, poise::MeasureLatency>>;

Pools pools(std::vector<poise::Endpoint> endpoints, tests::Clock const& clock) {
  return Pools{std::move(endpoints), {}, {.clock = clock, .seed = 1}};
}

using Lease = tests::Servers::Lease;
static_assert(sizeof(Lease) <= 32);
static_assert(std::is_nothrow_move_constructible_v<Lease>);
static_assert(std::is_nothrow_move_assignable_v<Lease>);
static_assert(!std::is_copy_constructible_v<Lease>);
static_assert(std::is_trivially_copyable_v<Lease::Token>);

}  // namespace

TEST_CASE("a lease counts its request in until it is finished") {
  auto balancer = tests::servers(letters("a"));
  auto lease = balancer.pick();
  CHECK(stats_of(balancer, "a").in_flight == 1);
  lease.finish();
  CHECK(stats_of(balancer, "a").in_flight == 0);
  CHECK(stats_of(balancer, "a").ended(Result::success) == 1);
}

TEST_CASE("a second finish does nothing") {
  auto balancer = tests::servers(letters("a"));
  auto other = balancer.pick();
  auto lease = balancer.pick();
  lease.finish();
  lease.finish(Result::error);
  lease.finish(Result::error, 1ms);
  CHECK(stats_of(balancer, "a").in_flight == 1);
  CHECK(stats_of(balancer, "a").failed == 0);
}

TEST_CASE("a finished lease is false and has no error") {
  auto balancer = tests::servers(letters("a"));
  auto lease = balancer.pick();
  REQUIRE(lease);
  lease.finish();
  CHECK_FALSE(lease);
  CHECK(lease.error() == poise::Error{});
}

TEST_CASE("a lease dropped without a word is abandoned and leaves no trace in latency or errors") {
  tests::Clock const clock;
  auto balancer = pools(letters("a"), clock);
  {
    auto const lease = balancer.pick();
    clock.advance(1s);
  }
  auto const stats = stats_of(balancer, "a");
  CHECK(stats.in_flight == 0);
  CHECK(stats.ended(Result::abandoned) == 1);
  CHECK(stats.ended(Result::success) == 0);
  CHECK_FALSE(stats.latency);
  CHECK_FALSE(stats.error_rate);
}

TEST_CASE("a moved lease reports once from its new place") {
  auto balancer = tests::servers(letters("a"));
  {
    auto first = balancer.pick();
    auto second = std::move(first);
    CHECK_FALSE(first);  // NOLINT: a moved-from lease is false by contract
    REQUIRE(second);
    first.finish(Result::error);
    CHECK(stats_of(balancer, "a").in_flight == 1);
    second.finish(Result::timeout);
  }
  auto const stats = stats_of(balancer, "a");
  CHECK(stats.in_flight == 0);
  CHECK(stats.total == 1);
  CHECK(stats.ended(Result::timeout) == 1);
  CHECK(stats.failed == 1);
}

TEST_CASE("assigning to a lease abandons what it held") {
  auto balancer = tests::servers(letters("ab"));
  auto lease = balancer.pick();
  lease = balancer.pick();
  CHECK(stats_of(balancer, "a").ended(Result::abandoned) == 1);
  CHECK(stats_of(balancer, "b").in_flight == 1);
}

TEST_CASE("a lease assigned to itself goes on") {
  auto balancer = tests::servers(letters("a"));
  auto lease = balancer.pick();
  auto& same = lease;
  lease = std::move(same);
  CHECK(lease);
  CHECK(stats_of(balancer, "a").in_flight == 1);
}

TEST_CASE("a lease that failed keeps its error when moved") {
  auto balancer = tests::servers({});
  auto first = balancer.pick();
  auto const second = std::move(first);
  CHECK(second.error().reason == poise::PickError::empty);
}

TEST_CASE("an empty lease can be finished moved and released") {
  Lease lease;
  lease.finish();
  auto moved = std::move(lease);
  auto const token = moved.release();
  CHECK_FALSE(Lease::adopt(token));
}

TEST_CASE("a lease passes through plain words and is adopted again") {
  tests::Clock const clock;
  auto balancer = pools(letters("a"), clock);
  auto lease = balancer.pick();
  auto const serial = lease.serial();
  auto const token = lease.release();
  CHECK_FALSE(lease);
  CHECK(stats_of(balancer, "a").in_flight == 1);
  clock.advance(7ms);
  auto adopted = Pools::Lease::adopt(token);
  CHECK(adopted.serial() == serial);
  adopted.finish();
  CHECK(stats_of(balancer, "a").in_flight == 0);
  CHECK(stats_of(balancer, "a").latency == 7ms);
}

TEST_CASE("a lease outlives its balancer with its backend and payload") {
  tests::Clock const clock;
  Pools::Lease lease;
  {
    auto balancer = pools(letters("a"), clock);
    lease = balancer.pick();
  }
  REQUIRE(lease);
  CHECK(lease->id() == "a");
  CHECK(lease->payload().name == "pool of a");
  CHECK(lease->in_flight() == 1);
  lease.finish(Result::error);
  CHECK_FALSE(lease);
}

TEST_CASE("leases may end in any order after their balancer is gone") {
  std::vector<Lease> leases;
  {
    auto balancer = tests::servers(letters("abc"));
    for (int i = 0; i < 10; ++i) leases.push_back(balancer.pick());
  }
  leases.erase(leases.begin() + 3);
  std::swap(leases.front(), leases.back());
  for (auto& lease : leases) CHECK(lease->in_flight() > 0);
  leases.clear();
}

TEST_CASE("a lease may live longer than a removed backend and longer than the balancer after it") {
  Lease lease;
  {
    auto balancer = tests::servers(letters("ab"));
    lease = tests::pick_of(balancer, "a");
    balancer.remove("a");
    balancer.tick();
  }
  CHECK(lease->id() == "a");
  lease.finish();
}

TEST_CASE("latency is measured from pick to finish if time is used") {
  tests::Clock const clock;
  auto balancer = pools(letters("a"), clock);
  auto lease = balancer.pick();
  CHECK(lease.started() == clock.now());
  clock.advance(25ms);
  lease.finish();
  CHECK(stats_of(balancer, "a").latency == 25ms);
}

TEST_CASE("a latency that the caller measured is taken instead") {
  tests::Clock const clock;
  auto balancer = pools(letters("a"), clock);
  auto lease = balancer.pick();
  clock.advance(25ms);
  lease.finish(Result::success, 3ms);
  CHECK(stats_of(balancer, "a").latency == 3ms);
}

TEST_CASE("a latency that the caller measured counts even if time is not used") {
  auto balancer = tests::servers(letters("a"));
  balancer.pick().finish(Result::success, std::chrono::duration<double, std::milli>{1.5});
  CHECK(stats_of(balancer, "a").latency == 1500us);
}

TEST_CASE("the clock is not read if time is not used") {
  tests::Clock const clock;
  auto balancer = tests::servers(letters("ab"), clock);
  auto const before = clock.reads();
  for (int i = 0; i < 100; ++i) balancer.pick().finish();
  CHECK(clock.reads() == before);
}

TEST_CASE("where time is asked for the clock is read once a pick and once a finish") {
  tests::Clock const clock;
  auto balancer = pools(letters("ab"), clock);
  auto const before = clock.reads();
  for (int i = 0; i < 100; ++i) balancer.pick().finish();
  CHECK(clock.reads() - before == 200);
}

TEST_CASE("a latency that can't be true is no sample") {
  using seconds = std::chrono::duration<double>;
  auto balancer = tests::servers(letters("a"));
  balancer.pick().finish(Result::success, -1ns);
  balancer.pick().finish(Result::success, -5h);
  balancer.pick().finish(Result::success, seconds{std::nan("")});
  balancer.pick().finish(Result::success, seconds{std::numeric_limits<double>::infinity()});
  balancer.pick().finish(Result::success, seconds{-std::numeric_limits<double>::infinity()});
  balancer.pick().finish(Result::success, seconds{-0.5});
  balancer.pick().finish(Result::success, seconds{1e12});
  CHECK_FALSE(stats_of(balancer, "a").latency);
  CHECK(stats_of(balancer, "a").ended(Result::success) == 7);
}

TEST_CASE("a whole number of hours too many to be true is no sample") {
  auto balancer = tests::servers(letters("a"));
  balancer.pick().finish(Result::success, std::chrono::hours::max());
  balancer.pick().finish(Result::success, std::chrono::hours{6'000'000});  // 2^64 ns + 100 years
  balancer.pick().finish(Result::success, std::chrono::milliseconds::min());
  CHECK_FALSE(stats_of(balancer, "a").latency);
}

TEST_CASE("where poise measures too it replaces a latency that can't be true by its own") {
  tests::Clock const clock;
  auto balancer = pools(letters("a"), clock);
  auto lease = balancer.pick();
  clock.advance(4ms);
  lease.finish(Result::success, std::chrono::duration<double>{std::nan("")});
  CHECK(stats_of(balancer, "a").latency == 4ms);
}

TEST_CASE("a clock that stands still gives latencies of zero") {
  tests::Clock const clock;
  auto balancer = pools(letters("a"), clock);
  balancer.pick().finish();
  CHECK(stats_of(balancer, "a").latency == 0ns);
}

TEST_CASE("a clock that jumps back measures nothing") {
  tests::Clock const clock;
  auto balancer = pools(letters("a"), clock);
  balancer.pick().finish(Result::success, 10ms);
  auto lease = balancer.pick();
  clock.advance(-1h);
  lease.finish();
  CHECK(stats_of(balancer, "a").latency == 10ms);
}

TEST_CASE("finish through the balancer is finish") {
  auto balancer = tests::servers(letters("a"));
  tests::Servers::finish(balancer.pick(), Result::reset);
  CHECK(stats_of(balancer, "a").ended(Result::reset) == 1);
  CHECK(stats_of(balancer, "a").in_flight == 0);
}

TEST_CASE("a lease in a standard optional and container behaves as any value") {
  auto balancer = tests::servers(letters("a"));
  {
    std::optional<Lease> maybe{balancer.pick()};
    std::vector<Lease> many;
    for (int i = 0; i < 20; ++i) many.push_back(balancer.pick());
    CHECK(stats_of(balancer, "a").in_flight == 21);
  }
  CHECK(stats_of(balancer, "a").in_flight == 0);
}

}  // namespace unit_lease
