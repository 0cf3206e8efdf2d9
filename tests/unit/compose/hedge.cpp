// SPDX-License-Identifier: MIT
// Hedging: when a second attempt may be started beside the first.

#include <poise/compose/hedge.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include <poise/balancer.hpp>
#include <poise/compose/any_policy.hpp>
#include <poise/compose/failover.hpp>
#include <poise/compose/retry.hpp>
#include <poise/policy/round_robin.hpp>

#include "support/catch.hpp"
#include "support/clock.hpp"
#include "support/servers.hpp"

namespace unit_compose_hedge {

using namespace std::chrono_literals;
using poise::AnyPolicy;
using poise::Duration;
using poise::Outcome;
using poise::Result;
using poise::Retry;
using poise::RoundRobin;
using poise::StopReason;
using poise::Time;
using poise::detail::LatencyHistogram;

namespace {

constexpr poise::HedgeOptions at_20ms{.after = 20ms};
constexpr poise::HedgeOptions at_p95{.percentile = 0.95};

/// May another attempt be started beside this one? Nothing: yes.
std::optional<StopReason> explain_failure(Retry<RoundRobin> const& policy,
                                          poise::Request const& request = {}, bool alone = false) {
  auto const decision = policy.decide({request, {}, Time{1h}, 0, true, alone});
  CHECK(decision.after == 0ms);
  return decision.retry ? std::nullopt : std::optional{decision.why};
}

/// Latencies at random, seeded: exponential with this mean.
class Exponential {
 public:
  explicit Exponential(Duration mean) : mean_{static_cast<double>(mean.count())} {}
  Duration operator()() {
    state_ = state_ * 6364136223846793005U + 1442695040888963407U;
    auto const unit = (static_cast<double>(state_ >> 11U) + 1) * 0x1p-53;
    return Duration{std::llround(-std::log(unit) * mean_)};
  }
  /// What so many are below.
  [[nodiscard]] double percentile(double part) const { return -std::log(1 - part) * mean_; }

 private:
  double mean_;
  std::uint64_t state_ = 1;
};

template <class P>
struct Fixture {
  tests::Clock clock{};
  P policy;
  poise::Balancer<P, void, poise::Runtime<tests::Clock>> balancer;

  explicit Fixture(P what)
      : policy{std::move(what)},
        balancer{tests::letters("abc"), policy, {.clock = clock, .seed = 1}} {}

  void request(Duration latency, Outcome outcome = {}) {
    auto lease = balancer.pick();
    clock.advance(latency);
    lease.finish(outcome);
  }
  void requests(int count, Duration latency) {
    for (int i = 0; i < count; ++i) request(latency);
    balancer.tick();
  }
  /// The time after which the balancer would hedge now.
  Duration delay() { return poise::hooks::timeouts(policy, poise::any_request).hedge_after; }
};

}  // namespace

// -- the decision --------------------------------------------------------------------------------

TEST_CASE("nothing is hedged unless it is asked for") {
  Retry<RoundRobin> const policy;
  CHECK(policy.timeouts({}).hedge_after == 0ms);
  CHECK(explain_failure(policy) == StopReason::settled);
  Retry<RoundRobin> const unknown{{.hedge = at_p95}};
  CHECK(unknown.timeouts({}).hedge_after == 0ms);
  CHECK(explain_failure(unknown) == StopReason::settled);
}

TEST_CASE("a hedge is an attempt like others: it needs one, and a request that may be repeated") {
  Retry<RoundRobin> const policy{{.attempts = 2, .hedge = at_20ms}};
  CHECK(policy.timeouts({}).hedge_after == 20ms);
  CHECK_FALSE(explain_failure(policy));
  CHECK(explain_failure(policy, {.attempt = 2}) == StopReason::attempts);
  CHECK(explain_failure(policy, {.idempotent = false}) == StopReason::sent);
  CHECK(explain_failure(policy, {.deadline = Time{1h}}) == StopReason::deadline);
  CHECK(explain_failure(policy, {}, true) == StopReason::no_backend);
  Retry<RoundRobin> const once{{.attempts = 1, .hedge = at_20ms}};
  CHECK(once.timeouts({}).hedge_after == 0ms);
  CHECK(explain_failure(once) == StopReason::attempts);
}

TEST_CASE("hedges have a budget of their own") {
  Retry<RoundRobin> const policy{
      {.min_retries_per_second = 2, .hedge = {.after = 20ms, .min_hedges_per_second = 3}}};
  int hedges = 0;
  while (!explain_failure(policy)) ++hedges;
  CHECK(hedges == 3);
  CHECK(explain_failure(policy) == StopReason::budget);
  int retries = 0;
  while (policy.decide({poise::any_request, Result::error, Time{1h}, 0}).retry) ++retries;
  CHECK(retries == 2);
}

TEST_CASE("a hedge that is refused for another reason costs nothing") {
  Retry<RoundRobin> const policy{
      {.attempts = 2, .hedge = {.after = 20ms, .min_hedges_per_second = 1}}};
  for (int i = 0; i < 10; ++i)
    CHECK(explain_failure(policy, {.attempt = 2}) == StopReason::attempts);
  for (int i = 0; i < 10; ++i) CHECK(explain_failure(policy, {}, true) == StopReason::no_backend);
  CHECK_FALSE(explain_failure(policy));
}

// -- the percentile ------------------------------------------------------------------------------

TEST_CASE("a percentile is right within a sixteenth, at any scale") {
  // n = 100,000: the 99th percentile of an exponential scatters by 0.7 %; 4 % allowed below, and
  // that and a sixteenth above.
  for (auto const mean : {Duration{5us}, Duration{1ms}, Duration{300ms}, Duration{30s}})
    for (double const part : {0.5, 0.9, 0.95, 0.99}) {
      CAPTURE(mean.count(), part);
      LatencyHistogram histogram;
      Exponential latency{mean};
      for (int i = 0; i < 100'000; ++i) histogram.add(latency());
      histogram.tick(Time{1h}, part);
      auto const found = static_cast<double>(histogram.percentile().count());
      CHECK(found > 0.96 * latency.percentile(part));
      CHECK(found < 1.04 * 17 / 16 * latency.percentile(part));
    }
}

TEST_CASE("latencies of nothing and of a year are latencies too") {
  LatencyHistogram histogram;
  for (int i = 0; i < 100; ++i) histogram.add(0ns);
  histogram.tick(Time{1h}, 0.5);
  CHECK(histogram.percentile() < 1us);
  for (int i = 0; i < 1000; ++i) histogram.add(24h * 365);
  for (int i = 0; i < 1000; ++i) histogram.add(-1ns);
  histogram.tick(Time{1h}, 0.9);
  CHECK(histogram.percentile() > 9min);
  CHECK(histogram.percentile() < 20min);
}

TEST_CASE("a percentile needs ten samples on its rarer side") {
  for (auto const& [part, enough] : {std::pair{0.5, 20}, {0.95, 200}, {0.99, 1000}, {0.05, 200}}) {
    CAPTURE(part);
    LatencyHistogram histogram;
    for (int i = 1; i < enough; ++i) histogram.add(5ms);
    histogram.tick(Time{1h}, part);
    CHECK(histogram.percentile() == 0ms);
    histogram.add(5ms);
    histogram.tick(Time{1h}, part);
    CHECK(histogram.percentile() >= 5ms);
  }
}

TEST_CASE(
    "a percentile follows what changes within some ten seconds, and forgets nothing it needs") {
  LatencyHistogram histogram;
  Time now{1h};
  auto const second = [&](int count, Duration latency) {
    for (int i = 0; i < count; ++i) histogram.add(latency);
    histogram.tick(now += 1s, 0.95);
  };
  for (int i = 0; i < 60; ++i) second(1000, 10ms);
  CHECK(histogram.percentile() < 11ms);
  int seconds = 0;
  for (; histogram.percentile() < 50ms; ++seconds) second(1000, 50ms);
  CHECK(seconds == 1);  // slower: 5 % of ten seconds
  for (int i = 0; i < 60; ++i) second(1000, 50ms);
  for (seconds = 0; histogram.percentile() > 11ms; ++seconds) second(1000, 10ms);
  CHECK(seconds > 20);  // faster: until 5 % are left, ln(20) times 10 s
  CHECK(seconds < 40);
  for (int i = 0; i < 3600; ++i) second(0, 0ms);
  second(1000, 10ms);
  histogram.tick(now += 1h, 0.95);
  for (int i = 0; i < 50; ++i) histogram.add(30ms);
  histogram.tick(now += 1s, 0.95);
  CHECK(histogram.percentile() >= 30ms);  // 50 of the 200 kept and these
}

TEST_CASE(
    "cancelled attempts count as longer than the delay, so that hedging hides no slow answers") {
  // Nine in ten requests take 10 ms or so, one in ten ten times that. Everything that outlasts the
  // delay is hedged, and given up 5 ms later if it still runs. The percentile must stay where it is
  // without hedging, at which one in twenty requests is hedged; n = 1000 a second.
  Fixture test{Retry<RoundRobin>{{.hedge = {.percentile = 0.95}}}};
  Exponential fast{10ms};
  Exponential slow{100ms};
  int hedged = 0;
  for (int second = 0; second < 60; ++second) {
    for (int i = 0; i < 1000; ++i) {
      auto const latency = i % 10 == 0 ? slow() : fast();
      auto const delay = test.delay();
      bool const hedges = delay > 0ms && latency > delay;
      if (second >= 30 && hedges) ++hedged;
      if (hedges && latency > delay + 5ms) test.request(delay + 5ms, Result::cancelled);
      else test.request(latency);
    }
    test.balancer.tick();
  }
  CHECK(hedged > 1100);  // of 30,000; 1500 but for the width of a bucket
  CHECK(hedged < 1600);
}

TEST_CASE("failures and what the caller gave up early say nothing about latency") {
  Fixture test{Retry<RoundRobin>{{.hedge = at_p95}}};
  test.requests(300, 10ms);
  auto const before = test.delay();
  CHECK(before >= 10ms);
  for (auto const result : {Result::error, Result::timeout, Result::refused, Result::abandoned})
    for (int i = 0; i < 300; ++i) test.request(1s, result);
  for (int i = 0; i < 10'000; ++i) test.request(1ms, Result::cancelled);
  test.balancer.tick();
  CHECK(test.delay() == before);
}

// -- the delay -----------------------------------------------------------------------------------

TEST_CASE("the earlier of a fixed time and a percentile counts, the time while that is unknown") {
  Fixture test{Retry<RoundRobin>{{.hedge = {.after = 20ms, .percentile = 0.95}}}};
  CHECK(test.delay() == 20ms);
  test.requests(300, 5ms);
  CHECK(test.delay() >= 5ms);
  CHECK(test.delay() <= 5313us);
  test.requests(300, 50ms);
  CHECK(test.delay() == 20ms);
}

TEST_CASE("a percentile is never less than the least delay, a fixed time may be") {
  Fixture test{Retry<RoundRobin>{{.hedge = at_p95}}};
  test.requests(300, 10us);
  CHECK(test.delay() == 1ms);
  Fixture fixed{Retry<RoundRobin>{{.hedge = {.after = 10us}}}};
  CHECK(fixed.delay() == 10us);
}

TEST_CASE("only a percentile reads the clock") {
  Fixture plain{Retry<RoundRobin>{{.hedge = at_20ms}}};
  for (int i = 0; i < 10; ++i) plain.balancer.pick().finish();
  CHECK(plain.clock.reads() == 0);
  CHECK_FALSE(plain.policy.traits().wants_finish);
  Fixture measuring{Retry<RoundRobin>{{.hedge = at_p95}}};
  for (int i = 0; i < 10; ++i) measuring.balancer.pick().finish();
  CHECK(measuring.clock.reads() == 20);
}

TEST_CASE("a percentile is measured by all copies together and survives a change of policy") {
  using Inner = Retry<RoundRobin>;
  Fixture test{AnyPolicy{poise::Failover<Inner>{{}, Inner{{.hedge = at_p95}}}}};
  test.balancer.update({{.id = "a", .tier = 0}, {.id = "b", .tier = 1}});
  test.requests(150, 10ms);
  test.balancer.drain("a");  // from here on the copy for the other tier picks
  test.requests(150, 10ms);
  CHECK(test.delay() >= 10ms);

  AnyPolicy next{Retry<AnyPolicy>{{.hedge = at_p95}, AnyPolicy{RoundRobin{}}}};
  CHECK(poise::hooks::timeouts(next, poise::any_request).hedge_after == 0ms);
  poise::hooks::take_over(next, test.policy);
  CHECK(poise::hooks::timeouts(next, poise::any_request).hedge_after == test.delay());
}

}  // namespace unit_compose_hedge
