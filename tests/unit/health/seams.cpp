// SPDX-License-Identifier: MIT
// What health needs of the core: a review on the spot, a word after it, and limits that compose.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <poise/poise.hpp>

#include "support/catch.hpp"
#include "support/servers.hpp"

namespace unit_health_seams {

using namespace std::chrono_literals;
using poise::HealthState;
using poise::Result;

namespace {

/// Takes failed backends out, of the first two of the set only, and reports that afterwards.
struct Strict {
  static constexpr bool uses_time = true;
  struct State {
    bool failed = false;
  };
  std::vector<std::string>* told;
  poise::Time* reviewed;

  void on_finish(poise::Finished const& event, State& state) const {
    if (!is_failure(event.outcome.result)) return;
    state.failed = true;
    event.review();
    told->emplace_back("finished");
  }
  void on_tick(poise::Time now, std::span<poise::BackendView> all) const {
    *reviewed = now;
    for (auto& each : all.first(2))
      if (each.state<State>().failed) each.health = HealthState::unhealthy;
  }
  void after_tick() const { told->emplace_back("after tick"); }
};

template <std::uint32_t Limit>
struct AtMost {
  bool* on;
  void on_tick(poise::Time, std::span<poise::BackendView> all) const {
    if (!*on) return;
    for (auto& each : all)
      each.admission.max_in_flight = std::min(each.admission.max_in_flight, Limit);
  }
};

}  // namespace

TEST_CASE("a review gives rules their turn before the request's end returns") {
  std::vector<std::string> told;
  poise::Time reviewed{};
  poise::VirtualClock const clock;
  clock.set(poise::Time{77s});
  poise::Balancer<poise::RoundRobin, void, poise::Runtime<poise::VirtualClock, Strict>> balancer{
      tests::letters("abc"),
      {},
      {.clock = clock, .seed = 1, .observers = {Strict{&told, &reviewed}}}};
  tests::pick_of(balancer, "b").finish(Result::error);
  CHECK(tests::stats_of(balancer, "b").health == HealthState::unhealthy);
  CHECK(reviewed == poise::Time{77s});
  CHECK(told == std::vector<std::string>{"after tick", "finished"});
  tests::pick_of(balancer, "c").finish(Result::error);  // the rule sees the whole set, and decides
  CHECK(tests::stats_of(balancer, "c").health == HealthState::healthy);
  balancer.tick();
  CHECK(told.size() == 5);
  CHECK(balancer.stats().observer_failures == 0);
}

TEST_CASE("limits of several rules and of the operator compose to the least and are lifted alone") {
  bool eight = true;
  bool five = true;
  using Runtime = poise::Runtime<poise::VirtualClock, AtMost<8>, AtMost<5>>;
  poise::Balancer<poise::RoundRobin, void, Runtime> balancer{
      tests::letters("a"), {}, Runtime{{}, 1, {AtMost<8>{&eight}, AtMost<5>{&five}}}};
  auto const limit = [&] {
    balancer.tick();
    return tests::stats_of(balancer, "a").admission.max_in_flight;
  };
  CHECK(limit() == 5);
  five = false;
  CHECK(limit() == 8);
  balancer.set_admission("a", {.max_in_flight = 3});
  CHECK(limit() == 3);
  balancer.set_admission("a", {.max_in_flight = 30});
  CHECK(limit() == 8);
  eight = false;
  CHECK(limit() == 30);
}

namespace {

/// Makes the unhealthy eligible, with room for one.
struct Probation {
  void arrange(std::span<poise::BackendView> all) const {
    for (auto& each : all)
      if (each.health == HealthState::unhealthy) {
        each.health = HealthState::healthy;
        each.admission.max_in_flight = 1;
      }
  }
};

}  // namespace

TEST_CASE("a rule that arranges may limit backends that it makes eligible") {
  using Runtime = poise::Runtime<poise::VirtualClock, Probation>;
  poise::Balancer<poise::RoundRobin, void, Runtime> balancer{
      tests::letters("ab"), {}, Runtime{{}, 1, {}}};
  balancer.report_health("a", HealthState::unhealthy);
  std::string picked;
  std::vector<decltype(balancer)::Lease> leases;
  for (int i = 0; i < 6; ++i) {
    leases.push_back(balancer.pick());
    picked += leases.back()->id();
  }
  CHECK(std::ranges::count(picked, 'a') == 1);
}

}  // namespace unit_health_seams
