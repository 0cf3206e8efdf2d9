// SPDX-License-Identifier: MIT

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <support/catch.hpp>

#include <poise/analysis/explain.hpp>
#include <poise/analysis/json.hpp>
#include <poise/balancer.hpp>
#include <poise/compose/any_policy.hpp>
#include <poise/compose/bounded.hpp>
#include <poise/compose/failover.hpp>
#include <poise/compose/filter.hpp>
#include <poise/compose/rate_limited.hpp>
#include <poise/compose/shed.hpp>
#include <poise/compose/subset.hpp>
#include <poise/compose/zone_aware.hpp>
#include <poise/health/monitor.hpp>
#include <poise/policy/adaptive.hpp>
#include <poise/policy/least.hpp>
#include <poise/policy/power_of_two.hpp>
#include <poise/policy/random.hpp>
#include <poise/policy/rendezvous.hpp>
#include <poise/policy/round_robin.hpp>

namespace unit_analysis_explain {

using namespace poise;
using namespace std::chrono_literals;
using analysis::explain;
using analysis::Explanation;
using analysis::Reason;

namespace {

std::vector<Endpoint> fleet() {
  return {{.id = "a", .zone = "x", .tier = 0},
          {.id = "b", .zone = "x", .tier = 0},
          {.id = "c", .zone = "y", .tier = 1},
          {.id = "d", .zone = "y", .tier = 1}};
}

/// Erased, as most here: each type of balancer takes seconds to compile.
using Servers = Balancer<AnyPolicy, void, Runtime<VirtualClock>>;

template <class P>
Servers balancer(P policy = {}) {
  return Servers{fleet(), AnyPolicy{std::move(policy)}, {.clock = {}, .seed = 5, .observers = {}}};
}

std::size_t count(Explanation const& of, Reason reason) {
  std::size_t result = 0;
  for (auto const& each : of.candidates) result += each.why.reason == reason ? 1 : 0;
  return result;
}
Reason reason_of(Explanation const& of, std::string_view id) {
  for (auto const& each : of.candidates)
    if (each.why.id == id) return each.why.reason;
  return Reason::unknown;
}

}  // namespace

TEST_CASE("an explanation has the least loaded as winner, and all scores") {
  Balancer<LeastConnections, void, Runtime<VirtualClock>> servers{fleet()};
  auto const on_a = servers.pick({.preferred = "a"});
  auto const on_b = servers.pick({.preferred = "b"});
  auto const on_d = servers.pick({.preferred = "d"});
  auto const explanation = explain(servers);
  CHECK(explanation.policy == "least_connections");
  CHECK(explanation.winner == "c");
  CHECK(reason_of(explanation, "c") == Reason::none);
  CHECK(count(explanation, Reason::outscored) == 3);
  CHECK(explanation.candidates[0].score == 1.0);
  CHECK(explanation.candidates[0].in_flight == 1);
  CHECK(explanation.candidates[2].score == 0.0);
  CHECK(message(explanation) ==
        "least_connections picks c\n"
        "  a: outscored (1, winner 0)\n"
        "  b: outscored (1, winner 0)\n"
        "  c: picked; score 0\n"
        "  d: outscored (1, winner 0)\n");
  CHECK(servers.pick()->id() == "c");
}

TEST_CASE("an explanation of two draws names the tied one, and those that were not drawn") {
  auto const explanation = explain(balancer<P2C>());
  CHECK(count(explanation, Reason::none) == 1);
  CHECK(count(explanation, Reason::tied) == 1);
  CHECK(count(explanation, Reason::not_drawn) == 2);
  CHECK(count(explain(balancer<Random>()), Reason::not_drawn) == 3);
  CHECK(count(explain(balancer<RoundRobin>()), Reason::not_its_turn) == 3);
}

TEST_CASE("an explanation has the costs by which Adaptive chooses") {
  auto servers = balancer<Adaptive>();
  auto const explanation = explain(servers);
  for (auto const& each : explanation.candidates) CHECK(each.score.has_value());
  CHECK(servers.pick()->id() == explanation.winner);
}

TEST_CASE("with a key the others are not its owner, and without one they are not drawn") {
  auto servers = balancer<Rendezvous>();
  auto const explanation = explain(servers, {.route_key = "user 7"});
  CHECK(explanation.key == "user 7");
  CHECK(count(explanation, Reason::not_owner) == 3);
  CHECK(servers.pick({.route_key = "user 7"})->id() == explanation.winner);
  CHECK(count(explain(servers), Reason::not_drawn) == 3);
}

TEST_CASE("wrappers leave backends out by a reason of their own") {
  CHECK(count(explain(balancer(Filter{InZone{"x"}, P2C{}})), Reason::filtered) == 2);
  CHECK(count(explain(balancer(Failover<P2C>{})), Reason::other_tier) == 2);
  CHECK(count(explain(balancer(Failover<P2C, RoundRobin>{})), Reason::other_tier) == 2);
  CHECK(count(explain(balancer(ZoneAware<P2C>{{.local = "x"}})), Reason::other_zone) == 2);
  Subset<P2C> const subset{{.client = 0, .clients = 2, .size = 3}};
  CHECK(count(explain(balancer(subset)), Reason::other_subset) == 1);
}

TEST_CASE("a tier without a usable backend is left for the next one") {
  auto servers = balancer(Failover<P2C>{});
  std::vector<std::uint64_t> const tried{servers.find("a")->serial(), servers.find("b")->serial()};
  auto const explanation = explain(servers, {.excluded = tried});
  CHECK(count(explanation, Reason::excluded) == 2);
  CHECK(count(explanation, Reason::other_tier) == 0);
  CHECK(count(explanation, Reason::tied) == 1);
}

TEST_CASE("what keeps a backend out by itself is its first reason, whatever the policy") {
  auto servers = balancer(Filter{InZone{"x"}, P2C{}});
  servers.drain("c");
  CHECK(reason_of(explain(servers), "c") == Reason::drained);
  servers.set_health("d", HealthState::unhealthy);
  CHECK(reason_of(explain(servers), "d") == Reason::declared);
  servers.set_weight("a", 0);
  CHECK(reason_of(explain(servers), "a") == Reason::weightless);
  servers.set_admission("b", {.max_in_flight = 0});
  auto const explanation = explain(servers);
  CHECK(reason_of(explanation, "b") == Reason::full);
  CHECK(explanation.winner.empty());
  CHECK(message(explanation) ==
        "filter(p2c) picks nothing: 4 backends: 1 drained, 1 unhealthy, 1 with weight 0, 1 at a "
        "limit or filtered out\n"
        "  a: weight 0; ends by: set_weight()\n"
        "  b: at its limit (0, limit 0); ends by: set_admission()\n"
        "  c: drained; ends by: undrain()\n"
        "  d: declared unhealthy; ends by: set_health(id, nullopt)\n");
}

TEST_CASE("a preferred backend is said to be preferred") {
  auto servers = balancer<P2C>();
  auto const explanation = explain(servers, {.preferred = "b"});
  CHECK(explanation.preferred);
  CHECK(message(explanation).find("p2c picks b, which the request prefers\n") == 0);
  servers.drain("b");
  CHECK_FALSE(explain(servers, {.preferred = "b"}).preferred);
}

TEST_CASE("in a panic those that were found ill are candidates, those declared ill are not") {
  VirtualClock clock;
  health::Standard const monitor{{.seed = 1}};
  Balancer<LeastConnections, void, Runtime<VirtualClock, health::Standard>> servers{
      endpoints({"a", "b", "c"}), {}, {.clock = clock, .seed = 1, .observers = {monitor}}};
  servers.tick();
  servers.set_health("c", HealthState::unhealthy);
  for (auto const* id : {"a", "b"}) servers.report_health(id, HealthState::unhealthy);
  for (int i = 0; i < 20; ++i) {
    clock.advance(1s);
    servers.tick();
  }
  auto const lease = servers.pick();
  REQUIRE(lease);
  auto const explanation = explain(servers, monitor);
  CHECK(explanation.panicking);
  CHECK(message(explanation).find(", in a panic: so few are healthy") != std::string::npos);
  CHECK(reason_of(explanation, lease->id()) == Reason::outscored);
  CHECK(reason_of(explanation, "c") == Reason::declared);
}

TEST_CASE("an ejected backend that alone suits the request is a last resort, not a panic") {
  VirtualClock clock;
  health::Standard const monitor{{.seed = 1}};
  Balancer<LeastConnections, void, Runtime<VirtualClock, health::Standard>> servers{
      endpoints({"a", "b", "c"}), {}, {.clock = clock, .seed = 1, .observers = {monitor}}};
  clock.advance(1h);
  servers.tick();
  for (int i = 0; i < 5; ++i) servers.record("a", Result::error);
  servers.tick();
  auto const is_a = [](Backend const& each) { return each.id() == "a"; };
  auto const explanation = explain(servers, monitor, {.condition = is_a});
  CHECK(explanation.winner == "a");
  CHECK(explanation.last_resort);
  CHECK_FALSE(explanation.panicking);
  CHECK(reason_of(explanation, "b") == Reason::condition);
  CHECK(message(explanation).find("least_connections picks a, as a last resort: ") == 0);
  CHECK_FALSE(explain(servers, monitor).last_resort);
}

TEST_CASE("a backend that accepts none of its picks is limited, and one over its bound refused") {
  auto servers = balancer<LeastConnections>();
  servers.set_admission("a", {.share = 0});
  std::vector<decltype(servers)::Lease> leases;
  for (auto const* id : {"b", "c", "d"}) leases.push_back(servers.pick({.preferred = id}));
  auto const limited = explain(servers);
  CHECK(reason_of(limited, "a") == Reason::limited);
  CHECK_FALSE(limited.winner.empty());

  auto shedding = balancer(Shed<LeastConnections>{{.normal = 0.5, .low = 0.1}});
  for (auto const* id : {"a", "b", "c", "d"}) shedding.set_admission(id, {.max_in_flight = 2});
  std::vector<decltype(shedding)::Lease> more;
  for (auto const* id : {"a", "b", "c", "d"})
    more.push_back(shedding.pick({.priority = Priority::high, .preferred = id}));
  auto const refused = explain(shedding, {.priority = Priority::low});
  CHECK(refused.winner.empty());
  CHECK(count(refused, Reason::refused) == 4);
  CHECK_FALSE(explain(shedding, {.priority = Priority::high}).winner.empty());
}

TEST_CASE("of degraded and healthy backends one group is drawn") {
  auto servers = balancer<P2C>();
  servers.set_health("a", HealthState::degraded);
  bool seen_healthy = false;
  bool seen_degraded = false;
  for (int i = 0; i < 300; ++i) {
    auto const explanation = explain(servers);
    bool const degraded = explanation.winner == "a";
    (degraded ? seen_degraded : seen_healthy) = true;
    if (degraded) CHECK(count(explanation, Reason::other_group) == 3);
    else CHECK(reason_of(explanation, "a") == Reason::degraded);
    REQUIRE(servers.pick()->id() == explanation.winner);
  }
  CHECK(seen_healthy);
  servers.drain("b");
  servers.drain("c");
  for (int i = 0; i < 300; ++i) {
    auto const explanation = explain(servers);
    seen_degraded = seen_degraded || explanation.winner == "a";
    REQUIRE(servers.pick()->id() == explanation.winner);
  }
  CHECK(seen_degraded);
}

TEST_CASE("a monitor's ejection is explained with its numbers") {
  VirtualClock clock;
  health::Standard monitor{{.seed = 7}};
  Balancer<RoundRobin, void, Runtime<VirtualClock, health::Standard>> servers{
      fleet(), {}, {.clock = clock, .seed = 1, .observers = {monitor}}};
  clock.advance(1h);
  servers.tick();
  for (int i = 0; i < 40; ++i) {
    auto lease = servers.pick();
    bool const is_a = lease->id() == "a";
    lease.finish(is_a ? Result::error : Result::success);
  }
  servers.tick();
  auto const explanation = explain(servers, monitor);
  CHECK(reason_of(explanation, "a") == Reason::ejected);
  CHECK(explanation.candidates[0].why.until.has_value());
  CHECK(explanation.winner != "a");
  CHECK(json(explanation).find(R"("reason":"ejected","cause":"consecutive)") != std::string::npos);
}

TEST_CASE("explanations of no backend, of one, and of a key of a megabyte") {
  Servers none{std::vector<Endpoint>{}, AnyPolicy{P2C{}}};
  CHECK(message(explain(none)) ==
        "p2c picks nothing: no backends are configured: add some with add() or update()\n");
  Servers one{{{.id = "a"}}, AnyPolicy{Rendezvous{}}};
  std::string const key(1U << 20U, 'k');
  auto const explanation = explain(one, {.route_key = key});
  CHECK(explanation.winner == "a");
  CHECK(explanation.key.size() == 256);
}

TEST_CASE("backends without a token are refused for a time, however idle they are") {
  auto servers = balancer(RateLimited<P2C>{{.backend = {.per_second = 1}}});
  for (int i = 0; i < 4; ++i) CHECK(servers.pick());
  auto const explanation = explain(servers);
  CHECK(explanation.error.retry_after > 0ms);
  CHECK(count(explanation, Reason::refused) == 4);
  CHECK(message(explanation).find("a: refused by the policy; ends by: time, or fewer requests") !=
        std::string::npos);
}

TEST_CASE("the scores of an explanation are told, also if the winner's is 0") {
  auto servers = balancer<LeastConnections>();
  auto const lease = servers.pick({.preferred = "a"});
  auto const text = json(explain(servers));
  CHECK(text.find(R"("id":"a","reason":"outscored","cause":"","value":1,"limit":0)") !=
        std::string::npos);
}

TEST_CASE("explanations and reasons as JSON") {
  auto servers = balancer<LeastConnections>();
  servers.drain("b");
  servers.drain("c");
  servers.drain("d");
  auto const text = json(explain(servers, {.route_key = "a\"b"}));
  CHECK(text.starts_with(
      R"({"policy":"least_connections","key":"a\"b","winner":"a","found_by_scan":false,)"
      R"("preferred":false,"panicking":false,"last_resort":false,"explores":false,)"
      R"("candidates":[{"id":"a","reason":"eligible","cause":"","value":null,)"
      R"("limit":null,"held_by":"","since":null,"left":null,"ends_by":"","score":0,)"
      R"("compared":false,)"
      R"("weight":1,"in_flight":0},{"id":"b","reason":"drained",)"));
  servers.drain("a");
  CHECK(json(explain(servers))
            .find(R"("winner":"","error":{"text":"4 backends: 4 drained",)"
                  R"("drained":4,)") != std::string::npos);
  CHECK(json(analysis::why(servers, "x"), servers.now()) ==
        R"x({"id":"x","reason":"unknown","cause":"","value":null,"limit":null,"held_by":"",)x"
        R"x("since":null,"left":null,)x"
        "\"ends_by\":\"add() or update()\"}\n");
}

}  // namespace unit_analysis_explain
