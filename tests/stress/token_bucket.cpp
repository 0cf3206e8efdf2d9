// SPDX-License-Identifier: MIT

// A rate holds while threads take and give back at once (sync/token_bucket.hpp, B1 and B3), and
// while a balancer's plans change under them.

#include <cstddef>
#include <cstdint>
#include <vector>

#include <poise/balancer.hpp>
#include <poise/compose/rate_limited.hpp>
#include <poise/policy/round_robin.hpp>
#include <poise/sync/token_bucket.hpp>
#include <poise/time.hpp>

#include "stress/team.hpp"
#include "support/catch.hpp"

using poise::sync::TokenBucket;
using poise::sync::TokenRate;
using tests::Number;

namespace {

constexpr TokenRate rate{.interval = 10, .burst = 7};

/// A bucket and the time, which moves while threads work.
struct Shared {
  TokenBucket bucket{};
  Number now{0};
};

struct Taker {
  explicit Taker(Shared& everything) : shared{everything} {}
  void work() {
    auto const now = shared.now.load();
    if (shared.bucket.take(now, rate) != 0) return;
    if (++tries % 3 == 0) {
      shared.bucket.give_back(rate);
      return;
    }
    if (taken.size() <= static_cast<std::size_t>(now))
      taken.resize(2 * static_cast<std::size_t>(now) + 1);
    ++taken[static_cast<std::size_t>(now)];
  }
  Shared& shared;
  std::uint32_t tries = 0;
  std::vector<std::int64_t> taken{};  // by time
};

}  // namespace

TEST_CASE("threads together never take more than burst and rate allow since the beginning") {
  Shared shared;
  tests::Team<Taker> takers{3, shared};
  for (tests::Rounds rounds{20'000}; rounds.next() && shared.now.load() < 2'000'000;)
    shared.now.add(1);
  auto const end = shared.now.load();
  std::int64_t all = 0;
  for (auto const& each : takers.stop())
    for (auto const at_once : each.taken) all += at_once;
  CHECK(all <= rate.burst + end / rate.interval);
  CHECK(all > 0);
}

TEST_CASE("of threads that come at one moment no more get a token than there are") {
  TokenBucket bucket;
  std::int64_t now = 0;
  for (tests::Rounds rounds{200}; rounds.next(); now += rate.interval * rate.burst) {
    Number taken{0};
    tests::together(3, [&](unsigned) {
      for (std::int64_t i = 0; i < 2 * rate.burst; ++i)
        if (bucket.take(now, rate) == 0) taken.add(1);
    });
    REQUIRE(taken.load() == rate.burst);
  }
}

TEST_CASE("picks of one moment get each backend's burst, whatever happens to its health") {
  using Limited = poise::RateLimited<poise::RoundRobin>;
  using Balancer = poise::Balancer<Limited, void, poise::Runtime<poise::VirtualClock>>;
  constexpr std::uint32_t burst = 300;
  for (tests::Rounds rounds{3}; rounds.next();) {
    Balancer balancer{poise::endpoints({"a", "b"}),
                      Limited{{.backend = {.per_second = 1, .burst = burst}}}};
    tests::together(3, [&](unsigned number) {
      for (std::uint32_t i = 0; i < burst; ++i) {
        balancer.pick().finish();
        if (number == 0)
          balancer.report_health(
              "a", i % 2 == 0 ? poise::HealthState::degraded : poise::HealthState::healthy);
      }
    });
    for (int i = 0; i < 10; ++i) balancer.pick().finish();  // the rest, if there is one
    for (auto const& backend : balancer.stats().backends) {
      CAPTURE(backend.id);
      CHECK(backend.total == burst);
    }
  }
}
