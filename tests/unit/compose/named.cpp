// SPDX-License-Identifier: MIT
// Policies by name: every name makes a policy that works, a policy's own name makes it again, and a
// wrong one is answered with the right ones.

#include <poise/compose/policy_named.hpp>

#include <cstdint>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <poise/poise.hpp>

#include "support/catch.hpp"
#include "support/servers.hpp"
#include "support/text.hpp"

namespace unit_compose_named {

using poise::AnyPolicy;
using poise::ConfigError;
using poise::policy_named;

namespace {

std::string refusal(std::string_view text) {
  return tests::thrown<ConfigError>([&] { (void)policy_named(text); });
}

std::string names() {
  std::string all;
  for (auto const& each : poise::known_policies())
    all += (all.empty() ? "" : ", ") + std::string{each.name};
  return all;
}

}  // namespace

TEST_CASE("every known policy picks every backend, with the parameters that are listed") {
  for (auto const& known : poise::known_policies()) {
    auto const text = std::string{known.name} +
                      (known.parameters.empty() ? "" : "(" + std::string{known.parameters} + ")");
    CAPTURE(text);
    CHECK_FALSE(known.about.empty());
    poise::VirtualClock const clock;
    poise::Balancer<AnyPolicy, void, poise::Runtime<poise::VirtualClock>> balancer{
        {{.id = "a", .zone = "ZONE"}, {.id = "b", .zone = "ZONE"}, {.id = "c", .zone = "ZONE"}},
        policy_named(text),
        {.clock = clock, .seed = 1}};
    std::set<std::string> seen;
    for (int i = 0; i < 300; ++i) {
      auto lease = balancer.pick({.route_key = std::to_string(i)});
      REQUIRE(lease);
      seen.insert(lease->id());
    }
    CHECK(seen.size() == 3);
  }
}

TEST_CASE(
    "the parameters that are listed are the defaults, and a policy's own name makes it again") {
  for (auto const& known : poise::known_policies()) {
    CAPTURE(known.name, known.parameters);
    if (known.parameters.find("ZONE") != std::string_view::npos) continue;  // has no default
    auto const policy = policy_named(known.name);
    CHECK(policy_named(policy.name()).name() == policy.name());
    if (!known.parameters.empty())
      CHECK(policy_named(std::string{known.name} + "(" + std::string{known.parameters} + ")")
                .name() == policy.name());
  }
}

TEST_CASE("policies around policies are named too, and hand their parameters on") {
  CHECK(policy_named("retry(failover(p2c(peak_ewma), mode=all_or_nothing), attempts=5)").name() ==
        "retry(failover(p2c(peak_ewma)))");
  CHECK(policy_named("priority(least_connections, p2c, round_robin)").name() ==
        "priority(least_connections, p2c, round_robin)");
  CHECK(policy_named("priority(low=random, high=p2c)").name() == "priority(p2c, p2c, random)");

  poise::Balancer<AnyPolicy> balancer{
      poise::endpoints({"a", "b", "c"}),
      policy_named("retry(p2c, attempts=3, base_pause=0s, max_pause=0s)")};
  int calls = 0;
  balancer.call([&](auto&) {
    ++calls;
    return poise::Outcome{poise::Result::error};
  });
  CHECK(calls == 3);

  CHECK(refusal("bounded(p2c)") ==
        "bounded() needs a policy with keys, such as maglev, ring or rendezvous; p2c has none, so "
        "there is no load of hot keys to bound");
  CHECK(tests::mentions(refusal("bounded(retry(random))"), "retry(random) has none"));
  CHECK(refusal("bounded(retry(maglev))") == "(nothing was thrown)");
  CHECK(tests::mentions(refusal("retry(attempts=0)"), "attempts"));
  CHECK(policy_named("rate_limited(retry(random), per_second=5)").name() ==
        "rate_limited(retry(random))");
  CHECK(tests::mentions(refusal("rate_limited(per_second=0)"), "RateLimited has no limit"));
  CHECK(tests::mentions(refusal("rate_limited(burst=0)"), "burst of RateLimited's backend is 0"));
  CHECK(tests::mentions(refusal("rate_limited(key_per_second=5, places=3)"), "places of"));
  CHECK(tests::mentions(refusal("subset(client=3, clients=3)"), "client"));
  CHECK(tests::mentions(refusal("zone_aware(p2c)"), "zone"));
  CHECK(refusal("filter(p2c)") == "filter() needs a zone: filter(p2c, zone=eu-1a)");
  CHECK(refusal("failover(mode=some)") ==
        "failover(): mode is \"some\", but must be one of spill, all_or_nothing");
}

TEST_CASE("a retry's options are named, and hedging's within them") {
  using namespace std::chrono_literals;
  auto const timeouts = [](std::string_view text) { return policy_named(text).timeouts({}); };
  auto const stops = [](std::string_view text, poise::Outcome outcome) {
    poise::Request const request;
    auto const decision = policy_named(text).decide({request, outcome, poise::Time{1h}, 0});
    return !decision.retry;
  };
  CHECK(timeouts("retry") == poise::CallTimeouts{});
  CHECK(timeouts("retry(p2c, timeout=2s, attempt_timeout=300ms)") ==
        poise::CallTimeouts{.timeout = 2s, .attempt_timeout = 300ms});
  CHECK(timeouts("retry(p2c, hedge=at(after=20ms))").hedge_after == 20ms);
  CHECK(timeouts("retry(p2c, hedge=at(percentile=0.9, after=20ms))").hedge_after == 20ms);
  CHECK(timeouts("retry(p2c, hedge=at(percentile=0.9))").hedge_after == 0ms);
  CHECK(timeouts("retry(p2c, attempts=1, hedge=at(after=20ms))").hedge_after == 0ms);

  CHECK_FALSE(stops("retry(p2c)", poise::Result::error));
  CHECK(stops("retry(p2c, on=refused+connect_timeout)", poise::Result::error));
  CHECK_FALSE(stops("retry(p2c, on=refused+connect_timeout)", poise::Result::connect_timeout));
  CHECK(stops("retry(p2c, budget_fraction=0, min_retries_per_second=0)", poise::Result::error));
  CHECK(stops("retry(p2c, max_pushback=1s)", {poise::Result::overloaded, true, 2s}));

  CHECK(tests::mentions(refusal("retry(on=refused+slow)"), "on has no \"slow\"; use one of fail"));
  CHECK(tests::mentions(refusal("retry(on=success)"), "on of Retry contains \"success\""));
  CHECK(tests::mentions(refusal("retry(budget_fraction=1.5)"), "budget_fraction of Retry is 1.5"));
  CHECK(tests::mentions(refusal("retry(hedge=p95)"), "hedge is \"p95\", but must be no, or at()"));
  CHECK(tests::mentions(refusal("retry(hedge=at(percentile=95))"), "percentile of a hedge is 95"));
  CHECK(tests::mentions(refusal("retry(hedge=at(delay=1s))"), "at() does not know \"delay\""));
}

TEST_CASE("loads are named with their parameters") {
  CHECK(policy_named("p2c(load=peak_ewma)").name() == "p2c(peak_ewma)");
  CHECK(policy_named("p2c(peak_ewma(window=20, timeout=1s))").name() == "p2c(peak_ewma)");
  CHECK(policy_named("p2c(weighted(ewma))").name() == "p2c(weighted(ewma))");
  CHECK(policy_named("p2c(in_flight)").name() == "p2c(in_flight)");
  CHECK(policy_named("least(load=score(per_request=1, per_millisecond=0))").name() ==
        "least(score)");
}

TEST_CASE("a wrong name is answered with the known ones") {
  CHECK(refusal("p3c") == "there is no policy \"p3c\"; did you mean p2c? There are " + names());
  CHECK(refusal("P2C") == "there is no policy \"P2C\"; did you mean p2c? There are " + names());
  CHECK(refusal("rond_robn") ==
        "there is no policy \"rond_robn\"; did you mean round_robin? There are " + names());
  CHECK(refusal("fastest") == "there is no policy \"fastest\"; there are " + names());
  CHECK(refusal("p2c(load=speed)") ==
        "there is no load \"speed\"; there are in_flight, ewma, peak_ewma, score, weighted(...)");
  CHECK(refusal("p2c(weighted)") ==
        "weighted() needs a load: one of in_flight, ewma, peak_ewma, score, weighted(...)");
  CHECK(refusal("p2c(weighted(weighted(ewma)))") ==
        "there is no load \"weighted\"; there are in_flight, ewma, peak_ewma, score, "
        "weighted(...)");
}

TEST_CASE("a wrong parameter is answered with the known ones") {
  CHECK(refusal("p2c(lod=ewma)") ==
        "p2c() does not know \"lod\"; did you mean load? It takes load");
  CHECK(refusal("round_robin(3)") == "round_robin() does not know \"3\"; it takes nothing");
  CHECK(refusal("p2c(ewma, ewma)") == "p2c() does not know \"ewma\"; it takes load");
  CHECK(refusal("p2c(peak_ewma(windw=3))") ==
        "peak_ewma() does not know \"windw\"; did you mean window? It takes window, timeout");
  CHECK(refusal("maglev(max_backends=0)") ==
        "maglev(): max_backends is \"0\", but must be a whole number from 1 to 100000");
  CHECK(tests::mentions(refusal("ring(points=0)"), "must be a whole number from 1 to"));
  CHECK(tests::mentions(refusal("least_latency(window=0)"), "window of LatencyOptions is 0"));
  CHECK(tests::mentions(refusal("least_latency(timeout=3)"), "timeout is \"3\", but must be a"));
}

TEST_CASE("text at random is a policy or refused") {
  std::mt19937_64 random{3};
  std::vector<std::string> const parts{
      "p2c",   "least",    "(", ")",          ",",  "load=", "ewma", "score",
      "retry", "weighted", "=", "attempts=3", "\"", "3",     "1ms",  "x"};
  int made = 0;
  for (int i = 0; i < 20'000; ++i) {
    std::string text;
    for (auto length = 1 + random() % 7; length > 0; --length)
      text += parts[random() % parts.size()];
    try {
      (void)policy_named(text);
      ++made;
    } catch (ConfigError const&) {
    }
  }
  CHECK(made > 100);
}

TEST_CASE("keyed policies take a secret, and messages do not repeat it") {
  std::string const digits = "00112233445566778899aabbccddeeff";
  for (std::string const name : {"maglev", "ring", "rendezvous"}) {
    CAPTURE(name);
    poise::Balancer<AnyPolicy> plain{tests::numbered(50), policy_named(name)};
    poise::Balancer<AnyPolicy> secret{tests::numbered(50),
                                      policy_named(name + "(secret=" + digits + ")")};
    poise::Balancer<AnyPolicy> same{
        tests::numbered(50), policy_named("failover(" + name + "(secret=\"" + digits + "\"))")};
    int moved = 0;
    for (int i = 0; i < 100; ++i) {
      auto const key = std::to_string(i);
      auto const id = secret.pick({.route_key = key})->id();
      CHECK(id == same.pick({.route_key = key})->id());
      moved += id != plain.pick({.route_key = key})->id() ? 1 : 0;
    }
    CHECK(moved > 80);
    for (std::string const wrong :
         {"0011", "xx112233445566778899aabbccddeeff", "00112233445566778899aabbccddeeff0"}) {
      auto const message = refusal(name + "(secret=" + wrong + ")");
      CHECK(tests::mentions(message, "secret must be no, 32 hexadecimal digits"));
      CHECK_FALSE(tests::mentions(message, wrong));
    }
  }
}

TEST_CASE("sizes of keyed tables that no memory holds are refused by name") {
  CHECK(tests::mentions(refusal("ring(points=4294967295)"), "a whole number from 1 to 65536"));
  CHECK(tests::mentions(refusal("maglev(max_backends=4294967295)"),
                        "a whole number from 1 to 100000"));
  CHECK(policy_named("ring(points=65536)").name() == "ring");
}

}  // namespace unit_compose_named
