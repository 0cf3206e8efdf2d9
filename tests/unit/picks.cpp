// SPDX-License-Identifier: MIT
// Picks: who may be picked, what a request excludes, limits, degraded shares, and errors in words.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <poise/balancer.hpp>
#include <poise/policy/power_of_two.hpp>

#include "support/catch.hpp"
#include "support/scripted.hpp"
#include "support/servers.hpp"
#include "support/statistics.hpp"

namespace unit_picks {

using poise::HealthState;
using poise::PickError;
using poise::Result;
using tests::letters;
using tests::picks;
using tests::servers;
using tests::stats_of;

namespace {

std::vector<std::uint64_t> serials_of(tests::Servers& balancer, std::string_view ids) {
  std::vector<std::uint64_t> serials;
  for (char const id : ids) serials.push_back(stats_of(balancer, std::string(1, id)).serial);
  return serials;
}

/// The share of picks, of 20 000, that healthy backends get beside degraded ones; the rest is out.
double healthy_share(std::size_t healthy, std::size_t degraded, std::size_t out) {
  auto balancer = servers(tests::numbered(healthy + degraded + out));
  for (std::size_t i = healthy; i < healthy + degraded + out; ++i)
    balancer.set_health(std::to_string(i),
                        i < healthy + degraded ? HealthState::degraded : HealthState::unhealthy);
  int count = 0;
  for (int i = 0; i < 20'000; ++i) {
    auto lease = balancer.pick();
    if (lease->health() == HealthState::healthy) ++count;
    lease.finish();
  }
  return count / 20'000.0;
}

}  // namespace

TEST_CASE("a default balancer picks among its backends") {
  poise::Balancer<> balancer{poise::endpoints({"10.0.0.1:80", "10.0.0.2:80"})};
  std::map<std::string, int> seen;
  for (int i = 0; i < 200; ++i) ++seen[balancer.pick()->address()];
  CHECK(seen.size() == 2);
  CHECK(balancer.name() == "adaptive");
}

TEST_CASE("any address passes through unchanged") {
  using namespace std::string_literals;
  for (auto const& address :
       {"[2001:db8::1]:443"s, "[fe80::1%eth0]:80"s, "unix:/run/app.sock"s, "db.internal:5432"s,
        "\0abstract-socket"s, "amqp://user@host/queue?x=1"s}) {
    auto balancer = servers({{.address = address}});
    auto const lease = balancer.pick();
    CHECK(lease->address() == address);
    CHECK(lease->id() == address);
  }
}

TEST_CASE("the same address may serve under two ids") {
  auto balancer = servers({{.id = "a", .address = "x:1"}, {.id = "b", .address = "x:1"}});
  CHECK(picks(balancer, 4) == "abab");
}

// -- no backend to pick
// ----------------------------------------------------------------------------------

TEST_CASE("with no backends the error says that none are configured") {
  auto balancer = servers({});
  auto const lease = balancer.pick();
  CHECK_FALSE(lease);
  CHECK(lease.error().reason == PickError::empty);
}

TEST_CASE("with all backends out the error counts the reasons") {
  auto balancer = servers(letters("abcdefg"));
  balancer.drain("a");
  balancer.drain("b");
  for (auto const* id : {"c", "d", "e"}) balancer.report_health(id, HealthState::unhealthy);
  balancer.set_weight("f", 0);
  balancer.set_admission("g", {.max_in_flight = 0});
  CHECK(message(balancer.pick().error()) ==
        "7 backends: 2 drained, 3 unhealthy, 1 with weight 0, 1 at a limit or filtered out");
}

TEST_CASE("a backend that is out for two reasons is counted under the first") {
  auto balancer = servers(letters("a"));
  balancer.drain("a");
  balancer.report_health("a", HealthState::unhealthy);
  CHECK(message(balancer.pick().error()) == "1 backend: 1 drained");
}

TEST_CASE("picks resume when a backend comes back") {
  auto balancer = servers(letters("ab"));
  balancer.drain("a");
  balancer.drain("b");
  CHECK(picks(balancer, 2) == "--");
  balancer.undrain("b");
  CHECK(picks(balancer, 2) == "bb");
}

TEST_CASE("a failed pick counts nothing") {
  auto balancer = servers(letters("a"));
  balancer.set_admission("a", {.max_in_flight = 0});
  (void)picks(balancer, 100);
  CHECK(stats_of(balancer, "a").total == 0);
  CHECK(stats_of(balancer, "a").in_flight == 0);
}

// -- exclusions
// --------------------------------------------------------------------------------------

TEST_CASE("a backend that the request excludes is not picked") {
  auto balancer = servers(letters("abc"));
  auto const excluded = serials_of(balancer, "b");
  CHECK(picks(balancer, 60, {.excluded = excluded}).find('b') == std::string::npos);
}

TEST_CASE("an untried backend is found however many are excluded up to eight") {
  auto balancer = servers(letters("abcdefghi"));
  auto const excluded = serials_of(balancer, "abcdefgh");
  for (int i = 0; i < 100; ++i) {
    auto const lease = balancer.pick({.excluded = excluded});
    REQUIRE(lease->id() == "i");
    REQUIRE_FALSE(lease.repeated());
  }
}

TEST_CASE("an excluded backend is picked only when nothing else is left and the lease says so") {
  auto balancer = servers(letters("abc"));
  auto const excluded = serials_of(balancer, "ab");
  balancer.drain("c");
  auto const lease = balancer.pick({.excluded = excluded});
  REQUIRE(lease);
  CHECK(lease.repeated());
}

TEST_CASE("if all backends are excluded, repeated picks spread over all of them") {
  // n = 3000, expected 1000 each; chi-squared with 2 degrees of freedom, seeded.
  auto balancer = servers(letters("abc"));
  auto const excluded = serials_of(balancer, "abc");
  auto const text = picks(balancer, 3000, {.excluded = excluded});
  std::vector<std::uint64_t> counts;
  for (char const id : {'a', 'b', 'c'})
    counts.push_back(static_cast<std::uint64_t>(std::count(text.begin(), text.end(), id)));
  CHECK(tests::chi_squared(counts, {1, 1, 1}) < tests::chi_squared_limit(3));
}

TEST_CASE("an excluded backend at its limit is not picked even when nothing else is left") {
  auto balancer = servers(letters("a"));
  auto const excluded = serials_of(balancer, "a");
  balancer.set_admission("a", {.max_in_flight = 0});
  CHECK(balancer.pick({.excluded = excluded}).error().refused == 1);
}

TEST_CASE("of more than eight exclusions none is forgotten") {
  auto balancer = servers(letters("abcdefghij"));
  auto const excluded = serials_of(balancer, "abcdefghi");
  for (int i = 0; i < 50; ++i) {
    auto const lease = balancer.pick({.excluded = excluded});
    REQUIRE(lease->id() == "j");
    REQUIRE_FALSE(lease.repeated());
  }
}

TEST_CASE("an untried degraded backend comes before a tried healthy one") {
  auto balancer = servers(letters("ab"));
  balancer.report_health("b", HealthState::degraded);
  auto const excluded = serials_of(balancer, "a");
  CHECK(picks(balancer, 50, {.excluded = excluded}) == std::string(50, 'b'));
}

TEST_CASE("serials of removed backends exclude no backend") {
  auto balancer = servers(letters("ab"));
  auto const excluded = serials_of(balancer, "a");
  balancer.remove("a");
  balancer.add({.id = "a"});
  CHECK(picks(balancer, 10, {.excluded = excluded}).find('a') != std::string::npos);
}

// -- limits and shares
// -------------------------------------------------------------------------------

TEST_CASE("a backend at its limit is passed over until a request of its ends") {
  auto balancer = servers(letters("ab"));
  balancer.set_admission("a", {.max_in_flight = 2});
  std::vector<tests::Servers::Lease> leases;
  for (int i = 0; i < 20; ++i) leases.push_back(balancer.pick());
  CHECK(stats_of(balancer, "a").in_flight == 2);
  CHECK(stats_of(balancer, "b").in_flight == 18);
  std::erase_if(leases, [](auto const& lease) { return lease->id() == "a"; });
  CHECK(picks(balancer, 10).find('a') != std::string::npos);
}

TEST_CASE("with all backends at their limit the error says so and the next free one is picked") {
  auto balancer = servers(letters("ab"));
  balancer.set_admission("a", {.max_in_flight = 1});
  balancer.set_admission("b", {.max_in_flight = 1});
  auto first = balancer.pick();
  auto second = balancer.pick();
  CHECK(message(balancer.pick().error()) == "2 backends: 2 at a limit or filtered out");
  auto const id = first->id();
  first.finish();
  CHECK(balancer.pick()->id() == id);
}

TEST_CASE("a limit is never exceeded and always reached") {
  auto balancer = servers(tests::numbered(50));
  for (int i = 0; i < 50; ++i) balancer.set_admission(std::to_string(i), {.max_in_flight = 3});
  std::vector<tests::Servers::Lease> leases;
  for (int i = 0; i < 150; ++i) {
    leases.push_back(balancer.pick());
    REQUIRE(leases.back());
    REQUIRE(leases.back()->in_flight() <= 3);
  }
  CHECK_FALSE(balancer.pick());
}

TEST_CASE("no limit lies above two to the 23") {
  auto balancer = servers(letters("a"));
  balancer.set_admission("a", {.max_in_flight = ~std::uint32_t{0}});
  CHECK(stats_of(balancer, "a").admission.max_in_flight == 1U << 23U);
}

TEST_CASE("a backend that accepts a quarter of its picks gets a quarter of its turns") {
  // Every other turn is a's, and it accepts one in four: an eighth of all. n = 20 000: standard
  // deviation below 0.003; tolerance 5 of them. Seeded.
  auto balancer = servers(letters("ab"));
  balancer.set_admission("a", {.share = 1U << 30U});
  (void)picks(balancer, 20'000);
  auto const share = static_cast<double>(stats_of(balancer, "a").total) / 20'000;
  CHECK(std::abs(share - 0.125) < 0.015);
}

TEST_CASE("backends that accept no share still serve when no other is left") {
  auto balancer = servers(letters("ab"));
  balancer.set_admission("a", {.share = 0});
  balancer.set_admission("b", {.share = 0});
  CHECK(picks(balancer, 20).find('-') == std::string::npos);
}

TEST_CASE("a share is made of a fraction, and 1 is taken for a mistake") {
  using poise::Admission;
  CHECK(Admission::share_of(0) == 0);
  CHECK(Admission::share_of(0.25) == (1U << 30U) - 1);
  CHECK(Admission::share_of(1) == Admission{}.share);
  CHECK_THROWS_AS(Admission::share_of(1.5), poise::ConfigError);
  CHECK_THROWS_AS(Admission::share_of(std::nan("")), poise::ConfigError);
  auto balancer = servers(letters("ab"));
  CHECK_THROWS_WITH(balancer.set_admission("a", {.share = 1}),
                    "share of \"a\" is 1, which is 2^-32: use Admission::share_of(0.25) for a "
                    "quarter, and leave it out for all");
}

TEST_CASE("a full share refuses no request") {
  auto balancer = servers(letters("ab"));
  CHECK(picks(balancer, 1000).substr(0, 4) == "abab");
  CHECK(stats_of(balancer, "a").total == 500);
}

// -- health
// ------------------------------------------------------------------------------------------

TEST_CASE("the healthy share follows Envoy's table at 140 percent") {
  using poise::detail::healthy_percent;
  CHECK(healthy_percent(100, 0, 100) == 100);
  CHECK(healthy_percent(72, 28, 100) == 100);
  CHECK(healthy_percent(71, 29, 100) == 99);
  CHECK(healthy_percent(50, 50, 100) == 70);
  CHECK(healthy_percent(35, 65, 100) == 49);
  CHECK(healthy_percent(25, 75, 100) == 35);
  CHECK(healthy_percent(25, 25, 100) == 50);
  CHECK(healthy_percent(0, 100, 100) == 0);
}

TEST_CASE("the healthy share holds at the edges of the arithmetic") {
  using poise::detail::healthy_percent;
  CHECK(healthy_percent(0, 0, 0) == 0);
  CHECK(healthy_percent(0, 1, 1000) == 0);
  CHECK(healthy_percent(1, 1, 1000) == 100);
  CHECK(healthy_percent(1, 0, 1000) == 100);
  CHECK(healthy_percent(4'000'000'000, 4'000'000'000, 8'000'000'000) == 70);
}

TEST_CASE("degraded backends take what the healthy ones can't carry") {
  // n = 20 000: standard deviation at most 0.0036; tolerance 5 of them. Seeded.
  CHECK(std::abs(healthy_share(5, 5, 0) - 0.70) < 0.018);
  CHECK(std::abs(healthy_share(1, 3, 0) - 0.35) < 0.018);
  CHECK(std::abs(healthy_share(1, 1, 2) - 0.50) < 0.018);
}

TEST_CASE("degraded backends get nothing while enough are healthy") {
  CHECK(healthy_share(8, 2, 0) == 1.0);
}

TEST_CASE("degraded backends take everything when no backend is healthy") {
  CHECK(healthy_share(0, 3, 1) == 0.0);
}

TEST_CASE("a drained backend is no burden on the healthy share") {
  // Two of four drained, one healthy, one degraded: 1 of 2 is healthy, so 70 %, not 1 of 4.
  auto balancer = servers(letters("abcd"));
  balancer.drain("c");
  balancer.drain("d");
  balancer.report_health("b", HealthState::degraded);
  (void)picks(balancer, 20'000);
  CHECK(std::abs(static_cast<double>(stats_of(balancer, "a").total) / 20'000 - 0.70) < 0.018);
}

TEST_CASE("a full healthy group overflows into the degraded one") {
  auto balancer = servers(letters("ab"));
  balancer.report_health("b", HealthState::degraded);
  balancer.set_admission("a", {.max_in_flight = 0});
  CHECK(picks(balancer, 20) == std::string(20, 'b'));
}

// -- what a pick looks at
// ----------------------------------------------------------------------------

TEST_CASE("a pick with most backends out asks once among those left and finds its backend") {
  for (std::size_t const left : {500U, 100U, 1U}) {
    tests::Scene scene{tests::numbered(1000)};
    int calls = 0;
    std::size_t seen = 0;
    scene.spy.hooks->arrange = [&](std::span<poise::BackendView> all) {
      for (std::size_t i = 0; i < all.size(); ++i)
        if (i % (all.size() / left) != 0) all[i].health = HealthState::unhealthy;
    };
    scene.balancer.set_weight("0", 2);
    scene.policy.hooks->pick = [&](poise::Candidates const& candidates, poise::Context& context) {
      ++calls;
      seen = candidates.size();
      return context.random.below(candidates.size());
    };
    for (int i = 0; i < 1000; ++i) scene.balancer.pick().finish();
    CHECK(calls == 1000);
    CHECK(seen == left);
  }
}

TEST_CASE("the same seed gives the same picks") {
  auto const run = [] {
    poise::Balancer<poise::P2C> balancer{tests::numbered(20), {}, {.clock = {}, .seed = 99}};
    std::string text;
    std::vector<poise::Balancer<poise::P2C>::Lease> leases;
    for (int i = 0; i < 500; ++i) {
      leases.push_back(balancer.pick());
      text += leases.back()->id() + " ";
      if (i % 3 == 0) leases.erase(leases.begin());
    }
    return text;
  };
  CHECK(run() == run());
}

}  // namespace unit_picks
