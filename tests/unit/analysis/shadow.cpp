// SPDX-License-Identifier: MIT

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <support/catch.hpp>
#include <support/clock.hpp>
#include <support/policies.hpp>

#include <poise/analysis/explain.hpp>
#include <poise/analysis/json.hpp>
#include <poise/analysis/pages.hpp>
#include <poise/analysis/shadow.hpp>
#include <poise/balancer.hpp>
#include <poise/compose/any_policy.hpp>
#include <poise/compose/bounded.hpp>
#include <poise/compose/failover.hpp>
#include <poise/compose/filter.hpp>
#include <poise/compose/retry.hpp>
#include <poise/health/monitor.hpp>
#include <poise/observe/handler.hpp>
#include <poise/policy/adaptive.hpp>
#include <poise/policy/hash_ring.hpp>
#include <poise/policy/least.hpp>
#include <poise/policy/power_of_two.hpp>
#include <poise/policy/random.hpp>
#include <poise/policy/round_robin.hpp>
#include <poise/policy/smooth_weighted.hpp>
#include <poise/runtime.hpp>

namespace unit_analysis_shadow {

using namespace poise;
using namespace std::chrono_literals;
using analysis::Shadow;
using analysis::ShadowOptions;
using analysis::ShadowReport;
using Ring = HashRing<>;

namespace {

/// Every pick is compared.
template <class Live, class Other>
using Whole = Shadow<Live, Other, ShadowOptions{.sampling = 0}>;

using Seeded = Runtime<tests::Clock>;

std::vector<Endpoint> pool(std::size_t size) {
  std::vector<Endpoint> backends;
  for (std::size_t i = 0; i < size; ++i) backends.push_back({.id = "b" + std::to_string(i)});
  return backends;
}

std::string key(int number) { return "key " + std::to_string(number); }

/// The sum of one count over all backends.
std::uint64_t sum(ShadowReport const& report, std::uint64_t analysis::ShadowCounts::* count) {
  auto sum = report.nowhere.*count;
  for (auto const& each : report.backends) sum += each.counts.*count;
  return sum;
}

/// Always the first candidate.
struct First {
  std::size_t pick(Candidates const&, Context&) const { return 0; }
};

/// Throws wherever it is called.
struct Throwing {
  struct Plan {};
  bool plans = true;
  [[nodiscard]] Plan plan(Candidates const&, Plan const*) const {
    if (!plans) throw std::runtime_error{"no plan"};
    return {};
  }
  std::size_t pick(Plan const&, Candidates const&, Context&) const {
    throw std::runtime_error{"no \"pick\""};
  }
  void on_finish(Finish&) const { throw std::runtime_error{"no finish"}; }
  void on_tick(Time) const { throw 1; }
};

/// Picks an index that is none.
struct Lost {
  std::size_t pick(Candidates const& candidates, Context&) const { return candidates.size() + 7; }
};

}  // namespace

TEST_CASE("a shadow's share, agreement and moved share are counted") {
  Whole<RoundRobin, First> const shadow;
  Balancer<Whole<RoundRobin, First>, void, Seeded> servers{pool(4), shadow, {.seed = 1}};
  for (int i = 0; i < 400; ++i) CHECK(servers.pick()->id() == "b" + std::to_string(i % 4));
  auto const report = shadow.report();
  CHECK(report.samples == 400);
  REQUIRE(report.backends.size() == 4);
  CHECK(report.backends[0].id == "b0");
  CHECK(report.backends[0].counts.live == 100);
  CHECK(report.backends[0].counts.shadow == 400);
  CHECK(report.backends[0].counts.both == 100);
  CHECK(report.backends[3].counts.shadow == 0);
  CHECK(report.backends[0].live->value == Approx(0.25));
  CHECK(report.backends[0].live->error == Approx(std::sqrt(0.25 * 0.75 / 400)).epsilon(0.02));
  CHECK(report.backends[0].shadow->error > 0);  // 400 of 400 is not certainty
  CHECK(report.agreement->value == Approx(0.25));
  CHECK(*report.moved == Approx(0.75));
  CHECK(report.nowhere.live + report.nowhere.shadow == 0);
  CHECK(report.exceptions == 0);
  CHECK(report.mean_cost > 0ns);
  CHECK(report.max_cost >= report.mean_cost);
}

TEST_CASE("a ring beside round robin agrees in one of n picks") {
  Whole<RoundRobin, Ring> const shadow;
  Balancer<Whole<RoundRobin, Ring>> servers{pool(8), shadow};
  constexpr int picks = 20'000;
  for (int i = 0; i < picks; ++i) servers.pick({.route_key = key(i)}).finish();
  auto const report = shadow.report();
  // Binomial: n = 20,000, p = 1/8, 4 deviations.
  CHECK(report.agreement->value == Approx(0.125).margin(4 * std::sqrt(0.125 * 0.875 / picks)));
  CHECK(report.agreement->error == Approx(std::sqrt(0.125 * 0.875 / picks)).epsilon(0.05));
  CHECK(report.keyless == 0);
  CHECK(report.keyed);
}

TEST_CASE("a keyed policy beside itself agrees always, and nothing moves") {
  Whole<Ring, Ring> const shadow;
  Balancer<Whole<Ring, Ring>> servers{pool(5), shadow};
  for (int i = 0; i < 1000; ++i) servers.pick({.route_key = key(i)}).finish();
  servers.drain("b2");  // what moves, moves for both
  for (int i = 0; i < 1000; ++i) servers.pick({.route_key = key(i)}).finish();
  auto const report = shadow.report();
  CHECK(report.agreement->value == 1);
  CHECK(*report.moved == 0);
  CHECK(report.moved_by_chance == 0);
}

TEST_CASE("what a ring beside round robin would move is what a balancer with this ring does") {
  Balancer<Ring> ring{pool(4)};
  Whole<RoundRobin, Ring> const shadow;
  Balancer<Whole<RoundRobin, Ring>> servers{pool(4), shadow};
  constexpr int picks = 4000;
  for (int i = 0; i < picks; ++i) {
    ring.pick({.route_key = key(i)}).finish();
    servers.pick({.route_key = key(i)}).finish();
  }
  auto const report = shadow.report();
  double expected = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    auto const total = ring.stats().backends[i].total;
    CHECK(report.backends[i].counts.shadow == total);
    expected += std::abs(static_cast<double>(total) / picks - 0.25) / 2;
  }
  CHECK(*report.moved == Approx(expected));
}

TEST_CASE("what weights would move is the distance of the shares") {
  Whole<RoundRobin, SmoothWeighted> const shadow;
  Balancer<Whole<RoundRobin, SmoothWeighted>> servers{
      {{.id = "a"}, {.id = "b"}, {.id = "c"}, {.id = "d", .weight = 5}}, shadow};
  for (int i = 0; i < 800; ++i) servers.pick().finish();
  auto const report = shadow.report();
  CHECK(*report.moved == Approx(5.0 / 8 - 1.0 / 4).margin(0.006));  // a round that is not complete
  CHECK(report.backends[3].shadow->value == Approx(5.0 / 8).margin(0.006));
}

TEST_CASE("two policies that only chance tells apart move what chance moves") {
  for (int round = 0; round < 20; ++round) {
    Whole<Random, Random> const shadow;
    Balancer<Whole<Random, Random>, void, Seeded> servers{
        pool(50), shadow, {.seed = static_cast<std::uint64_t>(round)}};
    for (int i = 0; i < 2000; ++i) servers.pick().finish();
    auto const report = shadow.report();
    CHECK(report.moved_by_chance == Approx(0.0883).epsilon(0.02));  // 50 * sqrt(4/pi p q / n) / 2
    // The mean of 50 absolute normal values: its deviation is a tenth of it; 4 of these.
    CHECK(*report.moved == Approx(report.moved_by_chance).epsilon(0.45));
    CHECK(report.agreement->value == Approx(0.02).margin(4 * 0.0032));
  }
}

TEST_CASE("what chance moves is right with fewer samples than backends, too") {
  Whole<Random, Random> const shadow;
  Balancer<Whole<Random, Random>, void, Seeded> servers{pool(2000), shadow, {.seed = 7}};
  for (int i = 0; i < 500; ++i) servers.pick().finish();
  auto const report = shadow.report();
  CHECK(*report.moved > 0.7);
  CHECK(*report.moved == Approx(report.moved_by_chance).epsilon(0.06));
}

TEST_CASE("one of 2^sampling picks is compared, at random and not in step with a rotation") {
  using Some = Shadow<RoundRobin, First, ShadowOptions{.sampling = 3}>;
  Some const shadow;
  Balancer<Some> servers{pool(8), shadow};
  for (int i = 0; i < 8000; ++i) servers.pick().finish();
  auto const report = shadow.report();
  CHECK(report.samples >= 999);  // the first and the last eight may be cut
  CHECK(report.samples <= 1001);
  for (auto const& each : report.backends) {
    CHECK(each.counts.live > 125 - 4 * 11);  // binomial: n = 1000, p = 1/8, 4 deviations
    CHECK(each.counts.live < 125 + 4 * 11);
  }
}

TEST_CASE("a shadow's picks are no picks: nothing is counted, in flight or in total") {
  Whole<First, RoundRobin> const shadow;
  Balancer<Whole<First, RoundRobin>> servers{pool(3), shadow};
  {
    auto const held = servers.pick();
    for (int i = 0; i < 30; ++i) servers.pick().finish();
    auto const stats = servers.stats();
    CHECK(stats.backends[0].total == 31);
    CHECK(stats.backends[0].in_flight == 1);
    for (std::size_t i : {1U, 2U}) {
      CHECK(stats.backends[i].total == 0);
      CHECK(stats.backends[i].in_flight == 0);
    }
  }
  CHECK(shadow.report().backends[1].counts.shadow >= 10);
}

namespace {

/// The ids of 300 picks of a seeded balancer with a history of leases, drains and changed members.
template <class P>
std::vector<std::string> history(P policy, std::uint64_t seed) {
  tests::Clock clock;
  Balancer<P, void, Seeded> servers{{{.id = "a", .weight = 2},
                                     {.id = "b", .tier = 1},
                                     {.id = "c"},
                                     {.id = "d", .max_in_flight = 3}},
                                    std::move(policy),
                                    {.clock = clock, .seed = seed}};
  std::vector<std::string> ids;
  std::vector<typename Balancer<P, void, Seeded>::Lease> open;
  for (int i = 0; i < 300; ++i) {
    clock.advance(1ms);
    auto const name = key(i % 17);
    auto lease = servers.pick(i % 5 == 0 ? Request{} : Request{.route_key = name});
    ids.push_back(lease ? lease->id() : "none");
    if (lease) open.push_back(std::move(lease));
    if (open.size() > 9) {
      auto const at = open.begin() + i % 7;
      at->finish(i % 11 == 0 ? Outcome{Result::error} : Outcome{});
      open.erase(at);
    }
    if (i == 60) servers.drain("c");
    if (i == 90) servers.undrain("c");
    if (i == 120) servers.report_health("a", HealthState::degraded);
    if (i == 180) servers.add({.id = "e", .weight = 3});
    if (i == 200) servers.report_health("a", HealthState::healthy);
    if (i == 240) servers.remove("b");
    if (i % 50 == 0) servers.tick();
  }
  return ids;
}

template <class Live, class Other>
void check_that_live_is_unchanged() {
  for (std::uint64_t const seed : {1U, 2U, 3U})
    CHECK(history(Whole<Live, Other>{}, seed) == history(Live{}, seed));
}

}  // namespace

TEST_CASE("a balancer picks the same with a shadow and without") {
  check_that_live_is_unchanged<RoundRobin, P2C>();
  check_that_live_is_unchanged<Adaptive, LeastLatency>();
  check_that_live_is_unchanged<Ring, RoundRobin>();
  check_that_live_is_unchanged<Bounded<Ring>, Random>();
  check_that_live_is_unchanged<Failover<LeastLatency>, LeastLatency>();
  check_that_live_is_unchanged<Failover<P2C, RoundRobin>, Failover<LeastLatency>>();
  check_that_live_is_unchanged<Retry<P2C>, Retry<RoundRobin>>();
  check_that_live_is_unchanged<P2C, Throwing>();
}

TEST_CASE("the same holds of every policy, chosen at run time") {
  std::vector<std::string_view> lives{tests::all_policies.begin(), tests::all_policies.end()};
  lives.insert(lives.end(), {"ring", "bounded(ring)", "retry(p2c)", "failover(least_latency)"});
  for (auto const live : lives)
    for (std::string_view const other : {"p2c(peak_ewma)", "adaptive", "bounded(maglev)"}) {
      CAPTURE(live, other);
      Whole<AnyPolicy, AnyPolicy> const shadow{tests::policy(live), tests::policy(other)};
      auto const expected = history(tests::policy(live), 5);
      CHECK(history(shadow, 5) == expected);
      CHECK(history(AnyPolicy{shadow}, 5) == expected);
      CHECK(shadow.report().samples > 300);  // of both histories
    }
}

TEST_CASE("what is compared is where a pick ends: limits, bounds and exclusions count") {
  // A ring picks without random numbers, so the record must be exact.
  Whole<Bounded<Ring>, Ring> const shadow;
  Balancer<Whole<Bounded<Ring>, Ring>> servers{pool(5), shadow};
  std::vector<decltype(servers.pick())> open;
  for (int i = 0; i < 400; ++i) {  // one hot key
    open.push_back(servers.pick({.route_key = i % 2 == 0 ? "hot" : key(i)}));
    if (open.size() > 20) open.erase(open.begin());
  }
  open.clear();
  auto const report = shadow.report();
  for (auto const& each : servers.stats().backends) {
    auto const* of = &report.backends[0];
    while (of->id != each.id) ++of;
    CHECK(of->counts.live == each.total);
  }
  CHECK(report.agreement->value < 0.9);  // the bound moved some of the hot key
  CHECK(*report.moved > 0.1);
}

TEST_CASE("a backend at its limit is chosen by neither") {
  Whole<First, First> const shadow;
  Balancer<Whole<First, First>> servers{{{.id = "a", .max_in_flight = 1}, {.id = "b"}}, shadow};
  auto const first = servers.pick();
  CHECK(servers.pick()->id() == "b");  // by a search: the policy insists
  auto const report = shadow.report();
  CHECK(report.backends[0].counts.live == 1);
  CHECK(report.backends[0].counts.shadow == 1);
  CHECK(report.nowhere.live == 1);
  CHECK(report.nowhere.shadow == 1);
  CHECK(report.agreement->value == 1);
}

TEST_CASE("a shadow that names no backend is counted, and the pick goes on") {
  Whole<RoundRobin, Lost> const shadow;
  Balancer<Whole<RoundRobin, Lost>> servers{pool(2), shadow};
  for (int i = 0; i < 10; ++i) CHECK(servers.pick());
  auto const report = shadow.report();
  CHECK(report.nowhere.shadow == 10);
  CHECK(report.agreement->value == 0);
  CHECK(*report.moved == Approx(1));
}

TEST_CASE("a shadow that throws is counted, and never reaches the caller") {
  Whole<RoundRobin, Throwing> const shadow;
  Balancer<Whole<RoundRobin, Throwing>> servers{pool(2), shadow};
  for (int i = 0; i < 10; ++i) CHECK(servers.pick());
  auto report = shadow.report();
  CHECK(report.samples == 0);
  CHECK(report.exceptions == 20);  // ten picks, ten ends
  servers.tick();
  report = shadow.report();
  CHECK(report.exceptions == 21);
  CHECK(report.last_exception == "not a std::exception");
  CHECK(servers.stats().observer_failures == 0);
  servers.pick().finish();
  CHECK(message(shadow.report()) ==
        "custom beside round_robin: 0 picks compared, one in 1\n"
        "  the shadow threw 23 exceptions, the last: \"no finish\"\n");
}

TEST_CASE("a shadow whose plan throws stops no change, and is not asked") {
  Whole<RoundRobin, Throwing> const shadow{{}, {.plans = false}};
  Balancer<Whole<RoundRobin, Throwing>> servers{pool(2), shadow};
  servers.add({.id = "b2"});
  CHECK(shadow.report().exceptions == 2);
  CHECK(shadow.report().last_exception == "no plan");
  for (int i = 0; i < 9; ++i) CHECK(servers.pick());
  CHECK(servers.stats().backends[2].total == 3);
  CHECK(shadow.report().samples == 0);
  CHECK(shadow.report().exceptions == 11);  // nine ends, no pick
}

TEST_CASE("without backends, with one, and with all out of service") {
  Whole<P2C, Ring> const shadow;
  Balancer<Whole<P2C, Ring>> servers{std::vector<Endpoint>{}, shadow};
  CHECK_FALSE(servers.pick());
  auto report = shadow.report();
  CHECK(report.samples == 0);
  CHECK_FALSE(report.agreement);
  CHECK_FALSE(report.moved);
  CHECK(report.backends.empty());
  CHECK(message(report) == "ring beside p2c: 0 picks compared, one in 1\n");

  servers.add({.id = "a"});
  for (int i = 0; i < 5; ++i) servers.pick().finish();
  report = shadow.report();
  CHECK(report.samples == 5);
  CHECK(report.agreement->value == 1);
  CHECK(report.keyless == 5);
  CHECK(message(report).find("\n  5 of these picks had no key\n") != std::string::npos);

  servers.drain("a");
  CHECK_FALSE(servers.pick());
  servers.undrain("a");
  servers.report_health("a", HealthState::unhealthy);
  CHECK_FALSE(servers.pick());
  servers.clear();
  CHECK_FALSE(servers.pick());
  CHECK(shadow.report().samples == 5);  // hours without a pick change nothing either
  CHECK(shadow.report().backends[0].id == "a");
}

TEST_CASE("a shadow that looks at latencies learns them from the live requests") {
  tests::Clock clock;
  Whole<RoundRobin, LeastLatency> const shadow;
  Balancer<Whole<RoundRobin, LeastLatency>, void, Seeded> servers{
      pool(3), shadow, {.clock = clock, .seed = 1}};
  for (int i = 0; i < 3000; ++i) {
    auto lease = servers.pick();
    clock.advance(lease->id() == "b1" ? 1ms : 10ms);
    lease.finish();
  }
  auto const report = shadow.report();
  CHECK(report.backends[1].shadow->value > 0.8);
  CHECK(report.backends[1].live->value == Approx(1.0 / 3).margin(0.001));
}

TEST_CASE("a Failover of latencies as a shadow learns, too") {
  tests::Clock clock;
  using Tiers = Failover<LeastLatency>;
  Whole<RoundRobin, Tiers> const shadow;
  Balancer<Whole<RoundRobin, Tiers>, void, Seeded> servers{
      pool(3), shadow, {.clock = clock, .seed = 1}};
  for (int i = 0; i < 3000; ++i) {
    auto lease = servers.pick();
    clock.advance(lease->id() == "b2" ? 1ms : 10ms);
    lease.finish();
  }
  CHECK(shadow.report().backends[2].shadow->value > 0.8);
}

TEST_CASE("a live policy keeps its hooks: retries, timeouts, keys, and the child that picked") {
  Whole<Retry<Ring>, Retry<P2C>> const shadow{Retry<Ring>{{.timeout = 3s}},
                                              Retry<P2C>{{.timeout = 1s}}};
  Balancer<Whole<Retry<Ring>, Retry<P2C>>> servers{pool(3), shadow};
  CHECK(servers.timeouts().timeout == 3s);
  CHECK(servers.decide({.attempt = 1}, Result::refused).retry);
  CHECK(servers.stats().policy == "shadow(retry(ring), retry(p2c))");
  CHECK(hooks::traits(shadow).keyed);
  CHECK_FALSE(hooks::traits(Whole<P2C, Ring>{}).keyed);  // else keys would steer the live picks
  CHECK_FALSE(hooks::traits(Whole<P2C, Ring>{}).uses_time);
  CHECK(hooks::traits(Whole<P2C, LeastLatency>{}).uses_time);
}

TEST_CASE("set_policy hands over what the live policy learnt, not what the shadow did") {
  // A budget that is handed over is the same object: it knows the requests before.
  RetryBudget const live;
  RetryBudget const other;
  using P = Whole<Retry<P2C>, Retry<RoundRobin>>;
  P const first{Retry<P2C>{{.budget = live}}, Retry<RoundRobin>{{.budget = other}}};
  Handover handover;
  hooks::hand_over(first, handover);
  P next;
  hooks::take_over(next, handover);
  auto const count = [](RetryBudget const& budget) { budget.count_request(sync::Lane{1}); };
  auto const now = Time{1h};
  count(live);
  for (auto const& each : {live, other}) each.look(now + 1s);
  CHECK(next.inner().budget().recent(now + 1s).requests == live.recent(now + 1s).requests);
  CHECK_FALSE(handover.take<RetryBudget>());
}

TEST_CASE("a rehearsal is no sample, and explains the live policy") {
  Whole<RoundRobin, First> const shadow;
  Balancer<Whole<RoundRobin, First>, void, Seeded> servers{pool(3), shadow, {.seed = 1}};
  servers.pick().finish();
  CHECK(analysis::explain(servers).winner == "b1");
  CHECK(shadow.report().samples == 1);
  CHECK(servers.pick()->id() == "b1");
}

TEST_CASE("a shadow inside a wrapper is asked for the candidates that the wrapper leaves") {
  using Inner = Whole<RoundRobin, Ring>;
  using Even = Filter<Inner, InTier>;
  Inner const shadow;
  auto backends = pool(6);
  for (std::size_t i = 0; i < 6; i += 2) backends[i].tier = 3;
  Balancer<Even> servers{backends, Even{{3}, shadow}};
  for (int i = 0; i < 300; ++i) servers.pick({.route_key = key(i)}).finish();
  auto const report = shadow.report();
  CHECK(report.samples == 300);
  CHECK(report.backends.size() == 3);
  for (auto const& each : report.backends) CHECK(each.counts.shadow > 30);

  using Tiers = Failover<Inner>;  // has copies of its own, which share the record
  Inner const copied;
  for (std::size_t i = 0; i < 6; ++i) backends[i].tier = i < 3 ? 0 : 1;
  Balancer<Tiers> tiers{backends, Tiers{{}, copied}};
  tiers.report_health("b0", HealthState::unhealthy);
  tiers.report_health("b1", HealthState::unhealthy);
  for (int i = 0; i < 300; ++i) tiers.pick({.route_key = key(i)}).finish();
  CHECK(copied.report().samples == 300);
  CHECK(copied.report().nowhere.live == 0);
}

TEST_CASE("two shadows stand around each other") {
  using Inner = Whole<RoundRobin, First>;
  Inner const first;
  Whole<Inner, Ring> const second{first};
  Balancer<Whole<Inner, Ring>> servers{pool(3), second};
  for (int i = 0; i < 30; ++i) servers.pick({.route_key = key(i)}).finish();
  CHECK(first.report().samples == 30);
  CHECK(second.report().samples == 30);
  CHECK(first.report().backends[0].counts.shadow == 30);
}

TEST_CASE("backends that leave keep their counts, and of very many one sum is left") {
  Whole<RoundRobin, First> const shadow;
  Balancer<Whole<RoundRobin, First>> servers{pool(2), shadow};
  for (int i = 0; i < 10; ++i) servers.pick().finish();
  servers.remove("b0");
  for (int i = 0; i < 10; ++i) servers.pick().finish();
  auto report = shadow.report();
  REQUIRE(report.backends.size() == 2);
  CHECK(report.backends[0].id == "b0");
  CHECK(report.backends[0].counts.live == 5);
  CHECK(report.backends[1].counts.live == 15);

  servers.add({.id = "b0"});  // another backend, for the balancer too
  CHECK(shadow.report().backends.size() == 3);
  for (int i = 0; i < 1200; ++i) {
    servers.add({.id = "x" + std::to_string(i)});
    for (int pick = 0; pick < 3; ++pick) servers.pick().finish();
    servers.remove("x" + std::to_string(i));
  }
  servers.tick();
  report = shadow.report();
  CHECK(report.samples == 3620);
  CHECK(sum(report, &analysis::ShadowCounts::shadow) == 3620);
  CHECK(report.backends.size() <= 1024 + 8);
  CHECK(report.backends.back().id.empty());
  CHECK(report.backends.back().counts.live >= 100);
  CHECK(message(report).find("removed backends: live ") != std::string::npos);
}

TEST_CASE("a shadow is set under traffic, and its record outlives it") {
  std::optional<analysis::ShadowRecord> record;
  {
    Balancer<AnyPolicy> servers{pool(3), AnyPolicy{P2C{}}};
    for (int i = 0; i < 10; ++i) servers.pick().finish();
    Whole<P2C, LeastConnections> const shadow;
    record = shadow.shadow_record();
    servers.set_policy(AnyPolicy{shadow});
    for (int i = 0; i < 10; ++i) servers.pick().finish();
    servers.set_policy(AnyPolicy{P2C{}});
    for (int i = 0; i < 10; ++i) servers.pick().finish();
    CHECK(record->report().samples == 10);
  }
  auto const report = record->report();
  CHECK(report.samples == 10);
  CHECK(report.backends.size() == 3);
}

TEST_CASE("retries and excluded backends are compared among what is left") {
  Whole<First, First> const shadow;
  Balancer<Whole<First, First>> servers{pool(3), shadow};
  auto const first = servers.pick();
  std::uint64_t const excluded[]{first->serial()};
  auto const second = servers.pick({.attempt = 2, .excluded = excluded});
  CHECK(second->id() != "b0");
  auto const report = shadow.report();
  CHECK(report.samples == 2);
  CHECK(report.backends[0].counts.live == 1);
  CHECK(report.nowhere.live == 1);  // First names only the first one
  CHECK(report.agreement->value == 1);

  // A policy that looks for usable ones finds one.
  Whole<RoundRobin, RoundRobin> const other;
  Balancer<Whole<RoundRobin, RoundRobin>> more{pool(2), other};
  auto const begun = more.pick();
  std::uint64_t const tried[]{begun->serial()};
  for (int i = 0; i < 20; ++i) more.pick({.attempt = 2, .excluded = tried}).finish();
  CHECK(other.report().nowhere.live + other.report().nowhere.shadow == 0);
  CHECK(other.report().agreement->value > 0.9);  // the first pick may differ
}

TEST_CASE("ten thousand backends, of which the report names those that differ most") {
  Whole<RoundRobin, LeastConnections> const shadow;
  Balancer<Whole<RoundRobin, LeastConnections>> servers{pool(10'000), shadow};
  for (int i = 0; i < 200; ++i) servers.pick().finish();
  auto const report = shadow.report();
  CHECK(report.samples == 200);
  CHECK(report.backends.size() == 10'000);
  CHECK(*report.moved > 0.9);
  CHECK(report.moved_by_chance > 0.7);  // so few samples say nothing about so many backends
  auto const text = message(report);
  CHECK(text.find("and 9980 more, which differ less\n") != std::string::npos);
  CHECK(std::ranges::count(text, '\n') == 24);
}

TEST_CASE("a shadow beside a monitor and its ejections") {
  tests::Clock clock;
  using Monitored = Runtime<tests::Clock, health::Standard>;
  Whole<RoundRobin, Ring> const shadow;
  Balancer<Whole<RoundRobin, Ring>, void, Monitored> servers{
      pool(4), shadow, {.clock = clock, .seed = 1, .observers = {}}};
  for (int i = 0; i < 2000; ++i) {
    clock.advance(10ms);
    auto lease = servers.pick({.route_key = key(i)});
    REQUIRE(lease);
    lease.finish(lease->id() == "b1" ? Outcome{Result::error} : Outcome{});
    if (i % 100 == 0) servers.tick();
  }
  auto const report = shadow.report();
  CHECK(report.samples > 1900);  // a trial is the monitor's choice, not the policy's
  CHECK(sum(report, &analysis::ShadowCounts::live) == sum(report, &analysis::ShadowCounts::shadow));
  CHECK(report.backends[1].live->value < 0.1);
  CHECK(report.backends[1].shadow->value < 0.1);
}

TEST_CASE("a report is told in lines and in JSON") {
  ShadowReport report{.live = "p2c", .shadow = "ring", .sampling = 10};
  report.backends = {{.id = "a\n", .counts = {60, 20, 15}}, {.id = "b", .counts = {39, 78, 30}}};
  report.nowhere = {1, 2, 1};
  analysis::detail::conclude(report);
  report.keyed = true;
  report.keyless = 7;
  report.mean_cost = 84ns;
  report.max_cost = 2us;
  CHECK(message(report) ==
        "ring beside p2c: 100 picks compared, one in 1024\n"
        "  the same backend in 46.0 % +- 9.9 %; the shares would move by 40.0 % (by chance 6.3 %)\n"
        "  a\\x0a: live 60.0 % +- 9.7 %, shadow 20.0 % +- 8.0 %\n"
        "  b: live 39.0 % +- 9.7 %, shadow 78.0 % +- 8.3 %\n"
        "  no backend: live 1 times, shadow 2 times\n"
        "  7 of these picks had no key\n"
        "  cost of a compared pick: 84 ns, at most 2000 ns\n");
  auto const text = json(report);
  CHECK(text.starts_with(R"({"live":"p2c","shadow":"ring","one_in":1024,"samples":100,)"
                         R"("agreement":0.46,"agreement_error":0.04)"));
  CHECK(
      text.find(R"("live_picks":60,"shadow_picks":20,"both_picks":15,"live":0.6,"live_error":)") !=
      std::string::npos);
  CHECK(json(ShadowReport{}).find(R"("agreement":null,"agreement_error":null,"moved":null)") !=
        std::string::npos);
}

TEST_CASE("counts that are read in the middle of a sample show no more of both than of each") {
  analysis::detail::SharedShadowCounts counts;
  counts.add({.live = 5, .shadow = 3, .both = 4});
  CHECK(counts.load().both == 3);
  counts.add({.live = 0, .shadow = 9, .both = 4});
  CHECK(counts.load().both == 5);
}

TEST_CASE("/shadow shows what was recorded until now") {
  Whole<RoundRobin, First> const shadow;
  Balancer<Whole<RoundRobin, First>> servers{pool(2), shadow};
  observe::Handler handler;
  analysis::add_shadow(handler, shadow.shadow_record(), "/orders");
  auto const get = [&](std::string_view target) {
    return handler({.method = "GET", .target = target, .host = "localhost"});
  };
  CHECK(get("/orders/shadow").body == "custom beside round_robin: 0 picks compared, one in 1\n");
  servers.pick().finish();
  auto const page = get("/orders/shadow");
  CHECK(page.status == 200);
  CHECK(page.type == "text/plain; charset=utf-8");
  CHECK(page.body.starts_with("custom beside round_robin: 1 picks compared, one in 1\n"));
  CHECK(get("/orders/shadow?format=json").type == "application/json");
  CHECK(get("/orders/shadow?id=1").status == 400);
}

}  // namespace unit_analysis_shadow
