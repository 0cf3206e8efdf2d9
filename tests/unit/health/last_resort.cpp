// SPDX-License-Identifier: MIT
// Where a policy or a request leaves only backends that the monitor has ejected.

#include <chrono>
#include <string>
#include <string_view>
#include <utility>

#include <poise/balancer.hpp>
#include <poise/compose/filter.hpp>
#include <poise/compose/retry.hpp>
#include <poise/health/monitor.hpp>
#include <poise/policy/power_of_two.hpp>
#include <poise/policy/random.hpp>

#include "support/catch.hpp"
#include "support/servers.hpp"

namespace unit_health_last_resort {

using namespace std::chrono_literals;
using poise::health::Panic;

namespace {

struct IsA {
  bool operator()(poise::Backend const& backend) const { return backend.id() == "a"; }
};

/// Three servers, of which "a" is ejected.
template <class P>
struct WithoutA {
  using Runtime = poise::Runtime<poise::VirtualClock, poise::health::Standard>;

  explicit WithoutA(P policy, Panic panic = {})
      : servers{tests::letters("abc"),
                std::move(policy),
                {.clock = clock,
                 .seed = 1,
                 .observers = {poise::health::Standard{{.panic = panic, .seed = 1}}}}} {
    clock.advance(1h);
    servers.tick();
    for (int i = 0; i < 5; ++i) servers.record("a", poise::Result::error);
    servers.tick();
    REQUIRE(servers.stats().backends[0].health == poise::HealthState::unhealthy);
  }

  poise::VirtualClock clock{};
  poise::Balancer<P, void, Runtime> servers;
};

using OnlyA = poise::Filter<poise::P2C, IsA>;

}  // namespace

TEST_CASE("a filter that leaves only an ejected backend lets requests go there") {
  WithoutA<OnlyA> pool{OnlyA{}};
  for (int i = 0; i < 10; ++i) {
    auto const lease = pool.servers.pick();
    REQUIRE(lease);
    CHECK(lease->id() == "a");
  }
  auto const expected = pool.servers.rehearse({});
  REQUIRE(expected.winner != nullptr);
  CHECK(expected.winner->id() == "a");
}

TEST_CASE("a retry goes there again, as no other backend is left") {
  using Retrying = poise::Retry<OnlyA>;
  WithoutA<Retrying> pool{Retrying{}};
  auto const first = pool.servers.pick();
  REQUIRE(first);
  auto const serial = first->serial();
  auto const second = pool.servers.pick({.attempt = 2, .excluded = {&serial, 1}});
  REQUIRE(second);
  CHECK(second.repeated());
}

TEST_CASE("a request's condition that leaves only an ejected backend lets it go there") {
  WithoutA<poise::Random> pool{poise::Random{}};
  IsA const is_a;
  auto const lease = pool.servers.pick({.condition = is_a});
  REQUIRE(lease);
  CHECK(lease->id() == "a");
  for (int i = 0; i < 100; ++i) CHECK(pool.servers.pick()->id() != "a");
}

TEST_CASE("a request that others refuse for now does not go to an ejected backend") {
  WithoutA<poise::P2C> pool{poise::P2C{}};
  for (auto const* id : {"b", "c"}) pool.servers.set_admission(id, {.max_in_flight = 1});
  auto const one = pool.servers.pick();
  auto const other = pool.servers.pick();
  REQUIRE(one);
  REQUIRE(other);
  CHECK_FALSE(pool.servers.pick());
}

TEST_CASE("with a closed panic or none such a request fails") {
  for (auto const panic : {Panic{.mode = Panic::Mode::closed}, Panic{.threshold = 0}}) {
    WithoutA<OnlyA> pool{OnlyA{}, panic};
    CHECK_FALSE(pool.servers.pick());
  }
}

TEST_CASE("what the operator keeps out is no last resort") {
  WithoutA<OnlyA> drained{OnlyA{}};
  drained.servers.drain("a");
  CHECK_FALSE(drained.servers.pick());
  WithoutA<OnlyA> declared{OnlyA{}};
  declared.servers.set_health("a", poise::HealthState::unhealthy);
  CHECK_FALSE(declared.servers.pick());
}

}  // namespace unit_health_last_resort
