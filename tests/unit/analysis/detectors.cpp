// SPDX-License-Identifier: MIT
// What alerts learn from detectors, over snapshots such as a meter makes.
#include <poise/analysis/detectors.hpp>

#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include <poise/analysis/alert_watch.hpp>
#include <poise/analysis/intervals.hpp>
#include <poise/balancer.hpp>
#include <poise/observe/meter.hpp>
#include <poise/observe/reader.hpp>
#include <poise/observe/snapshot.hpp>
#include <poise/policy/round_robin.hpp>

#include "support/catch.hpp"
#include "support/sanitized.hpp"
#include "support/series.hpp"

namespace unit_analysis_detectors {

using namespace poise;
using namespace std::chrono_literals;

namespace {

/// A pool's totals, second by second.
class Totals {
 public:
  explicit Totals(std::string policy = "round_robin") { now.facts.policy = std::move(policy); }

  void add(analysis::PoolSample const& sample) {
    now.at = sample.now;
    now.backends.resize(sample.backends.size());
    for (std::size_t i = 0; i < now.backends.size(); ++i) {
      auto& each = now.backends[i];
      auto const& latest = sample.backends[i];
      each.id = latest.id;
      each.requests.completed[0] += latest.requests - latest.failures;
      each.requests.completed[static_cast<std::size_t>(Result::error)] += latest.failures;
      each.latency.count += latest.requests;
      each.latency.sum_s += static_cast<double>(latest.requests) * latest.latency;
      each.intended_share = 1 / static_cast<double>(now.backends.size());
      now.requests.completed[0] += latest.requests;
    }
    now.set.healthy = now.backends.size();
  }

  observe::Snapshot now{};
};

/// Of a backend, that many successes of 10 ms each second.
analysis::BackendSample steady(std::string_view id, std::uint64_t requests,
                               std::uint64_t failures = 0) {
  return {.id = id, .requests = requests, .failures = failures, .latency = 0.010};
}

std::vector<std::string> listed(analysis::AlertWatch const& watch, std::string_view rule) {
  for (auto const& alert : watch.alerts())
    for (auto const& each : alert.rules)
      if (each.rule == rule) return each.backends;
  return {};
}

using Ids = std::vector<std::string>;

/// After that many seconds of the same sample.
Ids listed_after(int seconds, std::vector<analysis::BackendSample> const& sample,
                 std::string_view rule, std::string policy = "round_robin") {
  Totals totals{std::move(policy)};
  analysis::AlertWatch watch;
  for (int second = 0; second < seconds; ++second) {
    totals.add({Time{} + std::chrono::seconds{second}, sample});
    watch.update(totals.now);
  }
  return listed(watch, rule);
}

}  // namespace

TEST_CASE("a backend that becomes slower is told by an alert in seconds, and cleared", "[alerts]") {
  test::LatencySeries series{5, 11};
  Totals totals;
  analysis::AlertWatch watch;
  auto const seconds = [&](int count) {
    for (int second = 0; second < count && listed(watch, "changed").empty(); ++second) {
      totals.add(series.next());
      watch.update(totals.now);
    }
  };
  seconds(1'200);
  CHECK(watch.alerts().empty());
  series.factor[3] = 2;
  seconds(30);
  CHECK(listed(watch, "changed") == Ids{"backend-3"});
  series.factor[3] = 1;
  for (int second = 0; second < 150; ++second) {
    totals.add(series.next());
    watch.update(totals.now);
  }
  CHECK(watch.alerts().empty());
}

TEST_CASE("noise, waves and spikes of hours are no alert", "[alerts]") {
  constexpr int seconds = tests::sanitized ? 1'000 : 10'000;
  for (std::size_t const size : {1U, 2U, 3U, 10U, 40U}) {
    CAPTURE(size);
    test::LatencySeries series{size, 5 + size};
    test::Normal random{size};
    Totals totals{"random"};
    analysis::AlertWatch watch;
    std::size_t alerts = 0;
    for (int second = 0; second < seconds; ++second) {
      auto const sample = series.next();
      std::vector<analysis::BackendSample> some(sample.backends.begin(), sample.backends.end());
      for (auto& each : some) {  // as random picks give requests, of which one in 100 fails
        each.requests = 0;
        for (int request = 0; request < 10; ++request) each.requests += random.uniform() < 0.3;
        each.failures = each.requests != 0 && random.uniform() < 0.03 ? 1 : 0;
      }
      totals.add({sample.now, some});
      watch.update(totals.now);
      for (auto const& alert : watch.alerts())
        for (auto const& each : alert.rules)
          alerts += each.rule == "changed" || each.rule == "unfair" ? 1U : 0U;
    }
    CHECK(alerts == 0);
  }
}

TEST_CASE("a backend that fails more than its peers, but is not ejected, is told", "[alerts]") {
  CHECK(listed_after(60, {steady("a", 100, 1), steady("b", 100, 8), steady("c", 100, 1)},
                     "changed") == Ids{"b"});
  CHECK(listed_after(60, {steady("a", 100, 8), steady("b", 100, 8), steady("c", 100, 8)}, "changed")
            .empty());
}

TEST_CASE("an unfair share is told, where the policy intends shares", "[alerts]") {
  std::vector const uneven{steady("a", 140), steady("b", 100), steady("c", 100)};
  CHECK(listed_after(120, uneven, "unfair") == Ids{"a", "b", "c"});
  CHECK(listed_after(120, uneven, "unfair", "retry(smooth_weighted)") == Ids{"a", "b", "c"});
  for (auto const* policy : {"p2c", "ring", "adaptive", "priority(random, p2c, random)",
                             "subset(round_robin)", "round_robin_of_mine", ""}) {
    CAPTURE(policy);
    auto const ids = listed_after(120, uneven, "unfair", policy);
    CHECK(ids.empty() == (policy[0] != '\0'));
  }
}

TEST_CASE("p99 that rises towards its objective is a breach ahead of all backends", "[alerts]") {
  observe::Snapshot now{.balancer = "orders"};
  now.set.healthy = 3;
  analysis::AlertWatch watch{analysis::Objectives{.latency = 200ms}};
  for (int second = 0; second < 2'400 && listed(watch, "breach ahead").empty(); ++second) {
    auto const rise = std::max(0, second - 1'200);  // 50 ms, and 5 more a minute
    now.at = Time{} + std::chrono::seconds{second};
    now.last_60s.p99 = 50ms + std::chrono::microseconds{5'000 * rise / 60 + second % 7 * 100};
    watch.update(now);
  }
  CHECK(listed(watch, "breach ahead") == Ids{"all backends"});
  CHECK(*now.last_60s.p99 < 150ms);
}

TEST_CASE("intervals are differences, and begin anew with the backend", "[alerts]") {
  Totals totals;
  analysis::Intervals intervals;
  auto const second = [](int count) { return Time{} + std::chrono::seconds{count}; };
  totals.add({second(1), std::vector{steady("a", 100, 3), steady("b", 50)}});
  for (auto const& each : intervals.next(totals.now).backends) CHECK(each.requests == 0);
  totals.add({second(2), std::vector{steady("a", 7, 2), steady("b", 0)}});
  totals.now.backends[0].requests.in_flight = 4;
  totals.now.backends[0].requests.completed[static_cast<std::size_t>(Result::rejected)] = 5;
  auto sample = intervals.next(totals.now);
  REQUIRE(sample.backends.size() == 2);
  CHECK(sample.now == second(2));
  CHECK(sample.backends[0].id == "a");
  CHECK(sample.backends[0].requests == 7);
  CHECK(sample.backends[0].failures == 2);
  CHECK(sample.backends[0].rejected == 5);
  CHECK(sample.backends[0].picks == 16);
  CHECK(sample.backends[0].latency == Approx(0.010));
  CHECK(sample.backends[0].intended_share == 0.5);
  CHECK(sample.backends[1].picks == 0);
  CHECK(std::isnan(sample.backends[1].latency));

  SECTION("requests that end are no picks") {
    totals.now.backends[0].requests.in_flight = 1;
    totals.now.backends[0].requests.completed[0] += 3;
    CHECK(intervals.next(totals.now).backends[0].picks == 0);
  }
  SECTION("a backend that is counted anew") {
    totals.now.backends[0] = {.id = "a"};
    totals.now.backends[0].requests.completed[0] = 9;
    sample = intervals.next(totals.now);
    CHECK(sample.backends[0].requests == 0);
    CHECK(sample.backends[0].intended_share == 0);
  }
  SECTION("a backend that was not there, in another order") {
    totals.now.backends.insert(totals.now.backends.begin(), {.id = "new"});
    totals.now.backends[1].requests.completed[0] += 2;
    sample = intervals.next(totals.now);
    CHECK(sample.backends[0].requests == 0);
    CHECK(sample.backends[1].requests == 2);
  }
  SECTION("retries are picks that no weight intends") {
    totals.now.requests.completed[0] += 200;
    totals.now.retries += 2;
    CHECK(intervals.next(totals.now).backends[0].intended_share == 0.5);
    totals.now.requests.completed[0] += 200;
    totals.now.retries += 3;
    CHECK(intervals.next(totals.now).backends[0].intended_share == 0);
  }
}

TEST_CASE("what a meter counts of a slow backend becomes an alert", "[alerts]") {
  VirtualClock clock;
  Balancer<RoundRobin, void, Runtime<VirtualClock, observe::Meter<>>> servers{
      endpoints({"a", "b", "c", "d"}), {}, {.clock = clock, .seed = 1}};
  observe::Reader const reader{"orders", servers};
  analysis::AlertWatch watch;
  auto const second = [&](std::string_view slow) {
    for (int i = 0; i < 40; ++i) {
      auto lease = servers.pick();
      lease.finish(Result::success, lease->id() == slow ? 30ms : 10ms + i % 5 * 1ms);
    }
    clock.advance(1s);
    servers.tick();
    watch.update(reader.read());
  };
  for (int i = 0; i < 600; ++i) second("");
  CHECK(watch.alerts().empty());
  for (int i = 0; i < 40; ++i) second("c");
  CHECK(listed(watch, "changed") == Ids{"c"});
}

}  // namespace unit_analysis_detectors
