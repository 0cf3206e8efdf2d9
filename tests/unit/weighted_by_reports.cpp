// SPDX-License-Identifier: MIT
#include <poise/weighted_by_reports.hpp>

#include <chrono>
#include <cmath>
#include <cstddef>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/balancer.hpp>
#include <poise/compose/any_policy.hpp>
#include <poise/compose/retry.hpp>
#include <poise/health/monitor.hpp>
#include <poise/load_report.hpp>
#include <poise/observe/meter.hpp>
#include <poise/observe/reader.hpp>
#include <poise/policy/random.hpp>
#include <poise/policy/smooth_weighted.hpp>

#include "support/catch.hpp"

namespace unit_weighted_by_reports {

using namespace poise;
using namespace std::chrono_literals;
using Catch::Matchers::Contains;
using Options = WeightedByReportsOptions;

namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

std::vector<std::string> ids(std::size_t count) {
  std::vector<std::string> result;
  for (std::size_t i = 0; i < count; ++i)
    result.push_back(std::string(1, static_cast<char>('a' + i)));
  return result;
}

template <class Policy = SmoothWeighted, class... More>
struct Pool {
  using R = Runtime<VirtualClock, More..., WeightedByReports>;

  explicit Pool(std::size_t size, Options const& options = {}, Policy policy = {})
      : servers{endpoints(ids(size)), std::move(policy), runtime(clock, options)} {
    clock.advance(1h);
    servers.tick();
  }
  static R runtime(VirtualClock& clock, Options const& options) {
    return {.clock = clock, .seed = 1, .observers = {More{}..., options}};
  }

  void report(std::string_view id, double rps, double utilization, double eps = 0) {
    REQUIRE(
        servers.report_load(id, {.application_utilization = utilization, .rps = rps, .eps = eps}));
  }
  /// The same reports each second.
  void seconds(int count, std::map<std::string, std::pair<double, double>> const& reports) {
    for (int i = 0; i < count; ++i) {
      for (auto const& [id, load] : reports) report(id, load.first, load.second);
      clock.advance(1s);
      servers.tick();
    }
  }
  /// How many of this many picks each backend gets.
  std::map<std::string, int> picks(int count) {
    std::map<std::string, int> result;
    for (int i = 0; i < count; ++i) ++result[servers.pick()->id()];
    return result;
  }

  VirtualClock clock{};
  Balancer<Policy, void, R> servers;
};

using Counts = std::map<std::string, int>;

}  // namespace

TEST_CASE("picks follow requests a second for each part of the capacity", "[reports]") {
  Pool<> pool{3};
  pool.seconds(30, {{"a", {100, 0.5}}, {"b", {100, 0.25}}, {"c", {50, 0.25}}});
  auto const picks = pool.picks(4'000);
  CHECK(picks.at("a") == Approx(1'000).margin(20));
  CHECK(picks.at("b") == Approx(2'000).margin(20));
  CHECK(picks.at("c") == Approx(1'000).margin(20));
}

TEST_CASE("failing requests cost capacity", "[reports]") {
  for (auto const& [penalty, share] : {std::pair{1.0, 1.0 / 3}, std::pair{0.0, 0.5}}) {
    Pool<> pool{2, {.error_penalty = penalty}};
    for (int i = 0; i < 30; ++i) {
      pool.report("a", 100, 0.5);
      pool.report("b", 100, 0.5, 50);  // weight 200, or 100 / (0.5 + 0.5) = 100
      pool.clock.advance(1s);
      pool.servers.tick();
    }
    CHECK(pool.picks(3'000).at("b") == Approx(3'000 * share).margin(20));
  }
}

TEST_CASE("reports count after the blackout, until they expire", "[reports]") {
  Pool<> pool{3, {.blackout = 10s, .expiration = 60s}};
  std::map<std::string, std::pair<double, double>> const uneven{{"a", {100, 0.8}},
                                                                {"b", {100, 0.2}}};
  pool.seconds(10, uneven);
  CHECK(pool.picks(300) == Counts{{"a", 100}, {"b", 100}, {"c", 100}});
  pool.seconds(2, uneven);
  auto const picks = pool.picks(15'000);  // 125 and 500; "c" has the mean
  CHECK(picks.at("a") == Approx(2'000).margin(50));
  CHECK(picks.at("b") == Approx(8'000).margin(50));
  CHECK(picks.at("c") == Approx(5'000).margin(50));
  CHECK(pool.servers.stats().warnings.empty());

  pool.seconds(58, {});
  CHECK(pool.picks(15'000).at("b") == Approx(8'000).margin(50));
  pool.seconds(3, {});
  CHECK(pool.picks(300) == Counts{{"a", 100}, {"b", 100}, {"c", 100}});
  REQUIRE(pool.servers.stats().warnings.size() == 2);
  CHECK(pool.servers.stats().warnings[0] ==
        R"(backend "a" sends no load reports any more: its weight is the mean of the others)");
  pool.seconds(12, uneven);
  CHECK(pool.picks(15'000).at("b") == Approx(8'000).margin(50));
  CHECK(pool.servers.stats().warnings.empty());
}

TEST_CASE("with one backend that reports the configured weights hold", "[reports]") {
  Pool<> pool{3};
  pool.servers.set_weight("c", 2);
  pool.seconds(30, {{"a", {1'000, 0.1}}});
  CHECK(pool.picks(400) == Counts{{"a", 100}, {"b", 100}, {"c", 200}});
  Pool<> alone{1};
  alone.seconds(30, {{"a", {1'000, 0.1}}});
  CHECK(alone.picks(10) == Counts{{"a", 10}});
}

TEST_CASE("weights of reports replace those of endpoints, except 0", "[reports]") {
  Pool<> pool{3};
  pool.servers.update({{.id = "a", .address = "a", .weight = 100},
                       {.id = "b", .address = "b"},
                       {.id = "c", .address = "c", .weight = 0}});
  pool.seconds(30, {{"a", {100, 0.5}}, {"b", {100, 0.5}}, {"c", {100, 0.5}}});
  CHECK(pool.picks(200) == Counts{{"a", 100}, {"b", 100}});
}

TEST_CASE("a weight that the operator sets is a factor on what reports say", "[reports]") {
  Pool<> pool{3};
  pool.seconds(30, {{"a", {100, 0.5}}, {"b", {100, 0.5}}, {"c", {100, 0.25}}});
  pool.servers.set_weight("b", 2);
  CHECK(pool.picks(500) == Counts{{"a", 100}, {"b", 200}, {"c", 200}});
  pool.servers.set_weight("b", 2'000'000'000);  // is bounded
  CHECK(pool.picks(100).at("b") >= 99);
  pool.servers.set_weight("b", std::nullopt);
  CHECK(pool.picks(400) == Counts{{"a", 100}, {"b", 100}, {"c", 200}});
}

TEST_CASE("a backend that says it is idle does not get everything", "[reports]") {
  Pool<> pool{5, {.max_ratio = 4}};
  pool.seconds(40, {{"a", {100, 0.5}},
                    {"b", {100, 0.5}},
                    {"c", {100, 0.5}},
                    {"d", {100, 0.5}},
                    {"e", {1e6, 1e-6}}});
  CHECK(pool.picks(8'000).at("e") == Approx(4'000).margin(50));
  pool.seconds(40, {{"a", {100, 0.5}},
                    {"b", {100, 0.5}},
                    {"c", {100, 0.5}},
                    {"d", {100, 0.5}},
                    {"e", {1e-6, 1e6}}});
  CHECK(pool.picks(17'000).at("e") == Approx(1'000).margin(50));
}

TEST_CASE("a weight changes by steps", "[reports]") {
  Pool<> pool{3, {.max_step = 2}};
  pool.seconds(30, {{"a", {100, 0.5}}, {"b", {100, 0.5}}, {"c", {100, 0.5}}});
  for (double const ratio : {2.0, 4.0, 8.0, 8.0}) {
    pool.seconds(1, {{"a", {100, 0.5}}, {"b", {100, 0.5}}, {"c", {800, 0.5}}});
    CHECK(pool.picks(10'000).at("c") == Approx(10'000 * ratio / (2 + ratio)).margin(100));
  }
}

TEST_CASE("small changes make no new tables", "[reports]") {
  Pool<> pool{2};
  pool.seconds(30, {{"a", {100, 0.50}}, {"b", {100, 0.25}}});
  auto const before = pool.picks(3'000);
  pool.seconds(5, {{"a", {100, 0.50}}, {"b", {101, 0.25}}});
  CHECK(pool.picks(3'000) == before);
}

TEST_CASE("a report that makes no sense is ignored as a whole, and told", "[reports]") {
  for (auto const& bad :
       {LoadReport{.application_utilization = nan, .rps = 900}, LoadReport{.rps = -1},
        LoadReport{.cpu_utilization = 0.5, .memory_utilization = -1, .rps = 900},
        LoadReport{.cpu_utilization = 1e-300, .rps = 1e300},
        LoadReport{.cpu_utilization = 0.5, .rps = std::numeric_limits<double>::infinity()}}) {
    Pool<> pool{2};
    for (int i = 0; i < 20; ++i) {
      pool.report("a", 100, 0.5);
      pool.report("b", 100, 0.5);
      CHECK(pool.servers.report_load("b", bad));
      pool.clock.advance(1s);
      pool.servers.tick();
    }
    CHECK(pool.picks(200) == Counts{{"a", 100}, {"b", 100}});
    REQUIRE(pool.servers.stats().warnings.size() == 1);
    CHECK_THAT(pool.servers.stats().warnings[0],
               Contains(R"(backend "b" sends load reports that make no sense)"));
    pool.report("b", 100, 0.5);
    CHECK(pool.servers.stats().warnings.empty());
  }
}

TEST_CASE("a report without load says nothing", "[reports]") {
  Pool<> pool{2};
  pool.seconds(30, {{"a", {100, 0.5}}, {"b", {100, 0.25}}});
  for (int i = 0; i < 5; ++i) {
    CHECK(pool.servers.report_load("b", {}));
    pool.report("b", 0, 0.5);
    pool.report("b", 100, 0);
    pool.seconds(1, {{"a", {100, 0.5}}});
  }
  CHECK(pool.picks(3'000).at("b") == Approx(2'000).margin(20));
  CHECK(pool.servers.stats().warnings.empty());
}

TEST_CASE("the application's utilization counts before the processor's", "[reports]") {
  CHECK(LoadReport{.application_utilization = 0.3, .cpu_utilization = 0.9}.utilization() == 0.3);
  CHECK(LoadReport{.cpu_utilization = 0.9}.utilization() == 0.9);
}

TEST_CASE("a lease carries the report of its answer", "[reports]") {
  Pool<Retry<SmoothWeighted>> pool{2};
  for (int i = 0; i < 300; ++i) {
    auto lease = pool.servers.pick();
    lease.report_load({.cpu_utilization = lease->id() == "a" ? 0.2 : 0.6, .rps = 60});
    lease.finish();
    lease.report_load({.rps = nan});  // of no backend
    pool.clock.advance(100ms);
    if (i % 10 == 9) pool.servers.tick();
  }
  CHECK(pool.picks(4'000).at("a") == Approx(3'000).margin(30));
}

TEST_CASE("a backend that is replaced begins anew", "[reports]") {
  Pool<> pool{3};
  pool.seconds(30, {{"a", {100, 0.5}}, {"b", {100, 0.5}}, {"c", {400, 0.5}}});
  CHECK(pool.picks(6'000).at("c") == Approx(4'000).margin(50));
  pool.servers.update({{.id = "a", .address = "a"},
                       {.id = "b", .address = "b"},
                       {.id = "c", .address = "elsewhere"}});
  pool.seconds(1, {{"a", {100, 0.5}}, {"b", {100, 0.5}}, {"c", {400, 0.5}}});
  CHECK(pool.picks(6'000).at("c") == Approx(2'000).margin(50));
}

TEST_CASE("reports beside a monitor, and any policy that looks at weights", "[reports]") {
  Pool<AnyPolicy, health::Standard> pool{3, {}, AnyPolicy{WeightedRandom{}}};
  std::map<std::string, std::pair<double, double>> const reports{
      {"a", {100, 0.5}}, {"b", {100, 0.5}}, {"c", {200, 0.5}}};
  pool.seconds(30, reports);
  CHECK(pool.picks(8'000).at("c") == Approx(4'000).margin(300));
  for (int i = 0; i < 5; ++i) pool.servers.record("c", Result::error);
  pool.seconds(2, reports);
  CHECK(pool.picks(1'000).count("c") == 0);
  pool.servers.set_policy(AnyPolicy{SmoothWeighted{}});
  pool.seconds(100, reports);
  CHECK(pool.picks(8'000).at("c") == Approx(4'000).margin(50));
}

TEST_CASE("a meter behind it tells the weights in force, and what they intend", "[reports]") {
  VirtualClock clock;
  Balancer<SmoothWeighted, void, Runtime<VirtualClock, WeightedByReports, observe::Meter<>>>
      servers{endpoints({"a", "b"}), {}, {.clock = clock, .seed = 1}};
  observe::Reader const reader{"orders", servers};
  for (int second = 0; second < 15; ++second) {
    servers.report_load("a", {.cpu_utilization = 0.2, .rps = 60});
    servers.report_load("b", {.cpu_utilization = 0.6, .rps = 60});
    clock.advance(1s);
    servers.tick();
  }
  auto const snapshot = reader.read();
  CHECK(snapshot.backends[0].weight == 3 * snapshot.backends[1].weight);
  CHECK(snapshot.backends[0].intended_share == Approx(0.75));
  CHECK(servers.stats().backends[0].weight == 1);  // the configured one
}

TEST_CASE("reports of 10,000 backends, most of them silent", "[reports]") {
  std::vector<std::string> names;
  for (int i = 0; i < 10'000; ++i) names.push_back("backend-" + std::to_string(i));
  VirtualClock clock;
  Balancer<SmoothWeighted, void, Runtime<VirtualClock, WeightedByReports>> servers{
      endpoints(names), {}, {.clock = clock, .seed = 1}};
  for (int second = 0; second < 15; ++second) {
    for (std::size_t i = 0; i < 100; ++i)
      servers.report_load(names[i], {.cpu_utilization = i < 50 ? 0.2 : 0.4, .rps = 100});
    clock.advance(1s);
    servers.tick();
  }
  int quick = 0;
  int silent = 0;
  for (int i = 0; i < 40'000; ++i) {
    auto const id = servers.pick()->id();
    auto const number = std::stoi(id.substr(8));
    quick += number < 50 ? 1 : 0;
    silent += number >= 100 ? 1 : 0;
  }
  CHECK(silent == Approx(39'600).margin(200));
  CHECK(quick == Approx(40'000.0 * 50 * 4 / 3 / 10'000).margin(60));
}

TEST_CASE("there is no report of a backend that is not there", "[reports]") {
  Pool<> pool{1};
  CHECK_FALSE(pool.servers.report_load("z", {}));
  auto closed = std::move(pool.servers);
  CHECK_FALSE(pool.servers.report_load("a", {}));  // NOLINT(*-use-after-move)
}

TEST_CASE("options of weights by reports that make no sense are refused by name", "[reports]") {
  CHECK_THROWS_WITH(WeightedByReports({.max_ratio = 0.5}),
                    "max_ratio of WeightedByReports is 0.5: use 1 or more");
  CHECK_THROWS_AS(WeightedByReports({.max_step = nan}), ConfigError);
  CHECK_THROWS_AS(WeightedByReports({.expiration = 0s}), ConfigError);
  CHECK_THROWS_AS(WeightedByReports({.error_penalty = -1}), ConfigError);
  CHECK_THROWS_AS(WeightedByReports({.blackout = -1s}), ConfigError);
  CHECK_THROWS_AS(WeightedByReports({.min_change = 2}), ConfigError);
  CHECK_THROWS_AS(WeightedByReports({.update_period = 0s}), ConfigError);
}

}  // namespace unit_weighted_by_reports
