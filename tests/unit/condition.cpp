// SPDX-License-Identifier: MIT
// What a request may demand of its backend, prefer, and say to policies.

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/balancer.hpp>
#include <poise/compose/retry.hpp>
#include <poise/condition.hpp>
#include <poise/policy/power_of_two.hpp>

#include "support/catch.hpp"
#include "support/policies.hpp"
#include "support/servers.hpp"
#include "support/text.hpp"

namespace unit_condition {

using namespace std::chrono_literals;
using poise::HealthState;
using poise::RequiredLabels;
using poise::Result;
using tests::letters;
using tests::mentions;
using tests::picks;
using tests::servers;
using tests::servers_with;

namespace {

/// Backends "a" to "f": "b" and "e" have both labels, "c" has one of them with another value.
std::vector<poise::Endpoint> labelled() {
  auto result = letters("abcdef");
  for (std::size_t const i : {1U, 4U}) result[i].labels = {{"disk", "ssd"}, {"region", "eu"}};
  result[2].labels = {{"disk", "ssd"}, {"region", "us"}};
  result[3].labels = {{"ssd", "disk"}, {"eu", "region"}};
  return result;
}

constexpr auto some_policies = std::to_array<std::string_view>(
    {"round_robin", "exact_round_robin", "smooth_weighted", "random", "weighted_random",
     "least_connections", "p2c", "least_latency", "p2c(peak_ewma)", "adaptive", "maglev", "ring",
     "rendezvous", "retry(p2c)", "bounded(maglev)"});

RequiredLabels const fast{{"region", "eu"}, {"disk", "ssd"}};

}  // namespace

// -- conditions ----------------------------------------------------------------------------------

TEST_CASE("only backends with all required labels are picked, under every policy") {
  for (auto const name : some_policies) {
    CAPTURE(name);
    auto balancer = servers_with(tests::policy(name), labelled());
    for (int i = 0; i < 50; ++i) {
      auto const key = std::to_string(i);
      auto const lease = balancer.pick({.route_key = key, .condition = fast});
      REQUIRE(lease);
      REQUIRE((lease->id() == "b" || lease->id() == "e"));
    }
  }
}

TEST_CASE("requests with a condition spread over all that fulfil it") {
  auto balancer = servers_with(poise::P2C{}, labelled());
  for (int i = 0; i < 200; ++i) balancer.pick({.condition = fast}).finish();
  // 200 draws of two: 100 each, and 5 standard deviations are 35.
  CHECK(tests::stats_of(balancer, "b").total > 65);
  CHECK(tests::stats_of(balancer, "e").total > 65);
}

TEST_CASE("a condition may be any test of a backend") {
  auto balancer = servers(letters("abc"));
  std::string_view const wanted = "c";
  auto const is_wanted = [&](poise::Backend const& backend) { return backend.id() == wanted; };
  CHECK(picks(balancer, 3, {.condition = is_wanted}) == "ccc");
  CHECK(balancer.pick({.condition = [](auto const& each) { return each.id() < "b"; }})->id() ==
        "a");
}

TEST_CASE("a condition that no backend fulfils is an error that says so") {
  auto balancer = servers(letters("abc"));
  balancer.drain("a");
  auto const lease = balancer.pick({.condition = fast});
  CHECK_FALSE(lease);
  CHECK(lease.error() ==
        poise::Error{.reason = poise::PickError::unavailable, .drained = 1, .unsuitable = 2});
  CHECK(message(lease.error()) == "3 backends: 1 drained, 2 not suitable for this request");
  CHECK(balancer.find("b")->total() == 0);
}

TEST_CASE("a condition holds also when its backends are full, excluded or unhealthy") {
  auto balancer = servers(labelled());
  balancer.set_admission("b", {.max_in_flight = 0});
  CHECK(picks(balancer, 2, {.condition = fast}) == "ee");
  std::vector<std::uint64_t> const tried{tests::stats_of(balancer, "e").serial};
  auto const again = balancer.pick({.excluded = tried, .condition = fast});
  CHECK(again->id() == "e");
  CHECK(again.repeated());
  balancer.report_health("e", HealthState::unhealthy);
  auto const none = balancer.pick({.condition = fast});
  CHECK(none.error().refused == 1);
  CHECK(none.error().unhealthy == 1);
  CHECK(none.error().unsuitable == 4);
}

TEST_CASE("no labels and no condition let every backend in") {
  auto balancer = servers(letters("ab"));
  RequiredLabels const none{};
  CHECK(balancer.pick({.condition = none}));
  CHECK(balancer.pick({.condition = {}}));
}

TEST_CASE("labels whose marks collide are told apart") {
  std::vector<poise::Endpoint> all;
  for (int i = 0; i < 200; ++i)
    all.push_back({.id = std::to_string(i), .labels = {{"pod", std::to_string(i)}}});
  auto balancer = servers(std::move(all));
  for (int i = 0; i < 200; ++i) {
    RequiredLabels const one{{"pod", std::to_string(i)}};
    CHECK(balancer.pick({.condition = one})->id() == std::to_string(i));
  }
}

TEST_CASE("a quorum and a broadcast heed the condition") {
  auto balancer = servers(labelled());
  CHECK(balancer.pick_many(5, {.condition = fast}).size() == 2);
  CHECK(balancer.pick_all({.condition = fast}).size() == 2);
}

TEST_CASE("a call retries only where its condition holds") {
  auto balancer = servers_with(poise::Retry<poise::RoundRobin>{{.attempts = 6}}, labelled());
  std::string tried;
  CHECK_THROWS(balancer.call({.condition = fast}, [&](auto& backend) {
    tried += backend.id();
    throw std::runtime_error{"no"};
  }));
  CHECK(tried.size() >= 2);
  CHECK(tried.find_first_not_of("be") == std::string::npos);
}

// -- positions -----------------------------------------------------------------------------------

TEST_CASE("a read of one's own writes goes where the write has arrived") {
  auto balancer = servers(letters("abc"));
  balancer.find("a")->set_reached(100);
  balancer.find("b")->set_reached(99);
  CHECK(picks(balancer, 4, {.after = 100}) == "aaaa");
  CHECK(balancer.pick({.after = 101}).error().unsuitable == 3);
  balancer.find("c")->set_reached(~std::uint64_t{0});
  CHECK(picks(balancer, 2, {.after = 101}) == "cc");
  CHECK(balancer.stats().backends[0].reached == 100);
}

TEST_CASE("a position never goes back") {
  auto balancer = servers(letters("a"));
  auto const backend = balancer.find("a");
  backend->set_reached(7);
  backend->set_reached(5);
  CHECK(backend->reached() == 7);
}

TEST_CASE("a position stays with the address") {
  auto balancer = servers({{.id = "a", .address = "a:1"}});
  balancer.find("a")->set_reached(7);
  balancer.update({{.id = "a", .address = "a:1", .labels = {{"role", "primary"}}}});
  CHECK(balancer.find("a")->reached() == 7);
  balancer.update({{.id = "a", .address = "a:2"}});
  CHECK(balancer.find("a")->reached() == 0);
}

// -- preferred -----------------------------------------------------------------------------------

TEST_CASE("a preferred backend is picked, under every policy") {
  for (auto const name : some_policies) {
    if (name.starts_with("bounded")) continue;  // its bound holds for sessions, too
    CAPTURE(name);
    auto balancer = servers_with(tests::policy(name), letters("abcdef"));
    auto const first = balancer.pick({.route_key = "k"});
    REQUIRE(first);
    auto const id = std::string{first->id()};
    for (int i = 0; i < 20; ++i)
      REQUIRE(balancer.pick({.route_key = "k", .preferred = id})->id() == id);
  }
}

TEST_CASE("a session whose backend is gone, out or full goes elsewhere") {
  auto balancer = servers(letters("abc"));
  CHECK(picks(balancer, 3, {.preferred = "b"}) == "bbb");
  balancer.set_admission("b", {.max_in_flight = 0});
  CHECK(balancer.pick({.preferred = "b"})->id() != "b");
  balancer.set_admission("b", {});
  balancer.drain("b");
  CHECK(balancer.pick({.preferred = "b"})->id() != "b");
  balancer.undrain("b");
  balancer.report_health("b", HealthState::unhealthy);
  CHECK(balancer.pick({.preferred = "b"})->id() != "b");
  balancer.remove("b");
  CHECK(balancer.pick({.preferred = "b"}));
  CHECK(balancer.pick({.preferred = "never heard of"}));
}

TEST_CASE("a session stays on a degraded backend") {
  auto balancer = servers(letters("abc"));
  balancer.report_health("b", HealthState::degraded);
  CHECK(picks(balancer, 10, {.preferred = "b"}) == "bbbbbbbbbb");
}

TEST_CASE("a preferred backend that was tried, or does not fulfil the condition, is left out") {
  auto balancer = servers(labelled());
  std::vector<std::uint64_t> const tried{tests::stats_of(balancer, "b").serial};
  CHECK(balancer.pick({.excluded = tried, .preferred = "b"})->id() != "b");
  CHECK(balancer.pick({.condition = fast, .preferred = "a"})->id() != "a");
  CHECK(balancer.pick({.condition = fast, .preferred = "e"})->id() == "e");
}

// -- exclusions, user data, deadlines ------------------------------------------------------------

TEST_CASE("any number of backends may be excluded") {
  auto balancer = servers(tests::numbered(100));
  std::vector<std::uint64_t> excluded;
  for (auto const& each : balancer.stats().backends)
    if (each.id != "42") excluded.push_back(each.serial);
  for (int i = 0; i < 20; ++i) {
    auto const lease = balancer.pick({.excluded = excluded});
    REQUIRE(lease->id() == "42");
    REQUIRE_FALSE(lease.repeated());
  }
}

namespace {

struct Tenant {
  std::size_t home;
};
/// Sends each tenant home.
struct ByTenant {
  std::size_t pick(poise::Candidates const& candidates, poise::Context& context) const {
    auto const* tenant = context.request.user.get<Tenant>();
    return tenant == nullptr ? 0 : tenant->home % candidates.size();
  }
};

}  // namespace

TEST_CASE("a policy of one's own reads the data of one's own") {
  poise::Balancer<ByTenant> balancer{letters("abc")};
  Tenant const tenant{2};
  int const other = 1;
  CHECK(balancer.pick({.user = tenant})->id() == "c");
  CHECK(balancer.pick({.user = other})->id() == "a");
  CHECK(balancer.pick()->id() == "a");
}

TEST_CASE("a deadline comes from any clock and says what is left of it") {
  tests::Clock const clock;
  auto balancer = servers(letters("a"), clock);
  clock.advance(1h);
  poise::Request request{.deadline = balancer.time_of(std::chrono::system_clock::now() + 30s)};
  auto const left = *request.remaining(balancer.now());
  CHECK(left <= 30s);
  CHECK(left > 25s);
  clock.advance(20s);
  CHECK(*request.remaining(balancer.now()) <= 10s);
  clock.advance(20s);
  CHECK(*request.remaining(balancer.now()) == 0s);
  CHECK_FALSE(poise::Request{}.remaining(balancer.now()));
  CHECK(balancer.time_of(std::chrono::system_clock::time_point::max()) > balancer.now() + 24h);
}

}  // namespace unit_condition
