// SPDX-License-Identifier: MIT
// Changes of a live balancer: all or nothing, and what stays stays.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include <poise/balancer.hpp>

#include "support/catch.hpp"
#include "support/scripted.hpp"
#include "support/servers.hpp"
#include "support/text.hpp"

using namespace std::chrono_literals;
using poise::Ending;
using poise::HealthState;
using tests::ids_of;
using tests::letters;
using tests::mentions;
using tests::pick_of;
using tests::picks;
using tests::servers;
using tests::stats_of;
using tests::thrown;

namespace {

/// A payload that counts how many of it live.
struct Tracked {
  static inline int alive = 0;
  static inline std::string died{};
  explicit Tracked(poise::Endpoint const& endpoint) : id{endpoint.id} { ++alive; }
  Tracked(Tracked&& other) noexcept : id{other.id} { ++alive; }
  ~Tracked() {
    --alive;
    died = id;
  }
  std::string id;
};
using TrackedServers = poise::Balancer<poise::RoundRobin, Tracked, poise::Runtime<tests::Clock>>;

void break_it(tests::Servers& balancer, std::string_view id) {
  auto lease = pick_of(balancer, id);
  lease.finish(Ending::timeout, 20ms);
}

}  // namespace

// -- the set
// -----------------------------------------------------------------------------------------

TEST_CASE("an update keeps the statistics of every backend whose id stays") {
  auto balancer = servers(letters("abc"));
  break_it(balancer, "b");
  auto const before = stats_of(balancer, "b");
  balancer.update(letters("xby"));
  auto const after = stats_of(balancer, "b");
  CHECK(after.serial == before.serial);
  CHECK(after.total == before.total);
  CHECK(after.ended(Ending::timeout) == 1);
  CHECK(after.error_rate == before.error_rate);
}

TEST_CASE("an update removes who is missing and adds who is new") {
  auto balancer = servers(letters("abc"));
  balancer.update(letters("cd"));
  CHECK(ids_of(balancer) == "cd");
  CHECK(picks(balancer, 100).find_first_of("ab") == std::string::npos);
}

TEST_CASE("statistics stand in the order in which backends were configured") {
  auto balancer = servers(letters("abc"));
  balancer.update(letters("cab"));
  CHECK(ids_of(balancer) == "cab");
  balancer.add({.id = "x"});
  CHECK(ids_of(balancer) == "cabx");
}

TEST_CASE("an update that only reorders keeps every backend") {
  auto balancer = servers(letters("abc"));
  auto const before = stats_of(balancer, "a").serial;
  balancer.update(letters("cba"));
  CHECK(stats_of(balancer, "a").serial == before);
  CHECK(picks(balancer, 3).size() == 3);
}

TEST_CASE("a new weight does not make a new backend") {
  auto balancer = servers(letters("ab"));
  break_it(balancer, "a");
  auto const serial = stats_of(balancer, "a").serial;
  balancer.update({{.id = "a", .address = "a", .weight = 5}, {.id = "b", .address = "b"}});
  CHECK(stats_of(balancer, "a").serial == serial);
  CHECK(stats_of(balancer, "a").weight == 5);
  CHECK(stats_of(balancer, "a").ended(Ending::timeout) == 1);
}

TEST_CASE("a new address makes a new backend that inherits the statistics") {
  auto balancer = servers(letters("ab"));
  break_it(balancer, "a");
  auto const before = stats_of(balancer, "a");
  balancer.update({{.id = "a", .address = "elsewhere"}, {.id = "b", .address = "b"}});
  auto const after = stats_of(balancer, "a");
  CHECK(after.serial != before.serial);
  CHECK(after.address == "elsewhere");
  CHECK(after.total == before.total);
  CHECK(after.ended(Ending::timeout) == 1);
}

TEST_CASE("a lease keeps the address it was given when an update changes it") {
  auto balancer = servers(letters("a"));
  auto lease = balancer.pick();
  balancer.update({{.id = "a", .address = "elsewhere"}});
  CHECK(lease->address() == "a");
  CHECK(stats_of(balancer, "a").in_flight == 0);
  lease.finish(Ending::error);
  CHECK(stats_of(balancer, "a").failed == 0);
}

TEST_CASE("what the operator and rules decided survives a new address") {
  auto balancer = servers(letters("abc"));
  balancer.drain("a");
  balancer.report_health("b", HealthState::unhealthy);
  balancer.set_admission("c", {.max_in_flight = 3});
  balancer.update(
      {{.id = "a", .address = "1"}, {.id = "b", .address = "2"}, {.id = "c", .address = "3"}});
  CHECK(stats_of(balancer, "a").drained);
  CHECK(stats_of(balancer, "b").health == HealthState::unhealthy);
  CHECK(stats_of(balancer, "c").admission.max_in_flight == 3);
}

TEST_CASE("a removed backend finishes its requests") {
  auto balancer = servers(letters("ab"));
  auto lease = pick_of(balancer, "a");
  balancer.remove("a");
  CHECK(lease->id() == "a");
  CHECK(lease->in_flight() == 1);
  lease.finish();
}

TEST_CASE("a backend that is removed and added again starts anew") {
  auto balancer = servers(letters("ab"));
  break_it(balancer, "a");
  auto const serial = stats_of(balancer, "a").serial;
  balancer.remove("a");
  balancer.add({.id = "a", .address = "a"});
  CHECK(stats_of(balancer, "a").serial != serial);
  CHECK(stats_of(balancer, "a").total == 0);
  CHECK_FALSE(stats_of(balancer, "a").error_rate);
}

TEST_CASE("an old lease of a re-added id does not touch the new backend") {
  auto balancer = servers(letters("ab"));
  auto lease = pick_of(balancer, "a");
  balancer.remove("a");
  balancer.add({.id = "a", .address = "a"});
  auto const serial = lease.serial();
  lease.finish(Ending::error);
  CHECK(stats_of(balancer, "a").serial != serial);
  CHECK(stats_of(balancer, "a").failed == 0);
}

TEST_CASE("a cleared balancer has nobody to pick and may be filled again") {
  auto balancer = servers(letters("ab"));
  balancer.clear();
  CHECK(balancer.pick().error().reason == poise::PickError::empty);
  balancer.add({.id = "c"});
  CHECK(picks(balancer, 2) == "cc");
}

TEST_CASE("removing the last backend leaves an empty balancer") {
  auto balancer = servers(letters("a"));
  balancer.remove("a");
  CHECK(balancer.pick().error().reason == poise::PickError::empty);
}

TEST_CASE("every backend is seen while all but one are removed and added over and over") {
  auto balancer = servers(tests::numbered(256));
  for (int round = 0; round < 20; ++round) {
    balancer.update(tests::numbered(1));
    REQUIRE(picks(balancer, 3) == "000");
    balancer.update(tests::numbered(256));
    std::map<std::uint64_t, int> seen;
    for (int i = 0; i < 256; ++i) ++seen[balancer.pick().serial()];
    REQUIRE(seen.size() == 256);
  }
}

TEST_CASE("a backend that joins is neither flooded nor starved by round robin") {
  auto balancer = servers(tests::numbered(10));
  (void)picks(balancer, 12'345);
  balancer.add({.id = "new"});
  (void)picks(balancer, 1100);
  CHECK(stats_of(balancer, "new").total == 100);
}

// -- one backend
// -------------------------------------------------------------------------------------

TEST_CASE("a drained backend gets no new requests and finishes those it has") {
  auto balancer = servers(letters("ab"));
  auto lease = pick_of(balancer, "a");
  balancer.drain("a");
  CHECK(picks(balancer, 4) == "bbbb");
  CHECK(stats_of(balancer, "a").in_flight == 1);
  lease.finish();
  CHECK(stats_of(balancer, "a").in_flight == 0);
}

TEST_CASE("an undrained backend is picked again") {
  auto balancer = servers(letters("ab"));
  balancer.drain("a");
  balancer.undrain("a");
  CHECK_FALSE(stats_of(balancer, "a").drained);
  CHECK(picks(balancer, 4).find('a') != std::string::npos);
}

TEST_CASE("a drain survives updates") {
  auto balancer = servers(letters("ab"));
  balancer.drain("a");
  balancer.update(letters("abc"));
  CHECK(picks(balancer, 30).find('a') == std::string::npos);
}

TEST_CASE("an unhealthy backend is not picked until it is healthy") {
  auto balancer = servers(letters("ab"));
  balancer.report_health("a", HealthState::unhealthy);
  CHECK(picks(balancer, 4) == "bbbb");
  balancer.report_health("a", HealthState::healthy);
  CHECK(picks(balancer, 4).find('a') != std::string::npos);
}

TEST_CASE("no rule or probe overrides what the operator says of health") {
  auto balancer = servers(letters("ab"));
  balancer.set_health("a", HealthState::unhealthy);
  balancer.report_health("a", HealthState::healthy);
  CHECK(stats_of(balancer, "a").health == HealthState::unhealthy);
  balancer.update(letters("ba"));
  CHECK(picks(balancer, 4) == "bbbb");
}

TEST_CASE("when the operator takes back a word the latest finding counts") {
  auto balancer = servers(letters("ab"));
  balancer.set_health("a", HealthState::healthy);
  balancer.report_health("a", HealthState::unhealthy);
  CHECK(stats_of(balancer, "a").health == HealthState::healthy);
  balancer.set_health("a", std::nullopt);
  CHECK(stats_of(balancer, "a").health == HealthState::unhealthy);
}

TEST_CASE("a backend of weight 0 takes no traffic") {
  auto balancer = servers(letters("ab"));
  balancer.set_weight("a", 0);
  CHECK(picks(balancer, 4) == "bbbb");
  balancer.set_weight("a", 2);
  CHECK(picks(balancer, 4).find('a') != std::string::npos);
}

TEST_CASE("out-of-band records count totals and failures and latency") {
  auto balancer = servers(letters("ab"));
  CHECK(balancer.record("a", Ending::success, 12ms));
  CHECK(balancer.record("a", Ending::reset));
  auto const stats = stats_of(balancer, "a");
  CHECK(stats.total == 2);
  CHECK(stats.ended(Ending::success) == 1);
  CHECK(stats.ended(Ending::reset) == 1);
  CHECK(stats.latency == 12ms);
}

TEST_CASE("out-of-band records never touch requests in flight") {
  auto balancer = servers(letters("a"));
  auto lease = balancer.pick();
  for (int i = 0; i < 10; ++i) balancer.record("a", Ending::success);
  CHECK(stats_of(balancer, "a").in_flight == 1);
  lease.finish();
  CHECK(stats_of(balancer, "a").in_flight == 0);
  CHECK(stats_of(balancer, "a").total == 11);
}

TEST_CASE("a record of an unknown backend says so") {
  auto balancer = servers(letters("a"));
  CHECK_FALSE(balancer.record("b", Ending::success));
  CHECK_FALSE(balancer.record("b", Ending::success, 1ms));
}

// -- the policy
// --------------------------------------------------------------------------------------

TEST_CASE("another policy starts its rotation at once and keeps the statistics") {
  auto balancer = servers(letters("abc"));
  CHECK(picks(balancer, 2) == "ab");
  balancer.set_policy({});
  CHECK(picks(balancer, 3) == "abc");
  CHECK(stats_of(balancer, "a").total == 2);
}

TEST_CASE("a rotation goes on over updates and flips") {
  // Or the first backend would get more than its share from a set that changes often.
  auto balancer = servers(letters("abcd"));
  CHECK(picks(balancer, 2) == "ab");
  balancer.add({.id = "e"});
  CHECK(picks(balancer, 3) == "cde");
}

TEST_CASE("the balancer tells the name of its policy") {
  auto balancer = servers(letters("a"));
  CHECK(balancer.name() == "round_robin");
  CHECK(balancer.stats().policy == "round_robin");
}

TEST_CASE("no plan is made for nobody") {
  tests::Scene scene{letters("ab")};
  std::size_t fewest = 100;
  scene.policy.hooks->plan = [&](poise::Candidates const& candidates) {
    fewest = std::min(fewest, candidates.size());
  };
  scene.balancer.drain("a");
  scene.balancer.report_health("b", HealthState::degraded);
  scene.balancer.drain("b");
  scene.balancer.clear();
  CHECK(fewest == 1);
}

TEST_CASE("a change that changes nothing makes no new plan") {
  tests::Scene scene{letters("ab")};
  int plans = 0;
  scene.policy.hooks->plan = [&](auto const&) { ++plans; };
  scene.balancer.update(letters("ab"));
  scene.balancer.undrain("a");
  scene.balancer.set_weight("b", 1);
  scene.balancer.report_health("b", HealthState::healthy);
  scene.balancer.tick();
  CHECK(plans == 0);
  scene.balancer.drain("a");
  CHECK(plans == 1);
}

// -- all or nothing
// ----------------------------------------------------------------------------------

TEST_CASE("an update with one bad endpoint changes nothing at all") {
  auto balancer = servers(letters("abc"));
  balancer.drain("b");
  auto const before = stats_of(balancer, "a");
  auto const message = thrown<poise::ConfigError>([&] { balancer.update(letters("xaxy")); });
  CHECK(mentions(message, "\"x\""));
  CHECK(ids_of(balancer) == "abc");
  CHECK(stats_of(balancer, "b").drained);
  CHECK(stats_of(balancer, "a").serial == before.serial);
  CHECK(picks(balancer, 4).find('x') == std::string::npos);
}

TEST_CASE("a plan that throws leaves the set and its statistics as they were") {
  tests::Scene scene{letters("ab")};
  auto lease = scene.balancer.pick();
  scene.policy.hooks->plan = [](auto const&) { throw std::runtime_error{"no memory"}; };
  CHECK(thrown<std::runtime_error>([&] { scene.balancer.update(letters("bcd")); }) == "no memory");
  CHECK(thrown<std::runtime_error>([&] { scene.balancer.drain("a"); }) == "no memory");
  CHECK(thrown<std::runtime_error>([&] { scene.balancer.set_weight("a", 9); }) == "no memory");
  scene.policy.hooks->plan = nullptr;
  CHECK(ids_of(scene.balancer) == "ab");
  CHECK_FALSE(stats_of(scene.balancer, "a").drained);
  CHECK(stats_of(scene.balancer, "a").weight == 1);
  CHECK(picks(scene.balancer, 2).size() == 2);
  scene.balancer.update(letters("bcd"));
  CHECK(ids_of(scene.balancer) == "bcd");
}

TEST_CASE("a plan that throws at construction leaves nothing behind") {
  tests::Scripted policy;
  policy.hooks->plan = [](auto const&) { throw std::runtime_error{"no memory"}; };
  auto const uses = policy.hooks.use_count();
  CHECK(thrown<std::runtime_error>([&] {
          poise::Balancer<tests::Scripted, void, poise::Runtime<tests::Clock, tests::Spy>> const
              balancer{letters("ab"), policy};
        }) == "no memory");
  CHECK(policy.hooks.use_count() == uses);
}

TEST_CASE("a policy hook that throws in a tick stops the tick and nothing else") {
  tests::Scene scene{letters("ab")};
  scene.policy.hooks->on_tick = [](auto) { throw std::runtime_error{"tick"}; };
  CHECK(thrown<std::runtime_error>([&] { scene.balancer.tick(); }) == "tick");
  scene.policy.hooks->on_tick = nullptr;
  scene.balancer.tick();
  CHECK(picks(scene.balancer, 2).size() == 2);
}

// -- payloads
// ----------------------------------------------------------------------------------------

TEST_CASE("a payload is made once and kept over updates") {
  int made = 0;
  TrackedServers balancer{letters("ab"), [&](poise::Endpoint const& endpoint) {
                            ++made;
                            return Tracked{endpoint};
                          }};
  CHECK(made == 2);
  auto const* before = &pick_of(balancer, "a")->payload();
  balancer.update(letters("abc"));
  balancer.drain("b");
  CHECK(made == 3);
  CHECK(&pick_of(balancer, "a")->payload() == before);
}

TEST_CASE("a payload is made anew when the address changes") {
  TrackedServers balancer{letters("ab")};
  auto const* before = &pick_of(balancer, "a")->payload();
  balancer.update({{.id = "a", .address = "elsewhere"}, {.id = "b", .address = "b"}});
  CHECK(&pick_of(balancer, "a")->payload() != before);
  CHECK(Tracked::alive == 2);
}

TEST_CASE("without a factory a payload is made from its endpoint") {
  TrackedServers balancer{letters("a")};
  CHECK(balancer.pick()->payload().id == "a");
}

TEST_CASE("the payload of a removed idle backend is destroyed by the update that removes it") {
  TrackedServers balancer{letters("ab")};
  balancer.remove("a");
  CHECK(Tracked::died == "a");
  CHECK(Tracked::alive == 1);
}

TEST_CASE("the payload of a removed backend waits for its last lease and is not destroyed by it") {
  TrackedServers balancer{letters("ab")};
  auto lease = pick_of(balancer, "a");
  auto other = pick_of(balancer, "a");
  balancer.remove("a");
  CHECK(Tracked::alive == 2);
  lease.finish();
  balancer.tick();
  CHECK(Tracked::alive == 2);
  other.finish();
  CHECK(Tracked::alive == 2);  // not on the request's thread
  balancer.tick();
  CHECK(Tracked::alive == 1);
}

TEST_CASE("every payload is destroyed with the balancer and its last lease") {
  {
    TrackedServers::Lease lease;
    {
      TrackedServers balancer{letters("abc")};
      lease = balancer.pick();
    }
    CHECK(Tracked::alive == 1);
  }
  CHECK(Tracked::alive == 0);
}

TEST_CASE("a factory that throws half-way changes nothing and leaks nothing") {
  bool broken = false;
  TrackedServers balancer{letters("ab"), [&](poise::Endpoint const& endpoint) {
                            if (broken && endpoint.id == "d")
                              throw std::runtime_error{"no route to d"};
                            return Tracked{endpoint};
                          }};
  auto lease = pick_of(balancer, "a");
  broken = true;
  CHECK(thrown<std::runtime_error>([&] { balancer.update(letters("bcde")); }) == "no route to d");
  CHECK(thrown<std::runtime_error>([&] { balancer.add({.id = "d"}); }) == "no route to d");
  CHECK(Tracked::alive == 2);
  CHECK(ids_of(balancer) == "ab");
  CHECK(stats_of(balancer, "a").in_flight == 1);
  broken = false;
  balancer.update(letters("bcde"));
  CHECK(ids_of(balancer) == "bcde");
}

TEST_CASE("a factory that throws at construction leaks nothing") {
  auto const alive = Tracked::alive;
  CHECK(thrown<std::runtime_error>([&] {
          TrackedServers const balancer{letters("abc"), [](poise::Endpoint const& endpoint) {
                                          if (endpoint.id == "c") throw std::runtime_error{"c"};
                                          return Tracked{endpoint};
                                        }};
        }) == "c");
  CHECK(Tracked::alive == alive);
}

// -- the balancer as a value
// -------------------------------------------------------------------------

TEST_CASE("balancers live in a map and are moved with their leases going on") {
  std::map<std::string, tests::Servers> all;
  all.emplace("web", servers(letters("ab")));
  auto lease = all.at("web").pick();
  auto moved = std::move(all.at("web"));
  CHECK(stats_of(moved, "a").in_flight == 1);
  lease.finish();
  CHECK(stats_of(moved, "a").in_flight == 0);
  CHECK(picks(moved, 1) == "b");
}

TEST_CASE("a balancer that is assigned to lets go of its old backends") {
  TrackedServers balancer{letters("abc")};
  balancer = TrackedServers{letters("x")};
  CHECK(Tracked::alive == 1);
  CHECK(picks(balancer, 2) == "xx");
}

TEST_CASE("a balancer assigned to itself goes on") {
  auto balancer = servers(letters("a"));
  auto& same = balancer;
  balancer = std::move(same);
  CHECK(picks(balancer, 2) == "aa");
}

TEST_CASE("no snapshot waits after a change when nobody is picking") {
  auto balancer = servers(letters("ab"));
  for (int i = 0; i < 200; ++i) balancer.set_weight("a", static_cast<std::uint32_t>(1 + i % 2));
  CHECK(balancer.stats().retired_snapshots == 0);
  CHECK(balancer.stats().stranded_snapshots == 0);
}
