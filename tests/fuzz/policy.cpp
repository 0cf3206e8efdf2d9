// SPDX-License-Identifier: MIT
// Policies by name: what is accepted must also pick.

#include <chrono>
#include <string_view>

#include <poise/compose/policy_named.hpp>
#include <poise/poise.hpp>

#include "fuzz.hpp"

void tests::fuzz(std::string_view input) {
  using namespace std::chrono_literals;
  using Runtime = poise::Runtime<poise::VirtualClock>;
  poise::VirtualClock const clock;
  try {
    poise::Balancer<poise::AnyPolicy, void, Runtime> balancer{
        {{.id = "a", .zone = "x"}, {.id = "b", .weight = 2, .tier = 1}, {.id = "c"}},
        poise::policy_named(input),
        {.clock = clock, .seed = 1}};
    for (int i = 0; i < 4; ++i) {
      auto lease = balancer.pick({.client_id = "client", .route_key = "key"});
      clock.advance(1ms);
      if (lease) lease.finish(i == 0 ? poise::Result::error : poise::Result::success);
    }
    balancer.drain("a");
    balancer.tick();
    require(!balancer.name().empty(), "a policy has a name");
  } catch (poise::ConfigError const& error) {
    require(error.what()[0] != '\0', "an error says something");
  }
}
