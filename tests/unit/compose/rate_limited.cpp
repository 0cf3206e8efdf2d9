// SPDX-License-Identifier: MIT
// Rates per backend and per key: never more than they allow, and an error that says when to come
// back.

#include <poise/compose/rate_limited.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <poise/balancer.hpp>
#include <poise/compose/bounded.hpp>
#include <poise/compose/failover.hpp>
#include <poise/compose/retry.hpp>
#include <poise/policy/maglev.hpp>
#include <poise/policy/round_robin.hpp>
#include <poise/sync/token_bucket.hpp>

#include "support/catch.hpp"
#include "support/compositions.hpp"
#include "support/servers.hpp"
#include "support/text.hpp"

namespace unit_compose_rate_limited {

using namespace std::chrono_literals;
using poise::RateLimited;
using poise::RateLimitOptions;
using poise::sync::TokenBucket;
using poise::sync::TokenRate;
using tests::letters;
using tests::picks;
using tests::servers_with;
using tests::thrown;

namespace {

/// Round robin with these limits.
tests::AnyServers limited(RateLimitOptions const& options, std::string_view ids,
                          tests::Clock const& clock) {
  return servers_with(RateLimited<poise::RoundRobin>{options}, letters(ids), clock);
}

constexpr std::int64_t max_time = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t min_time = std::numeric_limits<std::int64_t>::min();

}  // namespace

// -- the bucket ----------------------------------------------------------------------------------

TEST_CASE("no span of time holds more tokens than the burst and its share of the rate") {
  std::mt19937_64 dice{7};  // NOLINT(cert-msc51-cpp): the same every time
  for (std::int64_t const burst : {1, 2, 5, 40}) {
    TokenRate const rate{.interval = 100, .burst = burst};
    TokenBucket bucket;
    std::vector<std::int64_t> taken;
    for (std::int64_t now = -20'000; now < 20'000; now += static_cast<std::int64_t>(dice() % 90))
      if (bucket.take(now, rate) == 0) taken.push_back(now);
    REQUIRE(taken.size() > 300);
    for (std::size_t i = 0; i < taken.size(); ++i)
      for (std::size_t j = i; j < taken.size(); ++j)
        REQUIRE(static_cast<std::int64_t>(j - i + 1) <= burst + (taken[j] - taken[i]) / 100);
  }
}

TEST_CASE("a bucket says when its next token comes, to the nanosecond") {
  TokenRate const rate{.interval = 100, .burst = 3};
  TokenBucket bucket;
  for (int i = 0; i < 3; ++i) CHECK(bucket.take(1000, rate) == 0);
  CHECK(bucket.wait(1000, rate) == 100);
  CHECK(bucket.take(1030, rate) == 70);
  CHECK(bucket.take(1099, rate) == 1);
  CHECK(bucket.wait(1100, rate) == 0);
  CHECK(bucket.take(1100, rate) == 0);
  CHECK(bucket.take(1100, rate) == 100);
}

TEST_CASE("a token that is given back can be taken again, and no second one") {
  TokenRate const rate{.interval = 100, .burst = 2};
  TokenBucket bucket;
  CHECK(bucket.take(1000, rate) == 0);
  CHECK(bucket.take(1000, rate) == 0);
  bucket.give_back(rate);
  CHECK(bucket.take(1000, rate) == 0);
  CHECK(bucket.take(1000, rate) == 100);
}

TEST_CASE("a bucket works at both ends of time, and refuses where time ends") {
  TokenRate const widest{.interval = 1'000'000'000'000, .burst = 1'000'000};
  for (auto const start : {min_time, std::int64_t{0}, max_time / 2}) {
    TokenBucket bucket;
    int taken = 0;
    while (bucket.take(start, widest) == 0) ++taken;
    CHECK(taken == 1'000'000);
    CHECK(bucket.take(start + widest.interval, widest) == 0);
  }
  TokenBucket bucket;
  CHECK(bucket.take(max_time, widest) == widest.interval);
  CHECK(bucket.take(min_time, widest) == 0);
}

TEST_CASE("after the clock was set back a bucket is empty, and fills as time passes") {
  TokenRate const rate{.interval = 100, .burst = 2};
  TokenBucket bucket;
  constexpr std::int64_t hour = 3'600'000'000'000;
  CHECK(bucket.take(2 * hour, rate) == 0);
  CHECK(bucket.take(hour, rate) == 100);
  CHECK(bucket.take(hour + 99, rate) == 1);
  CHECK(bucket.take(hour + 100, rate) == 0);
  CHECK(bucket.take(hour + 100, rate) == 100);
}

// -- per backend ---------------------------------------------------------------------------------

TEST_CASE("backends without a token are skipped, and the error says when to come back") {
  tests::Clock const clock;
  auto balancer = limited({.backend = {.per_second = 10, .burst = 2}}, "ab", clock);
  auto const taken = picks(balancer, 4);
  CHECK((taken == "abab" || taken == "baba"));
  auto const refused = balancer.pick();
  REQUIRE_FALSE(refused);
  CHECK(refused.error().refused == 2);
  CHECK(refused.error().retry_after == 100ms);
  CHECK(message(refused.error()) ==
        "2 backends: 2 at a limit or filtered out; a rate limit has room again in 100 ms");
  clock.advance(99'500us);
  CHECK(balancer.pick().error().retry_after == 1ms);  // rounded up
  clock.advance(500us);
  CHECK(picks(balancer, 3).find('-') == 2);
  CHECK(stats_of(balancer, "a").total == 3);
  CHECK(stats_of(balancer, "b").total == 3);
}

TEST_CASE("a call that finds no token says so, and its retries take tokens, too") {
  tests::Clock const clock;
  auto balancer = servers_with(
      poise::Retry<RateLimited<poise::RoundRobin>>{
          {.attempts = 3, .base_pause = 0ms, .max_pause = 0ms},
          RateLimited<poise::RoundRobin>{{.backend = {.per_second = 1, .burst = 1}}}},
      letters("ab"), clock);
  balancer.call([](auto&) { return poise::Outcome{poise::Result::error}; });  // both tokens
  CHECK(thrown<poise::NoBackend>([&] { balancer.call([](auto&) {}); }) ==
        "2 backends: 2 at a limit or filtered out; a rate limit has room again in 1000 ms");
}

TEST_CASE("a backend keeps its bucket through changes of health, weight and membership") {
  tests::Clock const clock;
  auto balancer = limited({.backend = {.per_second = 1, .burst = 3}}, "ab", clock);
  CHECK(picks(balancer, 6).find('-') == std::string::npos);
  balancer.report_health("a", poise::HealthState::degraded);
  CHECK(picks(balancer, 1) == "-");
  balancer.report_health("a", poise::HealthState::unhealthy);
  balancer.report_health("a", poise::HealthState::healthy);
  balancer.set_weight("b", 7);
  balancer.drain("b");
  balancer.undrain("b");
  CHECK(picks(balancer, 1) == "-");
  balancer.update(letters("abc"));
  CHECK(picks(balancer, 4) == "ccc-");
}

TEST_CASE("other tiers take what a rate refuses, and a bound or retries stand around it") {
  tests::Clock const clock;
  RateLimitOptions const options{.backend = {.per_second = 1, .burst = 1}};
  using Limited = RateLimited<poise::RoundRobin>;
  auto tiers = servers_with(poise::Failover<Limited>{{}, Limited{options}},
                            {{.id = "a", .tier = 0}, {.id = "b", .tier = 1}}, clock);
  CHECK(picks(tiers, 3) == "ab-");
  using Keyed = RateLimited<poise::Bounded<poise::Maglev>>;
  auto keyed = servers_with(poise::Retry<Keyed>{{}, Keyed{options}}, letters("ab"), clock);
  auto const both = picks(keyed, 3, {.route_key = "k"});
  CHECK((both == "ab-" || both == "ba-"));
  CHECK(keyed.name() == "retry(rate_limited(bounded(maglev)))");
}

TEST_CASE("a rate limit forwards every hook, and the inner policy keeps its state") {
  tests::Clock const clock;
  tests::Leaf const leaf;
  auto const& log = *leaf.log;
  using Limited = RateLimited<tests::Leaf>;
  auto balancer =
      servers_with(Limited{{.backend = {.per_second = 1, .burst = 2}}, leaf}, letters("ab"), clock);
  CHECK(picks(balancer, 2).find('-') == std::string::npos);
  balancer.call([](auto&) { return poise::Outcome{poise::Result::error}; });  // tries twice
  balancer.tick();
  CHECK(log.admitted == 4);
  CHECK(log.ends == 4);
  CHECK(log.decisions == 2);
  CHECK(log.ticks == 1);
  CHECK(log.fresh == 2);
  CHECK(log.mistakes == 0);
  CHECK(picks(balancer, 1) == "-");
}

// -- per key -------------------------------------------------------------------------------------

TEST_CASE("a key that asks too often is refused, on every backend, and others are not") {
  tests::Clock const clock;
  auto balancer = limited({.key = {.per_second = 2, .burst = 3}}, "ab", clock);
  CHECK(picks(balancer, 4, {.route_key = "often"}).find('-') == 3);
  CHECK(balancer.pick({.route_key = "often"}).error().retry_after == 500ms);
  CHECK(picks(balancer, 4, {.client_id = "other"}).find('-') == 3);
  CHECK(picks(balancer, 9).find('-') == std::string::npos);               // no key
  CHECK(picks(balancer, 9, {.id = "r"}).find('-') == std::string::npos);  // an id is no key
  CHECK(picks(balancer, 2, {.route_key = "often", .attempt = 2}).find('-') == std::string::npos);
  clock.advance(500ms);
  CHECK(picks(balancer, 2, {.route_key = "often"}).find('-') == 1);
}

TEST_CASE("a refused key costs the backends no tokens") {
  tests::Clock const clock;
  auto balancer =
      limited({.backend = {.per_second = 1, .burst = 3}, .key = {.per_second = 1}}, "a", clock);
  CHECK(picks(balancer, 9, {.route_key = "k"}) == "a--------");
  CHECK(picks(balancer, 3) == "aa-");
}

TEST_CASE("keys that share a place of the table share its rate") {
  tests::Clock const clock;
  auto balancer = limited({.key = {.per_second = 1}, .places = 1}, "a", clock);
  CHECK(picks(balancer, 1, {.route_key = "k"}) == "a");
  CHECK(picks(balancer, 1, {.route_key = "l"}) == "-");
}

// -- options -------------------------------------------------------------------------------------

TEST_CASE("limits that make no sense are refused with their value and the way out") {
  auto const refusal = [](RateLimitOptions const& options) {
    return thrown<poise::ConfigError>([&] { (void)RateLimited<poise::RoundRobin>{options}; });
  };
  CHECK(refusal({}) ==
        "RateLimited has no limit: set backend or key, {.backend = {.per_second = 100}}");
  CHECK(refusal({.backend = {.per_second = -1}}) ==
        "per_second of RateLimited's backend is -1: use 0 (no limit) or 0.001 to 1000000");
  CHECK(tests::mentions(refusal({.key = {.per_second = 2e6}}), "per_second of RateLimited's key"));
  CHECK(tests::mentions(refusal({.key = {.per_second = std::numeric_limits<double>::quiet_NaN()}}),
                        "per_second of RateLimited's key"));
  CHECK(refusal({.backend = {.per_second = 1, .burst = 0}}) ==
        "burst of RateLimited's backend is 0: use 1 to 1000000");
  CHECK(refusal({.key = {.per_second = 1}, .places = 1000}) ==
        "places of RateLimited is 1000: use a power of two, 65536 say");
}

}  // namespace unit_compose_rate_limited
