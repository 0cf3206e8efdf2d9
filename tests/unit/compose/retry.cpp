// SPDX-License-Identifier: MIT
// Retry: whether and when call() tries again.

#include <poise/compose/retry.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include <poise/balancer.hpp>
#include <poise/compose/any_policy.hpp>
#include <poise/compose/filter.hpp>
#include <poise/policy/power_of_two.hpp>
#include <poise/policy/round_robin.hpp>

#include "support/catch.hpp"
#include "support/clock.hpp"
#include "support/compositions.hpp"
#include "support/policies.hpp"
#include "support/servers.hpp"
#include "support/text.hpp"

namespace unit_compose_retry {

using namespace std::chrono_literals;
using poise::Outcome;
using poise::Result;
using poise::Retry;
using poise::StopReason;
using tests::letters;
using tests::mentions;
using tests::thrown;

namespace {

constexpr auto greatest = ~std::uint64_t{0};

/// Proposes the first candidate always, as a hot key or a bad cursor would.
struct Stubborn {
  std::size_t pick(poise::Candidates const&, poise::Context&) const { return 0; }
};

template <class P>
struct Fixture {
  tests::Clock clock{};
  poise::Balancer<P, void, poise::Runtime<tests::Clock>> balancer;

  explicit Fixture(P policy, std::string_view ids = "abcd")
      : balancer{letters(ids), std::move(policy), {.clock = clock, .seed = 1}} {}

  /// The backends asked, when all end so, in a second of its own.
  std::string asked(Outcome outcome) {
    clock.advance(2s);
    std::string text;
    balancer.call([&](auto& backend) {
      text += backend.id();
      return outcome;
    });
    return text;
  }
};

poise::Decision decide(poise::RetryOptions options, std::uint32_t attempt, Outcome outcome,
                       std::uint64_t random = greatest) {
  poise::Request const request{.attempt = attempt};
  return poise::detail::RetryRules{options}.decide({request, outcome, {}, random});
}

/// Why there is no further attempt; nothing if there is one.
std::optional<StopReason> why(poise::RetryOptions const& options, poise::Request const& request,
                              Outcome outcome, poise::Time now = poise::Time{1h}) {
  auto const decision =
      poise::detail::RetryRules{options}.decide({request, outcome, now, greatest});
  return decision.retry ? std::nullopt : std::optional{decision.why};
}

/// The longest pause after this try.
poise::Duration longest(poise::RetryOptions options, std::uint32_t attempt) {
  return decide(options, attempt, Result::error).after;
}

}  // namespace

// -- the decision --------------------------------------------------------------------------------

TEST_CASE("failures are retried and nothing else") {
  for (std::size_t i = 0; i < poise::result_count; ++i) {
    auto const result = static_cast<Result>(i);
    CAPTURE(name(result));
    CHECK(decide({}, 1, result).retry == is_failure(result));
  }
}

TEST_CASE("the number of attempts includes the first") {
  CHECK_FALSE(decide({.attempts = 1}, 1, Result::error).retry);
  CHECK(decide({.attempts = 3}, 2, Result::error).retry);
  CHECK_FALSE(decide({.attempts = 3}, 3, Result::error).retry);
  CHECK_FALSE(decide({.attempts = 3}, 4, Result::error).retry);
}

TEST_CASE("the pause is drawn from all of an interval that doubles up to the maximum") {
  poise::RetryOptions const many{.attempts = 100};
  constexpr auto ns = poise::Duration{1};
  CHECK(longest(many, 1) == 25ms - ns);
  CHECK(longest(many, 2) == 75ms - ns);
  CHECK(longest(many, 3) == 175ms - ns);
  CHECK(longest(many, 4) == 250ms - ns);
  CHECK(longest(many, 5) == 250ms - ns);
  for (std::uint32_t attempt = 1; attempt < 100; ++attempt)
    CHECK(decide(many, attempt, Result::error, 0).after == 0ms);
  CHECK(decide(many, 3, Result::error, std::uint64_t{1} << 63U).after == 87'500us);
}

TEST_CASE("no number of attempts and no length of pause overflows") {
  constexpr auto ns = poise::Duration{1};
  for (std::uint32_t const attempt : {31U, 32U, 62U, 63U, 64U, 65U, 4'000'000'000U})
    CHECK(longest({.attempts = ~0U}, attempt) == 250ms - ns);
  poise::RetryOptions const longest_of_all{
      .attempts = 100, .base_pause = poise::Duration::max(), .max_pause = poise::Duration::max()};
  CHECK(longest(longest_of_all, 1) == poise::Duration::max() - ns);
  CHECK(longest(longest_of_all, 62) == poise::Duration::max() - ns);
  poise::RetryOptions const fine{
      .attempts = 100, .base_pause = ns, .max_pause = poise::Duration::max()};
  CHECK(longest(fine, 62) == poise::Duration{(std::int64_t{1} << 62U) - 2});
  CHECK(longest(fine, 63) == poise::Duration::max() - ns);
}

TEST_CASE("a base pause of zero retries at once") {
  CHECK(longest({.attempts = 9, .base_pause = 0ns}, 8) == 0ms);
  CHECK(longest({.attempts = 9, .base_pause = 0ns, .max_pause = 0ns}, 8) == 0ms);
  CHECK(decide({.attempts = 9, .base_pause = 0ns}, 8, Result::error).retry);
}

TEST_CASE("the first retry waits for nothing if nothing was sent") {
  CHECK(decide({}, 1, Result::refused).retry);
  CHECK(decide({}, 1, Result::refused).after == 0ms);
  CHECK(decide({}, 1, Result::connect_timeout).after == 0ms);
  CHECK(decide({}, 1, Outcome{Result::reset, false}).after == 0ms);
  CHECK(decide({}, 1, Outcome{Result::refused, true}).after > 0ms);
  CHECK(decide({}, 2, Result::refused).after > 0ms);
}

TEST_CASE("the first retry waits if no other backend is left, or the backend is overloaded") {
  poise::Request const request{};
  poise::detail::RetryRules const rules{{}};
  CHECK(rules.decide({request, Result::refused, {}, greatest, false, true}).after > 0ms);
  CHECK(decide({}, 1, Outcome{Result::overloaded, false}).after > 0ms);
}

TEST_CASE("the retried results can be chosen") {
  auto const all_but_errors = poise::failures.without(Result::error);
  CHECK(why({.on = all_but_errors}, {}, Result::error) == StopReason::settled);
  CHECK_FALSE(why({.on = all_but_errors}, {}, Result::timeout));
  CHECK_FALSE(why({.on = all_but_errors.with(Result::rejected)}, {}, Result::rejected));
  CHECK(why({.on = {}}, {}, Result::refused) == StopReason::settled);
}

TEST_CASE("a request that is not idempotent is tried again only if nothing was sent") {
  poise::Request const order{.idempotent = false};
  CHECK(why({}, order, Result::error) == StopReason::sent);
  CHECK(why({}, order, Result::timeout) == StopReason::sent);
  CHECK_FALSE(why({}, order, Result::refused));
  CHECK_FALSE(why({}, order, Result::connect_timeout));
  CHECK_FALSE(why({}, order, Outcome{Result::reset, false}));
  CHECK(why({}, order, Result::success) == StopReason::settled);
  CHECK(why({.attempts = 1}, order, Result::error) == StopReason::attempts);
}

TEST_CASE("a backend that asks for a pause gets it, and the usual one besides") {
  CHECK(decide({}, 1, Outcome{Result::overloaded, true, 2s}, 0).after == 2s);
  CHECK(decide({}, 1, Outcome{Result::overloaded, true, 2s}).after == 2s + 25ms - 1ns);
  CHECK(decide({}, 2, Outcome{Result::error, true, 2s}).after == 2s + 75ms - 1ns);
  CHECK(decide({}, 1, Outcome{Result::refused, false, 2s}, 0).after == 2s);
}

TEST_CASE("a backend that asks for too long a pause, or for none at all, is left alone") {
  CHECK_FALSE(why({}, {}, Outcome{Result::overloaded, true, 10s}));
  CHECK(why({}, {}, Outcome{Result::overloaded, true, 10s + 1ns}) == StopReason::pushback);
  CHECK(why({}, {}, Outcome{Result::overloaded, true, 24h * 365}) == StopReason::pushback);
  CHECK(why({}, {}, Outcome{Result::overloaded, true, poise::do_not_retry}) ==
        StopReason::pushback);
  CHECK(why({}, {}, Outcome{Result::error, true, poise::Duration::min()}) == StopReason::pushback);
  CHECK(why({.max_pushback = 0s}, {}, Outcome{Result::overloaded, true, 1ns}) ==
        StopReason::pushback);
  poise::RetryOptions const patient{.max_pushback = poise::Duration::max()};
  CHECK(decide(patient, 1, Outcome{Result::error, true, poise::Duration::max()}).after ==
        poise::Duration::max());
}

TEST_CASE("nothing is tried again that would begin after the deadline") {
  poise::Time const now{1h};
  poise::Duration const pause = 25ms - 1ns;
  CHECK_FALSE(why({}, {.deadline = now + pause + 1ns}, Result::error));
  CHECK(why({}, {.deadline = now + pause}, Result::error) == StopReason::deadline);
  CHECK(why({}, {.deadline = now}, Result::error) == StopReason::deadline);
  CHECK(why({}, {.deadline = now - 1s}, Result::refused) == StopReason::deadline);
  CHECK_FALSE(why({}, {.deadline = now + 1ns}, Result::refused));
  CHECK(why({}, {.deadline = now + 1s}, Outcome{Result::overloaded, true, 1s}) ==
        StopReason::deadline);
  CHECK_FALSE(why({}, {.deadline = poise::Time::max()}, Result::error, poise::Time::min()));
  CHECK(why({}, {.deadline = poise::Time::min()}, Result::error, poise::Time::max()) ==
        StopReason::deadline);
}

TEST_CASE("the first rule that applies says why not") {
  poise::Request const late{.attempt = 3, .idempotent = false, .deadline = poise::Time{}};
  Outcome const refusing{Result::overloaded, true, poise::do_not_retry};
  CHECK(why({.on = {}}, late, refusing) == StopReason::settled);
  CHECK(why({.attempts = 3}, late, refusing) == StopReason::attempts);
  CHECK(why({.attempts = 4}, late, refusing) == StopReason::sent);
  CHECK(why({.attempts = 4}, {.deadline = poise::Time{}}, refusing) == StopReason::pushback);
}

TEST_CASE("a request that was never numbered counts as the first try") {
  CHECK(longest({}, 0) == longest({}, 1));
}

TEST_CASE("wrong retry options are refused with the offending value") {
  auto const refusal = [](poise::RetryOptions const& options) {
    return thrown<poise::ConfigError>([&] { Retry<Stubborn>{options}; });
  };
  auto const nan = std::numeric_limits<double>::quiet_NaN();
  CHECK(mentions(refusal({.attempts = 0}), "attempts of Retry is 0"));
  CHECK(mentions(refusal({.base_pause = -1ns}), "base_pause of Retry is -1 ns"));
  CHECK(refusal({.base_pause = 30ns, .max_pause = 20ns}) ==
        "max_pause of Retry is 20 ns: use at least base_pause, which is 30 ns");
  CHECK(mentions(refusal({.on = {Result::success}}), "on of Retry contains \"success\""));
  CHECK(mentions(refusal({.on = {Result::cancelled}}), "on of Retry contains \"cancelled\""));
  CHECK(mentions(refusal({.timeout = -1ns}), "timeout of Retry is -1 ns"));
  CHECK(mentions(refusal({.attempt_timeout = -1ns}), "attempt_timeout of Retry is -1 ns"));
  CHECK(mentions(
      refusal({.timeout = 1s, .attempt_timeout = 2s}),
      "attempt_timeout of Retry is 2 s: an attempt is part of a call, so use at most timeout, "
      "which is 1 s"));
  CHECK(mentions(refusal({.max_pushback = -1ns}), "max_pushback of Retry is -1 ns"));
  CHECK(mentions(refusal({.budget_fraction = -0.1}), "budget_fraction of Retry is -0.1"));
  CHECK(mentions(refusal({.budget_fraction = 1.1}), "budget_fraction of Retry is 1.1"));
  CHECK(mentions(refusal({.budget_fraction = nan}), "budget_fraction of Retry is nan"));
  CHECK(mentions(refusal({.hedge = {.after = -1ns}}), "after of a hedge is -1 ns"));
  CHECK(mentions(refusal({.hedge = {.percentile = 0}}), "percentile of a hedge is 0:"));
  CHECK(mentions(refusal({.hedge = {.percentile = 1}}), "percentile of a hedge is 1:"));
  CHECK(mentions(refusal({.hedge = {.percentile = 95}}), "percentile of a hedge is 95:"));
  CHECK(mentions(refusal({.hedge = {.percentile = nan}}), "percentile of a hedge is nan"));
  CHECK(mentions(refusal({.hedge = {.min_delay = -1ns}}), "min_delay of a hedge is -1 ns"));
  CHECK(
      mentions(refusal({.hedge = {.budget_fraction = 1.5}}), "budget_fraction of a hedge is 1.5"));
  CHECK(
      mentions(refusal({.hedge = {.budget_fraction = nan}}), "budget_fraction of a hedge is nan"));
}

// -- with a balancer -----------------------------------------------------------------------------

TEST_CASE("a retry never asks a tried backend while one is untried") {
  Fixture test{Retry<Stubborn>{{.attempts = 4}}};
  for (int i = 0; i < 20; ++i) {
    auto asked = test.asked(Result::timeout);
    std::sort(asked.begin(), asked.end());
    REQUIRE(asked == "abcd");
  }
}

TEST_CASE("a retry asks tried backends again when all are tried") {
  Fixture test{Retry<Stubborn>{{.attempts = 5}}, "ab"};
  auto const asked = test.asked(Result::timeout);
  REQUIRE(asked.size() == 5);
  CHECK(asked[0] != asked[1]);
}

TEST_CASE("retries stop at the first success") {
  Fixture test{Retry<poise::RoundRobin>{{.attempts = 4}}};
  int runs = 0;
  auto const outcome = test.balancer.call(
      [&](auto&) { return Outcome{++runs < 3 ? Result::error : Result::success}; });
  CHECK(outcome.result == Result::success);
  CHECK(runs == 3);
}

TEST_CASE("the last reply comes back") {
  Fixture test{Retry<poise::RoundRobin>{{.attempts = 3}}};
  int run = 0;
  auto const reply = test.balancer.call([&](auto&) {
    ++run;
    return std::make_error_code(std::errc::connection_reset);
  });
  CHECK(reply == std::errc::connection_reset);
  CHECK(run == 3);
  run = 0;
  CHECK(test.balancer.call([&](auto&) {
    return ++run == 2 ? Outcome{Result::rejected, true, 7ns} : Outcome{Result::reset};
  }) == Outcome{Result::rejected, true, 7ns});
}

TEST_CASE("a retry that is used with pick() only is told in the statistics") {
  auto const warnings_after = [](int picks, bool with_a_call) {
    poise::Balancer<Retry<poise::P2C>> balancer{poise::endpoints({"a", "b"})};
    for (int i = 0; i < picks; ++i) balancer.pick().finish();
    if (with_a_call) balancer.call([](auto&) {});
    return balancer.stats().warnings;
  };
  CHECK(warnings_after(999, false).empty());
  CHECK(warnings_after(2000, true).empty());
  auto const warnings = warnings_after(1000, false);
  REQUIRE(warnings.size() == 1);
  CHECK(
      warnings[0] ==
      "retry(p2c) retries in call() only, but all 1000 requests were picked by pick(): use call(), "
      "or leave the retry out");
}

TEST_CASE("a policy chosen at run time warns only if it retries") {
  for (bool const retries : {false, true}) {
    poise::Balancer<poise::AnyPolicy> balancer{
        poise::endpoints({"a"}),
        retries ? poise::AnyPolicy{Retry<poise::P2C>{}} : poise::AnyPolicy{poise::P2C{}}};
    for (int i = 0; i < 1000; ++i) balancer.pick().finish();
    CHECK(balancer.stats().warnings.empty() == !retries);
  }
}

TEST_CASE("the last exception comes back") {
  Fixture test{Retry<poise::RoundRobin>{{.attempts = 3}}};
  int run = 0;
  CHECK(thrown<std::runtime_error>([&] {
          test.balancer.call(
              [&](auto&) { throw std::runtime_error{"try " + std::to_string(++run)}; });
        }) == "try 3");
}

TEST_CASE("without a backend a call fails at once and sleeps never") {
  Fixture test{Retry<poise::RoundRobin>{{.attempts = 5}}, "a"};
  test.balancer.drain("a");
  CHECK(thrown<poise::NoBackend>([&] { test.balancer.call([](auto&) {}); }) ==
        "1 backend: 1 drained");
  CHECK(test.clock.slept() == 0ms);
}

TEST_CASE("a call sleeps between its tries by the runtime's clock") {
  Fixture test{Retry<poise::RoundRobin>{{.attempts = 3}}};
  (void)test.asked(Result::error);
  CHECK(test.clock.slept() > 0ms);
  CHECK(test.clock.slept() < 100ms);  // 25 + 75
  auto const before = test.clock.slept();
  Fixture once{Retry<poise::RoundRobin>{{.attempts = 2}}};
  (void)once.asked(Result::refused);
  CHECK(once.clock.slept() == 0ms);
  CHECK(test.clock.slept() == before);
}

TEST_CASE("pauses are spread over the whole interval") {
  // n = 4000 pauses in [0, 25 ms): the mean is 12.5 ms with a deviation of 0.11 ms; tolerance 0.6.
  // The least and the greatest are within 0.1 ms of the ends with 1 - 1e-7.
  Fixture test{Retry<poise::RoundRobin>{{.attempts = 2}}};
  poise::Duration sum{};
  auto least = poise::Duration::max();
  poise::Duration most{};
  for (int i = 0; i < 4000; ++i) {
    auto const before = test.clock.slept();
    (void)test.asked(Result::error);
    auto const pause = test.clock.slept() - before;
    sum += pause;
    least = std::min(least, pause);
    most = std::max(most, pause);
  }
  CHECK(sum / 4000 > 11'900us);
  CHECK(sum / 4000 < 13'100us);
  CHECK(least < 100us);
  CHECK(most > 24'900us);
  CHECK(most < 25ms);
}

TEST_CASE("of nested retries the outermost decides") {
  Fixture outer_fewer{Retry<Retry<poise::RoundRobin>>{{.attempts = 2}, {{.attempts = 4}}}};
  CHECK(outer_fewer.asked(Result::error).size() == 2);
  Fixture outer_more{Retry<Retry<poise::RoundRobin>>{{.attempts = 3}, {{.attempts = 1}}}};
  CHECK(outer_more.asked(Result::error).size() == 3);
  tests::Probe<> const probe;
  Fixture over_probe{Retry<tests::Probe<>>{{.attempts = 3}, probe}};
  CHECK(over_probe.asked(Result::error).size() == 3);
  CHECK(probe.log->decisions == 0);
}

TEST_CASE("a retry inside a wrapper decides through it") {
  Fixture test{poise::Filter{[](auto const& backend) { return backend.id() != "a"; },
                             Retry<Stubborn>{{.attempts = 3}}}};
  auto asked = test.asked(Result::error);
  std::sort(asked.begin(), asked.end());
  CHECK(asked == "bcd");
  Fixture erased{poise::AnyPolicy{Retry<poise::RoundRobin>{{.attempts = 3}}}};
  CHECK(erased.asked(Result::error).size() == 3);
}

TEST_CASE("a retry picks as its inner policy does and needs no notification itself") {
  tests::Probe<> const probe;
  Fixture test{Retry<tests::Probe<>>{{}, probe}};
  CHECK(tests::picks(test.balancer, 6) == "abcdab");
  CHECK(probe.log->ends == 6);
  CHECK(probe.log->mistakes == 0);
  CHECK_FALSE(poise::hooks::traits(Retry<Stubborn>{}).wants_finish);
  STATIC_REQUIRE_FALSE(poise::hooks::has_admit<Retry<Stubborn>>);
  CHECK_FALSE(poise::hooks::traits(Retry<Stubborn>{}).uses_time);
  CHECK(poise::hooks::name(Retry<poise::P2C>{}) == "retry(p2c)");
}

// -- retries beside rotations ---------------------------------------------------------------------

namespace {

/// The fraction of first attempts that go to the failing one of n servers.
double first_attempts_at_the_failing(std::string_view policy, std::size_t servers, bool seeded) {
  tests::Clock clock;
  poise::Balancer<poise::AnyPolicy, void, poise::Runtime<tests::Clock>> balancer{
      tests::numbered(servers),
      tests::policy(policy),
      {.clock = clock,
       .seed = seeded ? std::optional<std::uint64_t>{1} : std::optional<std::uint64_t>{}}};
  constexpr int calls = 3000;
  int failing = 0;
  for (int i = 0; i < calls; ++i) {
    clock.advance(1s);  // the budget is another matter
    balancer.call([&](auto& backend, poise::Request const& request) {
      bool const fails = backend.id() == "0";
      if (request.attempt == 1 && fails) ++failing;
      return Outcome{fails ? Result::error : Result::success};
    });
  }
  return static_cast<double>(failing) / calls;
}

}  // namespace

TEST_CASE("first attempts do not keep step with the retries of a rotation") {
  for (auto const* policy :
       {"retry(round_robin)", "retry(exact_round_robin)", "retry(smooth_weighted)"})
    for (std::size_t const servers : {2U, 3U, 4U, 10U})
      for (bool const seeded : {true, false}) {
        CAPTURE(policy, servers, seeded);
        auto const fair = 1 / static_cast<double>(servers);
        CHECK(first_attempts_at_the_failing(policy, servers, seeded) == Approx(fair).margin(0.03));
      }
}

TEST_CASE("a request counts once in the budget, however often wrappers ask for it") {
  for (auto const* policy :
       {"retry(random)", "failover(retry(random))", "subset(retry(random), size=8)",
        "zone_aware(failover(retry(random)), local=a)", "bounded(retry(maglev))",
        "priority(retry(random), retry(random), retry(random), fallback=yes)",
        "failover(zone_aware(subset(retry(random), size=3), local=a))"}) {
    CAPTURE(policy);
    poise::VirtualClock clock;
    auto const retrying = tests::policy(policy);
    std::vector<poise::Endpoint> endpoints;
    for (auto const& each : tests::fleet()) endpoints.push_back(each);
    poise::Balancer<poise::AnyPolicy, void, poise::Runtime<poise::VirtualClock>> balancer{
        endpoints, retrying, {.clock = clock, .seed = 1}};
    std::vector<std::uint64_t> excluded;
    for (int i = 0; excluded.size() < 8 && i < 10'000; ++i) {
      auto const lease = balancer.pick();
      auto const serial = lease.serial();
      if (std::find(excluded.begin(), excluded.end(), serial) == excluded.end() &&
          excluded.size() < 6)
        excluded.push_back(serial);
    }
    clock.set(poise::Time{10s});
    balancer.tick();
    auto const decisions = [&] {
      // With a budget of 20 % and 10, as many retries as the requests of the last second allow.
      int count = 0;
      poise::Request const request;
      while (retrying.decide({request, {Result::error}, clock.now(), 0}).retry) ++count;
      return count;
    };
    for (int i = 0; i < 1000; ++i) (void)balancer.pick({.excluded = excluded});
    clock.set(poise::Time{10s + 500ms});
    CHECK(decisions() == 210);
  }
}

TEST_CASE("refused retries are free while another backend is left") {
  for (auto const* policy : {"retry(random)", "retry(round_robin)", "retry(p2c)"}) {
    CAPTURE(policy);
    poise::VirtualClock clock;
    poise::Balancer<poise::AnyPolicy, void, poise::Runtime<poise::VirtualClock>> balancer{
        tests::letters("abc"), tests::policy(policy), {.clock = clock, .seed = 1}};
    int failed = 0;
    for (int i = 0; i < 10'000; ++i) {
      clock.advance(1ms);
      auto const outcome = balancer.call([&](auto& backend) {
        return Outcome{backend.id() == "a" ? Result::refused : Result::success,
                       backend.id() != "a"};
      });
      if (outcome.result != Result::success) ++failed;
    }
    CHECK(failed == 0);
  }
}

TEST_CASE("when every backend refuses, repeated ones are paid for") {
  auto const policy = Retry<Stubborn>{{.attempts = 100}};
  poise::Request const request;
  auto const allowed = [&](bool alone, Outcome outcome) {
    int count = 0;
    poise::Attempt attempt{request, outcome, poise::Time{1h}, 0};
    attempt.alone = alone;
    while (count < 1000 && policy.decide(attempt).retry) ++count;
    return count;
  };
  CHECK(allowed(false, {Result::refused, false}) == 1000);
  CHECK(allowed(true, {Result::refused, false}) == 10);
  CHECK(allowed(false, {Result::connect_timeout, false}) == 0);
}

}  // namespace unit_compose_retry
