// SPDX-License-Identifier: MIT
// Changes of a live balancer: all or nothing, and what stays stays.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
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

namespace unit_changes {

using namespace std::chrono_literals;
using poise::HealthState;
using poise::Result;
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
  lease.finish(Result::timeout, 20ms);
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
  CHECK(after.ended(Result::timeout) == 1);
  CHECK(after.error_rate == before.error_rate);
}

TEST_CASE("an update removes missing backends and adds new ones") {
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
  CHECK(stats_of(balancer, "a").ended(Result::timeout) == 1);
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
  CHECK(after.ended(Result::timeout) == 1);
}

TEST_CASE("a lease keeps the address it was given when an update changes it") {
  auto balancer = servers(letters("a"));
  auto lease = balancer.pick();
  balancer.update({{.id = "a", .address = "elsewhere"}});
  CHECK(lease->address() == "a");
  CHECK(stats_of(balancer, "a").in_flight == 1);
  lease.finish(Result::error);
  CHECK(stats_of(balancer, "a").in_flight == 0);
  CHECK(stats_of(balancer, "a").failed == 1);
}

TEST_CASE("no counter decreases while requests run on backends that were replaced") {
  auto balancer = servers(letters("a"));
  for (int i = 0; i < 500; ++i) balancer.pick().finish(i < 5 ? Result::error : Result::success);
  std::vector<tests::Servers::Lease> leases;
  auto before = stats_of(balancer, "a");
  auto const check = [&] {
    auto const now = stats_of(balancer, "a");
    CHECK(now.total >= before.total);
    std::uint64_t completed = 0;
    for (std::size_t i = 0; i < poise::result_count; ++i) {
      auto const result = static_cast<Result>(i);
      CHECK(now.ended(result) >= before.ended(result));
      completed += now.ended(result);
    }
    CHECK(now.total == completed + now.in_flight);
    before = now;
  };
  for (int change = 0; change < 5; ++change) {
    leases.push_back(balancer.pick());
    leases.push_back(balancer.pick());
    check();
    balancer.update({{.id = "a", .zone = "zone " + std::to_string(change)}});
    check();
    leases[static_cast<std::size_t>(change)].finish(change % 2 == 0 ? Result::timeout
                                                                    : Result::success);
    check();
  }
  CHECK(before.in_flight == 5);
  leases.clear();
  balancer.tick();
  check();
  CHECK(before.total == 510);
  CHECK(before.in_flight == 0);
  CHECK(before.ended(Result::timeout) == 3);
  CHECK(before.ended(Result::abandoned) == 5);
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

TEST_CASE("a backend that is removed and added again starts without statistics") {
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
  lease.finish(Result::error);
  CHECK(stats_of(balancer, "a").serial != serial);
  CHECK(stats_of(balancer, "a").failed == 0);
}

TEST_CASE("a cleared balancer fails to pick and may be filled again") {
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
  CHECK(balancer.record("a", Result::success, 12ms));
  CHECK(balancer.record("a", Result::reset));
  auto const stats = stats_of(balancer, "a");
  CHECK(stats.total == 2);
  CHECK(stats.ended(Result::success) == 1);
  CHECK(stats.ended(Result::reset) == 1);
  CHECK(stats.latency == 12ms);
}

TEST_CASE("out-of-band records never touch requests in flight") {
  auto balancer = servers(letters("a"));
  auto lease = balancer.pick();
  for (int i = 0; i < 10; ++i) balancer.record("a", Result::success);
  CHECK(stats_of(balancer, "a").in_flight == 1);
  lease.finish();
  CHECK(stats_of(balancer, "a").in_flight == 0);
  CHECK(stats_of(balancer, "a").total == 11);
}

TEST_CASE("a record of an unknown backend says so") {
  auto balancer = servers(letters("a"));
  CHECK_FALSE(balancer.record("b", Result::success));
  CHECK_FALSE(balancer.record("b", Result::success, 1ms));
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

TEST_CASE("the balancer returns the name of its policy") {
  auto balancer = servers(letters("a"));
  CHECK(balancer.name() == "round_robin");
  CHECK(balancer.stats().policy == "round_robin");
}

TEST_CASE("no plan is made without backends") {
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

TEST_CASE("a new payload is made when the address changes") {
  TrackedServers balancer{letters("ab")};
  auto const* before = &pick_of(balancer, "a")->payload();
  balancer.update({{.id = "a", .address = "elsewhere"}, {.id = "b", .address = "b"}});
  CHECK(&pick_of(balancer, "a")->payload() != before);
  CHECK(Tracked::alive == 2);
}

TEST_CASE("a payload that one change adds and removes may touch the balancer at its end") {
  struct Farewell {
    std::function<void()> say;
    explicit Farewell(std::function<void()> what) : say{std::move(what)} {}
    Farewell(Farewell&& other) noexcept : say{std::exchange(other.say, nullptr)} {}
    ~Farewell() {
      if (say) say();
    }
  };
  int told = 0;
  poise::Balancer<poise::RoundRobin, Farewell>* known = nullptr;
  poise::Balancer<poise::RoundRobin, Farewell> balancer{
      letters("a"), [&](poise::Endpoint const&) {
        return Farewell{[&] {
          if (known == nullptr) return;
          known->set_weight("a", 7);  // refused, and so the end of the program, under the lock
          ++told;
        }};
      }};
  known = &balancer;
  balancer.apply(poise::Changes{}.add({.id = "x", .address = "x"}).remove("x"));
  known = nullptr;
  CHECK(told == 1);
  CHECK(balancer.find("a")->weight() == 7);
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

TEST_CASE("no snapshot waits after a change when no pick is in progress") {
  auto balancer = servers(letters("ab"));
  for (int i = 0; i < 200; ++i) balancer.set_weight("a", static_cast<std::uint32_t>(1 + i % 2));
  CHECK(balancer.stats().retired_snapshots == 0);
  CHECK(balancer.stats().stranded_snapshots == 0);
}

// -- the operator's weights and limits
// ----------------------------------------------------------

TEST_CASE("a weight that the operator set survives updates until it is taken back") {
  auto balancer = servers({{.id = "a", .weight = 2}, {.id = "b", .weight = 2}});
  balancer.set_weight("a", 7);
  balancer.update({{.id = "a", .weight = 5}, {.id = "b", .weight = 5}});
  CHECK(stats_of(balancer, "a").weight == 7);
  CHECK(stats_of(balancer, "a").endpoint_weight == 5);
  CHECK(stats_of(balancer, "a").weight_is_set);
  CHECK(stats_of(balancer, "b").weight == 5);
  CHECK_FALSE(stats_of(balancer, "b").weight_is_set);
  balancer.set_weight("a", std::nullopt);
  CHECK(stats_of(balancer, "a").weight == 5);
  CHECK_FALSE(stats_of(balancer, "a").weight_is_set);
}

TEST_CASE("a weight that the operator set to its present value counts as set") {
  auto balancer = servers({{.id = "a", .weight = 2}, {.id = "b"}});
  balancer.set_weight("a", 2);
  balancer.update({{.id = "a", .weight = 5}, {.id = "b"}});
  CHECK(stats_of(balancer, "a").weight == 2);
}

TEST_CASE("an update may leave only backends that the operator gave no weight") {
  auto balancer = servers(letters("ab"));
  balancer.set_weight("a", 0);
  balancer.update(letters("a"));
  CHECK(message(balancer.pick().error()) == "1 backend: 1 with weight 0");
  balancer.set_weight("a", std::nullopt);
  CHECK(picks(balancer, 1) == "a");
}

TEST_CASE("an endpoint's limit holds, follows updates, and yields to the operator's") {
  auto balancer = servers({{.id = "a", .max_in_flight = 1}});
  auto lease = balancer.pick();
  CHECK(balancer.pick().error().refused == 1);
  balancer.update({{.id = "a", .max_in_flight = 2}});
  auto second = balancer.pick();
  CHECK(second);
  CHECK_FALSE(balancer.pick());
  balancer.set_admission("a", {.max_in_flight = 3});
  balancer.update({{.id = "a", .max_in_flight = 1}});
  CHECK(balancer.pick());
  balancer.update({{.id = "a", .address = "elsewhere", .max_in_flight = 1}});
  CHECK(balancer.find("a")->admission().max_in_flight == 3);
}

TEST_CASE("an endpoint whose limit is gone from the configuration has none") {
  auto balancer = servers({{.id = "a", .max_in_flight = 0}});
  CHECK_FALSE(balancer.pick());
  balancer.update({{.id = "a"}});
  CHECK(balancer.pick());
}

// What survives what: the table in docs/backend_views.md, row by row.
TEST_CASE("what an operator and the requests left survives as the table says") {
  struct Row {
    std::string_view change;
    bool counts, health, weight, admission, reached, same_serial;
  };
  for (auto const& row : {Row{"update", true, true, true, true, true, true},
                          Row{"label", true, true, true, true, true, false},
                          Row{"address", true, true, true, true, false, false},
                          Row{"again", false, false, false, false, false, false},
                          Row{"policy", true, true, true, true, true, true}}) {
    CAPTURE(row.change);
    auto balancer = servers({{.id = "a", .address = "a"}, {.id = "b", .address = "b"}});
    pick_of(balancer, "a").finish(Result::success, 20ms);
    break_it(balancer, "a");
    balancer.drain("a");
    balancer.set_health("a", HealthState::degraded);
    balancer.set_weight("a", 3);
    balancer.set_admission("a", {.max_in_flight = 4});
    balancer.find("a")->set_reached(5);
    auto const serial = stats_of(balancer, "a").serial;

    poise::Endpoint const b{.id = "b", .address = "b"};
    if (row.change == "update") balancer.update({{.id = "a", .address = "a", .weight = 9}, b});
    if (row.change == "label")
      balancer.update({{.id = "a", .address = "a", .labels = {{"x", "y"}}}, b});
    if (row.change == "address") balancer.update({{.id = "a", .address = "a:2"}, b});
    if (row.change == "again")
      balancer.apply(poise::Changes{}.remove("a").add({.id = "a", .address = "a"}));
    if (row.change == "policy") balancer.set_policy({});

    auto const after = stats_of(balancer, "a");
    CHECK((after.ended(Result::timeout) == 1) == row.counts);
    CHECK(after.latency.has_value() == row.counts);
    CHECK(after.drained == row.health);
    CHECK((after.health == HealthState::degraded) == row.health);
    CHECK((after.weight == 3) == row.weight);
    CHECK((after.admission.max_in_flight == 4) == row.admission);
    CHECK((after.reached == 5) == row.reached);
    CHECK((after.serial == serial) == row.same_serial);
  }
}

// -- several changes as one
// ----------------------------------------------------------------------

TEST_CASE("several changes are one: applied in order and published once") {
  auto balancer = servers(letters("abcd"));
  balancer.apply(poise::Changes{}
                     .set_weight("a", 5)
                     .drain("b")
                     .set_health("c", HealthState::unhealthy)
                     .report_health("d", HealthState::degraded)
                     .set_admission("d", {.max_in_flight = 9})
                     .add({.id = "e"})
                     .set_weight("e", 4)
                     .remove("a"));
  CHECK(ids_of(balancer) == "bcde");
  CHECK(stats_of(balancer, "b").drained);
  CHECK(stats_of(balancer, "c").health == HealthState::unhealthy);
  CHECK(stats_of(balancer, "d").health == HealthState::degraded);
  CHECK(stats_of(balancer, "d").admission.max_in_flight == 9);
  CHECK(stats_of(balancer, "e").weight == 4);
}

TEST_CASE("several changes of which one is wrong change nothing") {
  auto balancer = servers(letters("abc"));
  auto const refused = [&](poise::Changes const& changes) {
    auto const words = thrown<poise::ConfigError>([&] { balancer.apply(changes); });
    CHECK(ids_of(balancer) == "abc");
    CHECK_FALSE(stats_of(balancer, "a").drained);
    CHECK(stats_of(balancer, "a").admission == poise::Admission{});
    return words;
  };
  auto const begin = poise::Changes{}.drain("a").set_admission("a", {.max_in_flight = 1});
  CHECK(mentions(refused(poise::Changes{begin}.remove("b").drain("x")), "drain(): there is no"));
  CHECK(
      mentions(refused(poise::Changes{begin}.remove("b").drain("b")), "there is no backend \"b\""));
  CHECK(mentions(refused(poise::Changes{begin}.add({.id = "c"})), "is a backend already"));
  CHECK(mentions(refused(poise::Changes{begin}.add({.id = "d"}).add({.id = "d"})), "\"d\""));
  CHECK(mentions(
      refused(poise::Changes{begin}.set_weight("a", 0).set_weight("b", 0).set_weight("c", 0)),
      "every weight is 0"));
}

TEST_CASE("weights may all be 0 between two of several changes") {
  auto balancer = servers(letters("ab"));
  balancer.apply(poise::Changes{}.set_weight("a", 0).set_weight("b", 0).set_weight("a", 2));
  CHECK(stats_of(balancer, "a").weight == 2);
  CHECK(stats_of(balancer, "b").weight == 0);
}

TEST_CASE("an update with more to say is one change") {
  auto balancer = servers(letters("abc"));
  balancer.apply(poise::Changes{}.update(letters("cbx")).drain("x").set_weight("c", 3).remove("b"));
  CHECK(ids_of(balancer) == "cx");
  CHECK(stats_of(balancer, "x").drained);
  CHECK(stats_of(balancer, "c").weight == 3);
  CHECK(mentions(
      thrown<poise::ConfigError>([] { (void)poise::Changes{}.drain("a").update(letters("a")); }),
      "must be the first"));
}

TEST_CASE("wrong endpoints are refused when the change is written down") {
  CHECK_THROWS_AS(poise::Changes{}.add({}), poise::ConfigError);
  CHECK_THROWS_AS(poise::Changes{}.update({{.id = "a"}, {.id = "a"}}), poise::ConfigError);
}

TEST_CASE("a backend that one change adds and removes leaves nothing behind") {
  {
    TrackedServers balancer{letters("ab")};
    balancer.apply(poise::Changes{}.add({.id = "c"}).remove("c").remove("a").add({.id = "a"}));
    CHECK(ids_of(balancer) == "ba");
    balancer.tick();
    CHECK(Tracked::alive == 2);
  }
  CHECK(Tracked::alive == 0);
}

TEST_CASE("changes may be applied again, and to several balancers") {
  auto first = servers(letters("ab"));
  auto second = servers(letters("ab"));
  auto const changes = poise::Changes{}.add({.id = "c"}).drain("a");
  first.apply(changes);
  second.apply(changes);
  CHECK(ids_of(first) == ids_of(second));
  CHECK_THROWS_AS(first.apply(changes), poise::ConfigError);
  first.apply({});
  CHECK(ids_of(first) == "abc");
}

TEST_CASE("ten thousand weights and a thousand removals are one change") {
  auto balancer = servers(tests::numbered(10'000));
  poise::Changes changes;
  for (int i = 0; i < 10'000; ++i)
    changes.set_weight(std::to_string(i), static_cast<std::uint32_t>(1 + i % 7));
  for (int i = 0; i < 1000; ++i) changes.remove(std::to_string(10 * i));
  balancer.apply(changes);
  CHECK(balancer.stats().backends.size() == 9000);
  CHECK(stats_of(balancer, "9999").weight == 1 + 9999 % 7);
}

}  // namespace unit_changes
