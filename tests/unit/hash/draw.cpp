// SPDX-License-Identifier: MIT
// Draws by key: published numbers, so that all clients draw the same.

#include <poise/hash/draw.hpp>

#include <array>
#include <cstddef>
#include <string>

#include <poise/balancer.hpp>
#include <poise/policy/rendezvous.hpp>

#include "support/catch.hpp"
#include "support/clock.hpp"
#include "support/servers.hpp"

namespace unit_hash_draw {

TEST_CASE("a key draws the same number in every build") {
  // splitmix64's finaliser of XXH64, computed apart from this code.
  CHECK(poise::detail::draw_of("") == 0x6a9fc0cf8e5dcf7eU);
  CHECK(poise::detail::draw_of("user-17") == 0xb541b5f0183bbb0aU);
}

TEST_CASE("which keys go to degraded backends does not depend on the standard library") {
  tests::Clock clock;
  poise::Balancer<poise::Rendezvous, void, poise::Runtime<tests::Clock>> balancer{
      tests::numbered(4), {}, {.clock = clock}};
  balancer.report_health("2", poise::HealthState::degraded);
  balancer.report_health("3", poise::HealthState::degraded);
  // 2 of 4 are healthy: the 70 % of keys that draw below 70.
  for (int i = 0; i < 1000; ++i) {
    auto const key = "key-" + std::to_string(i);
    auto const lease = balancer.pick({.route_key = key});
    CAPTURE(key);
    CHECK((lease->id() < "2") == (poise::detail::draw_of(key) % 100 < 70));
  }
}

}  // namespace unit_hash_draw
