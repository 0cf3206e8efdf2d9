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
#include "support/servers.hpp"
#include "support/text.hpp"

using namespace std::chrono_literals;
using poise::Ending;
using poise::Outcome;
using poise::Retry;
using poise::Stop;
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
std::optional<Stop> why(poise::RetryOptions const& options, poise::Request const& request,
                        Outcome outcome, poise::Time now = poise::Time{1h}) {
  auto const decision =
      poise::detail::RetryRules{options}.decide({request, outcome, now, greatest});
  return decision.retry ? std::nullopt : std::optional{decision.why};
}

/// The longest pause after this try.
poise::Duration longest(poise::RetryOptions options, std::uint32_t attempt) {
  return decide(options, attempt, Ending::error).after;
}

}  // namespace

// -- the decision --------------------------------------------------------------------------------

TEST_CASE("failures are retried and nothing else") {
  for (std::size_t i = 0; i < poise::ending_count; ++i) {
    auto const ending = static_cast<Ending>(i);
    CAPTURE(name(ending));
    CHECK(decide({}, 1, ending).retry == is_failure(ending));
  }
}

TEST_CASE("the number of attempts includes the first") {
  CHECK_FALSE(decide({.attempts = 1}, 1, Ending::error).retry);
  CHECK(decide({.attempts = 3}, 2, Ending::error).retry);
  CHECK_FALSE(decide({.attempts = 3}, 3, Ending::error).retry);
  CHECK_FALSE(decide({.attempts = 3}, 4, Ending::error).retry);
}

TEST_CASE("the pause is drawn from all of an interval that doubles up to the cap") {
  poise::RetryOptions const many{.attempts = 100};
  constexpr auto ns = poise::Duration{1};
  CHECK(longest(many, 1) == 25ms - ns);
  CHECK(longest(many, 2) == 75ms - ns);
  CHECK(longest(many, 3) == 175ms - ns);
  CHECK(longest(many, 4) == 250ms - ns);
  CHECK(longest(many, 5) == 250ms - ns);
  for (std::uint32_t attempt = 1; attempt < 100; ++attempt)
    CHECK(decide(many, attempt, Ending::error, 0).after == 0ms);
  CHECK(decide(many, 3, Ending::error, std::uint64_t{1} << 63U).after == 87'500us);
}

TEST_CASE("no number of attempts and no length of pause overflows") {
  constexpr auto ns = poise::Duration{1};
  for (std::uint32_t const attempt : {31U, 32U, 62U, 63U, 64U, 65U, 4'000'000'000U})
    CHECK(longest({.attempts = ~0U}, attempt) == 250ms - ns);
  poise::RetryOptions const longest_of_all{
      .attempts = 100, .base = poise::Duration::max(), .cap = poise::Duration::max()};
  CHECK(longest(longest_of_all, 1) == poise::Duration::max() - ns);
  CHECK(longest(longest_of_all, 62) == poise::Duration::max() - ns);
  poise::RetryOptions const fine{.attempts = 100, .base = ns, .cap = poise::Duration::max()};
  CHECK(longest(fine, 62) == poise::Duration{(std::int64_t{1} << 62U) - 2});
  CHECK(longest(fine, 63) == poise::Duration::max() - ns);
}

TEST_CASE("a base of zero retries at once") {
  CHECK(longest({.attempts = 9, .base = 0ns}, 8) == 0ms);
  CHECK(longest({.attempts = 9, .base = 0ns, .cap = 0ns}, 8) == 0ms);
  CHECK(decide({.attempts = 9, .base = 0ns}, 8, Ending::error).retry);
}

TEST_CASE("the first retry waits for nothing if nothing was sent") {
  CHECK(decide({}, 1, Ending::refused).retry);
  CHECK(decide({}, 1, Ending::refused).after == 0ms);
  CHECK(decide({}, 1, Ending::connect_timeout).after == 0ms);
  CHECK(decide({}, 1, Outcome{Ending::reset, false}).after == 0ms);
  CHECK(decide({}, 1, Outcome{Ending::refused, true}).after > 0ms);
  CHECK(decide({}, 2, Ending::refused).after > 0ms);
}

TEST_CASE("the first retry waits if no other backend is left, or the backend is overloaded") {
  poise::Request const request{};
  poise::detail::RetryRules const rules{{}};
  CHECK(rules.decide({request, Ending::refused, {}, greatest, false, true}).after > 0ms);
  CHECK(decide({}, 1, Outcome{Ending::overloaded, false}).after > 0ms);
}

TEST_CASE("what is retried can be chosen") {
  auto const all_but_errors = poise::failures.without(Ending::error);
  CHECK(why({.on = all_but_errors}, {}, Ending::error) == Stop::settled);
  CHECK_FALSE(why({.on = all_but_errors}, {}, Ending::timeout));
  CHECK_FALSE(why({.on = all_but_errors.with(Ending::rejected)}, {}, Ending::rejected));
  CHECK(why({.on = {}}, {}, Ending::refused) == Stop::settled);
}

TEST_CASE("a request that is not idempotent is tried again only if nothing was sent") {
  poise::Request const order{.idempotent = false};
  CHECK(why({}, order, Ending::error) == Stop::sent);
  CHECK(why({}, order, Ending::timeout) == Stop::sent);
  CHECK_FALSE(why({}, order, Ending::refused));
  CHECK_FALSE(why({}, order, Ending::connect_timeout));
  CHECK_FALSE(why({}, order, Outcome{Ending::reset, false}));
  CHECK(why({}, order, Ending::success) == Stop::settled);
  CHECK(why({.attempts = 1}, order, Ending::error) == Stop::attempts);
}

TEST_CASE("a backend that asks for a pause gets it, and the usual one besides") {
  CHECK(decide({}, 1, Outcome{Ending::overloaded, true, 2s}, 0).after == 2s);
  CHECK(decide({}, 1, Outcome{Ending::overloaded, true, 2s}).after == 2s + 25ms - 1ns);
  CHECK(decide({}, 2, Outcome{Ending::error, true, 2s}).after == 2s + 75ms - 1ns);
  CHECK(decide({}, 1, Outcome{Ending::refused, false, 2s}, 0).after == 2s);
}

TEST_CASE("a backend that asks for too long a pause, or for none at all, is left alone") {
  CHECK_FALSE(why({}, {}, Outcome{Ending::overloaded, true, 10s}));
  CHECK(why({}, {}, Outcome{Ending::overloaded, true, 10s + 1ns}) == Stop::pushback);
  CHECK(why({}, {}, Outcome{Ending::overloaded, true, 24h * 365}) == Stop::pushback);
  CHECK(why({}, {}, Outcome{Ending::overloaded, true, poise::do_not_retry}) == Stop::pushback);
  CHECK(why({}, {}, Outcome{Ending::error, true, poise::Duration::min()}) == Stop::pushback);
  CHECK(why({.longest_pushback = 0s}, {}, Outcome{Ending::overloaded, true, 1ns}) ==
        Stop::pushback);
  poise::RetryOptions const patient{.longest_pushback = poise::Duration::max()};
  CHECK(decide(patient, 1, Outcome{Ending::error, true, poise::Duration::max()}).after ==
        poise::Duration::max());
}

TEST_CASE("nothing is tried again that would begin after the deadline") {
  poise::Time const now{1h};
  poise::Duration const pause = 25ms - 1ns;
  CHECK_FALSE(why({}, {.deadline = now + pause + 1ns}, Ending::error));
  CHECK(why({}, {.deadline = now + pause}, Ending::error) == Stop::deadline);
  CHECK(why({}, {.deadline = now}, Ending::error) == Stop::deadline);
  CHECK(why({}, {.deadline = now - 1s}, Ending::refused) == Stop::deadline);
  CHECK_FALSE(why({}, {.deadline = now + 1ns}, Ending::refused));
  CHECK(why({}, {.deadline = now + 1s}, Outcome{Ending::overloaded, true, 1s}) == Stop::deadline);
  CHECK_FALSE(why({}, {.deadline = poise::Time::max()}, Ending::error, poise::Time::min()));
  CHECK(why({}, {.deadline = poise::Time::min()}, Ending::error, poise::Time::max()) ==
        Stop::deadline);
}

TEST_CASE("the first rule that applies says why not") {
  poise::Request const late{.attempt = 3, .idempotent = false, .deadline = poise::Time{}};
  Outcome const refusing{Ending::overloaded, true, poise::do_not_retry};
  CHECK(why({.on = {}}, late, refusing) == Stop::settled);
  CHECK(why({.attempts = 3}, late, refusing) == Stop::attempts);
  CHECK(why({.attempts = 4}, late, refusing) == Stop::sent);
  CHECK(why({.attempts = 4}, {.deadline = poise::Time{}}, refusing) == Stop::pushback);
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
  CHECK(mentions(refusal({.base = -1ns}), "base of Retry is -1 ns"));
  CHECK(refusal({.base = 30ns, .cap = 20ns}) ==
        "cap of Retry is 20 ns, less than its base of 30 ns: no pause is longer than the cap");
  CHECK(mentions(refusal({.on = {Ending::success}}), "on of Retry contains \"success\""));
  CHECK(mentions(refusal({.on = {Ending::cancelled}}), "on of Retry contains \"cancelled\""));
  CHECK(mentions(refusal({.timeout = -1ns}), "timeout of Retry is -1 ns"));
  CHECK(mentions(refusal({.try_timeout = -1ns}), "try_timeout of Retry is -1 ns"));
  CHECK(mentions(refusal({.timeout = 1s, .try_timeout = 2s}),
                 "try_timeout of Retry is 2000000000 ns, longer than its timeout of 1000000000"));
  CHECK(mentions(refusal({.longest_pushback = -1ns}), "longest_pushback of Retry is -1 ns"));
  CHECK(mentions(refusal({.share = -0.1}), "share of Retry is -0.1"));
  CHECK(mentions(refusal({.share = 1.1}), "share of Retry is 1.1"));
  CHECK(mentions(refusal({.share = nan}), "share of Retry is nan"));
  CHECK(mentions(refusal({.hedge = {.after = -1ns}}), "after of a hedge is -1 ns"));
  CHECK(mentions(refusal({.hedge = {.percentile = 0}}), "percentile of a hedge is 0.0"));
  CHECK(mentions(refusal({.hedge = {.percentile = 1}}), "percentile of a hedge is 1.0"));
  CHECK(mentions(refusal({.hedge = {.percentile = 95}}), "percentile of a hedge is 95.0"));
  CHECK(mentions(refusal({.hedge = {.percentile = nan}}), "percentile of a hedge is nan"));
  CHECK(mentions(refusal({.hedge = {.least = -1ns}}), "least delay of a hedge is -1 ns"));
  CHECK(mentions(refusal({.hedge = {.share = 1.5}}), "share of a hedge is 1.5"));
  CHECK(mentions(refusal({.hedge = {.share = nan}}), "share of a hedge is nan"));
}

// -- with a balancer -----------------------------------------------------------------------------

TEST_CASE("a retry never asks a tried backend while one is untried") {
  Fixture test{Retry<Stubborn>{{.attempts = 4}}};
  for (int i = 0; i < 20; ++i) {
    auto asked = test.asked(Ending::timeout);
    std::sort(asked.begin(), asked.end());
    REQUIRE(asked == "abcd");
  }
}

TEST_CASE("a retry asks tried backends again when all are tried") {
  Fixture test{Retry<Stubborn>{{.attempts = 5}}, "ab"};
  auto const asked = test.asked(Ending::timeout);
  REQUIRE(asked.size() == 5);
  CHECK(asked[0] != asked[1]);
}

TEST_CASE("retries stop at the first success") {
  Fixture test{Retry<poise::RoundRobin>{{.attempts = 4}}};
  int runs = 0;
  auto const outcome = test.balancer.call(
      [&](auto&) { return Outcome{++runs < 3 ? Ending::error : Ending::success}; });
  CHECK(outcome.ending == Ending::success);
  CHECK(runs == 3);
}

TEST_CASE("the last reply comes back") {
  Fixture test{Retry<poise::RoundRobin>{{.attempts = 3}}};
  int run = 0;
  auto const reply = test.balancer.call([&](auto&) -> std::optional<int> {
    ++run;
    return std::nullopt;
  });
  CHECK_FALSE(reply);
  CHECK(run == 3);
  run = 0;
  CHECK(test.balancer.call([&](auto&) {
    return ++run == 2 ? Outcome{Ending::rejected, true, 7ns} : Outcome{Ending::reset};
  }) == Outcome{Ending::rejected, true, 7ns});
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
  (void)test.asked(Ending::error);
  CHECK(test.clock.slept() > 0ms);
  CHECK(test.clock.slept() < 100ms);  // 25 + 75
  auto const before = test.clock.slept();
  Fixture once{Retry<poise::RoundRobin>{{.attempts = 2}}};
  (void)once.asked(Ending::refused);
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
    (void)test.asked(Ending::error);
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
  CHECK(outer_fewer.asked(Ending::error).size() == 2);
  Fixture outer_more{Retry<Retry<poise::RoundRobin>>{{.attempts = 3}, {{.attempts = 1}}}};
  CHECK(outer_more.asked(Ending::error).size() == 3);
  tests::Probe<> const probe;
  Fixture over_probe{Retry<tests::Probe<>>{{.attempts = 3}, probe}};
  CHECK(over_probe.asked(Ending::error).size() == 3);
  CHECK(probe.log->decisions == 0);
}

TEST_CASE("a retry inside a wrapper decides through it") {
  Fixture test{poise::Filter{[](auto const& backend) { return backend.id() != "a"; },
                             Retry<Stubborn>{{.attempts = 3}}}};
  auto asked = test.asked(Ending::error);
  std::sort(asked.begin(), asked.end());
  CHECK(asked == "bcd");
  Fixture erased{poise::AnyPolicy{Retry<poise::RoundRobin>{{.attempts = 3}}}};
  CHECK(erased.asked(Ending::error).size() == 3);
}

TEST_CASE("a retry picks as what it wraps does and hears nothing itself") {
  tests::Probe<> const probe;
  Fixture test{Retry<tests::Probe<>>{{}, probe}};
  CHECK(tests::picks(test.balancer, 6) == "abcdab");
  CHECK(probe.log->ends == 6);
  CHECK(probe.log->mistakes == 0);
  CHECK_FALSE(poise::hooks::hears_finish(Retry<Stubborn>{}));
  STATIC_REQUIRE_FALSE(poise::hooks::has_admit<Retry<Stubborn>>);
  CHECK_FALSE(poise::hooks::uses_time(Retry<Stubborn>{}));
  CHECK(poise::hooks::name(Retry<poise::P2C>{}) == "retry(p2c)");
}
