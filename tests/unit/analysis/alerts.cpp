// SPDX-License-Identifier: MIT

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <support/catch.hpp>
#include <support/sanitized.hpp>

#include <poise/analysis/alerts.hpp>
#include <poise/analysis/default_rules.hpp>
#include <poise/error.hpp>

namespace unit_analysis_alerts {

using namespace poise;
using namespace std::chrono_literals;
using analysis::Alert;
using analysis::Alerts;
using analysis::PoolState;
using analysis::Reading;
using analysis::Rule;
using analysis::Severity;

namespace {

Rule latency_rule() {
  return {.name = "slow",
          .group = {},
          .severity = Severity::ticket,
          .measure = [](PoolState const& pool) -> std::optional<Reading> {
            if (!pool.latency) return {};
            return Reading{*pool.latency};
          },
          .fire = 2,
          .clear = 1,
          .fire_after = 3s,
          .clear_after = 5s};
}

/// Alerts with a log of what was announced.
struct Watch {
  std::vector<std::string> log;
  PoolState state;
  Alerts alerts;

  explicit Watch(std::vector<Rule> rules)
      : alerts{std::move(rules),
               {[this](Alert const& alert) { note("fire ", alert); },
                [this](Alert const& alert) { note("clear ", alert); }}} {}
  Watch(Watch const&) = delete;
  Watch& operator=(Watch const&) = delete;

  void run(Duration time) {
    for (auto const end = state.now + time; state.now < end;) {
      state.now += 1s;
      alerts.update(state);
    }
  }
  void run(Duration time, double latency) {
    state.latency = latency;
    run(time);
  }

 private:
  void note(std::string_view what, Alert const& alert) {
    log.push_back(std::string{what}.append(alert.group));
  }
};

/// A pool without any trouble.
PoolState calm() {
  PoolState state;
  state.requests = 100;
  state.backends = state.healthy = 10;
  state.latency = 0.01;
  state.retry_budget = 1;
  state.tick_age = 1s;
  state.list_age = 10s;
  return state;
}

using Log = std::vector<std::string>;

}  // namespace

TEST_CASE("an alert fires after its duration and says its numbers") {
  Watch watch{{latency_rule()}};
  watch.run(3s, 2.5);
  CHECK(watch.log.empty());
  watch.run(1s, 3);
  REQUIRE(watch.log == Log{"fire slow"});
  auto const& alert = watch.alerts.alerts()[0];
  CHECK(alert.rules[0].value == 3);
  CHECK(alert.rules[0].limit == 2);
  CHECK(alert.since == Time{4s});
}

TEST_CASE("a value that swings about the limit is one alert, and short peaks are none") {
  Watch peaks{{latency_rule()}};
  for (int i = 0; i < 50; ++i) {
    peaks.run(2s, 9);
    peaks.run(1s, 1.5);
  }
  CHECK(peaks.log.empty());
  Watch swings{{latency_rule()}};
  swings.run(10s, 9);
  for (int i = 0; i < 50; ++i) {
    swings.run(3s, 0.5);
    swings.run(3s, 2.5);
  }
  CHECK(swings.log == Log{"fire slow"});
  swings.run(6s, 0.5);
  CHECK(swings.log == Log{"fire slow", "clear slow"});
}

TEST_CASE("a rule for values that are bad when they are low fires below its limit") {
  auto rule = latency_rule();
  std::swap(rule.fire, rule.clear);
  Watch watch{{rule}};
  watch.run(10s, 5);
  CHECK(watch.log.empty());
  watch.run(4s, 0.5);
  CHECK(watch.log == Log{"fire slow"});
  watch.run(6s, 2);
  CHECK(watch.log == Log{"fire slow", "clear slow"});
}

TEST_CASE("an unknown value neither fires nor keeps an alert alive") {
  Watch watch{{latency_rule()}};
  watch.run(10s, 9);
  watch.state.latency.reset();
  watch.run(6s);
  CHECK(watch.log == Log{"fire slow", "clear slow"});
  watch.run(60s, std::numeric_limits<double>::quiet_NaN());
  CHECK(watch.log.size() == 2);
}

TEST_CASE("rules of one group are one alert, announced again if it becomes a page") {
  auto first = latency_rule();
  auto second = latency_rule();
  auto third = latency_rule();
  first.group = second.group = third.group = "errors";
  second.name = "slower";
  second.fire = 4;
  third.name = "slowest";
  third.fire = 6;
  third.severity = Severity::page;
  Watch watch{{first, second, third}};
  watch.run(10s, 3);
  watch.run(10s, 5);
  CHECK(watch.log == Log{"fire errors"});
  CHECK(watch.alerts.alerts()[0].rules.size() == 2);
  watch.run(10s, 7);
  CHECK(watch.log == Log{"fire errors", "fire errors"});
  CHECK(watch.alerts.alerts()[0].severity == Severity::page);
  watch.run(10s, 0);
  CHECK(watch.log.back() == "clear errors");
  CHECK(watch.log.size() == 3);
  CHECK(watch.alerts.alerts().empty());
}

TEST_CASE("a rule that throws is reported and leaves the others alone") {
  auto broken = latency_rule();
  broken.name = "broken";
  broken.measure = [](PoolState const&) -> std::optional<Reading> {
    throw std::runtime_error{"no such series"};
  };
  auto odd = latency_rule();
  odd.name = "odd";
  odd.measure = [](PoolState const&) -> std::optional<Reading> { throw 7; };
  Watch watch{{broken, odd, latency_rule()}};
  watch.run(10s, 9);
  CHECK(watch.log == Log{"fire slow"});
  REQUIRE(watch.alerts.errors().size() == 2);
  CHECK(watch.alerts.errors()[0].message == "no such series");
  CHECK(watch.alerts.errors()[0].count == 10);
}

TEST_CASE("a number that could not be measured meanwhile was not beyond the limit meanwhile") {
  bool broken = false;
  auto rule = latency_rule();
  rule.measure = [&](PoolState const& pool) -> std::optional<Reading> {
    if (broken) throw std::runtime_error{"no such series"};
    return Reading{*pool.latency};
  };
  Watch watch{{rule}};
  watch.run(1s, 9);
  broken = true;
  watch.run(60s, 9);
  broken = false;
  watch.run(3s, 9);
  CHECK(watch.log.empty());
  watch.run(1s, 9);
  CHECK(watch.log == Log{"fire slow"});
}

TEST_CASE("callbacks that throw are counted, and the alert goes on") {
  auto const fail = [](Alert const&) { throw std::runtime_error{"pager is down"}; };
  Alerts alerts{{latency_rule()}, {fail, fail}};
  PoolState state;
  state.latency = 9;
  for (int i = 0; i < 10; ++i) alerts.update(state), state.now += 1s;
  CHECK(alerts.callback_failures() == 1);
  CHECK(alerts.alerts().size() == 1);
}

TEST_CASE("a clock that is set back delays an alert and neither loses nor invents one") {
  Watch watch{{latency_rule()}};
  watch.run(100s, 0.5);
  watch.state.now = Time{10s};
  watch.run(89s, 9);
  CHECK(watch.log.empty());
  watch.run(10s, 9);
  CHECK(watch.log == Log{"fire slow"});
}

TEST_CASE("rules that contradict themselves or each other are refused by name") {
  auto const refused = [](Rule rule) { return Alerts{{latency_rule(), std::move(rule)}}; };
  auto rule = latency_rule();
  CHECK_THROWS_WITH(refused(rule), "two rules are named \"slow\": use different names");
  rule.name = "x";
  rule.clear = rule.fire;
  CHECK_THROWS_WITH(refused(rule),
                    "rule \"x\" fires and clears at 2: clear must be lower if high values are bad, "
                    "higher if low ones are");
  rule.clear = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_WITH(refused(rule), "a limit of rule \"x\" is nan: use a finite number");
  rule.clear = 1;
  rule.fire_after = -1s;
  CHECK_THROWS_WITH(refused(rule), "fire_after of rule \"x\" is -1 s: 0 fires at once");
  rule.measure = nullptr;
  CHECK_THROWS_AS(refused(rule), ConfigError);
  rule.name.clear();
  CHECK_THROWS_AS(refused(rule), ConfigError);
}

// -- the default set ----------------------------------------------------------------------------

TEST_CASE("the default rules are silent while all is well, and without any traffic") {
  Watch watch{analysis::default_rules({.latency = 100ms})};
  watch.state = calm();
  watch.run(1h);
  watch.state.requests = 0;
  watch.state.latency.reset();
  watch.run(2h);
  CHECK(watch.log.empty());
  Watch unknown{analysis::default_rules()};
  unknown.run(1h);
  unknown.state.requests = 10;
  unknown.state.failures = 10;  // of a pool whose backends nobody counts
  unknown.run(5s);
  CHECK(unknown.log.empty());
}

TEST_CASE("an empty pool is a ticket, and a page as soon as it refuses requests") {
  Watch watch{analysis::default_rules()};
  watch.state = calm();
  watch.run(1h);
  watch.state.backends = watch.state.healthy = watch.state.requests = 0;
  watch.run(1min);
  REQUIRE(watch.alerts.alerts().size() == 1);
  CHECK(watch.alerts.alerts()[0].severity == Severity::ticket);
  CHECK(message(watch.alerts.alerts()[0]).starts_with("errors: few healthy (0 %, limit 60 %): "));
  watch.state.requests = watch.state.failures = 1;  // one a minute
  watch.run(1s);
  watch.state.requests = watch.state.failures = 0;
  watch.run(5s);
  CHECK(watch.alerts.alerts()[0].severity == Severity::page);
  watch.run(1h);
  CHECK(watch.alerts.alerts()[0].severity == Severity::page);
  watch.state.backends = watch.state.healthy = 1;
  watch.run(61s);
  CHECK(watch.alerts.alerts().empty());
}

TEST_CASE("a pool that is empty from the start pages when it refuses a request") {
  Watch watch{analysis::default_rules()};
  watch.state.requests = watch.state.failures = watch.state.refusals = 1;
  watch.run(5s);
  REQUIRE(watch.alerts.alerts().size() == 1);
  CHECK(watch.alerts.alerts()[0].severity == Severity::page);
}

TEST_CASE("ejections of a gap between two updates are not those of now") {
  Watch watch{analysis::default_rules()};
  watch.state = calm();
  watch.run(10s);
  watch.state.ejections = 20;
  watch.state.now += 10h;
  watch.run(1s);
  CHECK(watch.log.empty());
  watch.state.ejections = 0;
  watch.run(10min);
  watch.state.ejections = 5;
  watch.run(1s);
  CHECK(watch.log == Log{"fire errors"});
}

TEST_CASE("a panic an hour ago and one now are no panic of an hour") {
  Watch watch{analysis::default_rules()};
  watch.state = calm();
  watch.run(10s);
  watch.state.panic = true;
  watch.run(1s);
  watch.state.now += 1h;
  watch.run(5s);
  CHECK(watch.log.empty());
  watch.run(1s);
  CHECK(watch.log == Log{"fire errors"});
  watch.state.panic = false;
  watch.run(1s);
  watch.state.now += 1h;  // nor was all well meanwhile
  watch.run(1s);
  CHECK(watch.log == Log{"fire errors"});
}

TEST_CASE("durations hold for who updates every five minutes, too") {
  Watch watch{{latency_rule()}};
  watch.state.latency = 9;
  for (int i = 0; i < 4; ++i) {
    watch.state.now += 5min - 1s;
    watch.run(1s);
  }
  CHECK(watch.log == Log{"fire slow"});
}

TEST_CASE("times at the ends of the range are no undefined behaviour") {
  Watch watch{analysis::default_rules()};
  for (auto const now : {Time::min(), Time::min() + 1s, Time{}, Time::max() - 1s}) {
    watch.state.now = now;
    watch.state.ejections = 1;
    watch.state.backends = watch.state.healthy = 100;
    watch.run(1s);
  }
  CHECK(watch.alerts.alerts().empty());
}

TEST_CASE("300 dead backends are one alert with one list") {
  std::vector<std::string> names;
  for (int i = 0; i < 300; ++i) names.push_back("backend-" + std::to_string(i));
  std::vector<std::string_view> const ids{names.begin(), names.end()};
  Watch watch{analysis::default_rules()};
  watch.state = calm();
  watch.state.backends = watch.state.healthy = 300;
  watch.run(1h);
  watch.state.unhealthy = ids;
  watch.state.healthy = 0;
  watch.state.panic = true;
  watch.state.ejections = 300;
  watch.run(1s);
  watch.state.ejections = 0;
  watch.state.failures = 100;
  watch.state.retry_budget = 0;
  watch.run(2min);
  CHECK(watch.log == Log{"fire errors", "fire errors"});  // a ticket, then a page
  REQUIRE(watch.alerts.alerts().size() == 1);
  CHECK(watch.alerts.alerts()[0].rules.size() == 7);
  CHECK(watch.alerts.alerts()[0].rules[0].backends.size() == 300);

  watch.state = PoolState{calm()};
  watch.state.now = Time{1h + 2min + 1s};
  watch.run(7h);  // the page is cleared, then the ticket about the month's budget
  CHECK(watch.log ==
        Log{"fire errors", "fire errors", "clear errors", "fire errors", "clear errors"});
}

TEST_CASE("a page is cleared soon after an outage, and one a day later is announced") {
  auto const history = GENERATE(10min, 120min);
  auto const outage = GENERATE(60s, 600s);
  Watch watch{analysis::default_rules()};
  watch.state = calm();
  watch.run(history);
  for (int time = 0; time < 3; ++time) {
    auto const announced = watch.log.size();
    watch.state.failures = 100;
    watch.run(1min);
    REQUIRE(watch.log.size() > announced);
    CHECK(watch.alerts.alerts()[0].severity == Severity::page);
    watch.run(outage - 1min);
    watch.state.failures = 0;
    watch.run(5min + 10s);
    for (auto const& each : watch.alerts.alerts()) CHECK(each.severity == Severity::ticket);
    watch.run(12h);
  }
}

namespace {

/// A failure that comes and goes for six hours.
struct Cycle {
  std::uint64_t requests;  // a second
  std::uint64_t failures;
  Duration lasts;
  Duration period;
};
/// The log of its pages.
struct Pages {
  int begun = 0;
  bool paging = false;

  void look(Alerts const& alerts) {
    bool const now = std::ranges::any_of(
        alerts.alerts(), [](Alert const& each) { return each.severity == Severity::page; });
    begun += now && !paging ? 1 : 0;
    paging = now;
  }
};

}  // namespace

TEST_CASE("a failure that comes and goes pages twice or three times, not each time it comes") {
  auto const history = GENERATE(0min, 30min, 8h);
  auto const cycle = GENERATE(Cycle{100, 50, 90s, 420s}, Cycle{100, 50, 90s, 600s},
                              Cycle{100, 50, 90s, 900s}, Cycle{10, 10, 120s, 480s},
                              Cycle{1000, 200, 120s, 480s}, Cycle{1000, 1000, 60s, 1500s});
  CAPTURE(history / 1min, cycle.requests, cycle.period / 1s);
  if (tests::sanitized && (history != 0min || cycle.period != 420s)) return;
  Watch watch{analysis::default_rules()};
  watch.state = calm();
  watch.state.requests = cycle.requests;
  watch.run(history);
  Pages pages;
  for (auto time = 0s; time < 6h; time += 1s) {
    watch.state.failures = time % cycle.period < cycle.lasts ? cycle.failures : 0;
    watch.run(1s);
    pages.look(watch.alerts);
  }
  CHECK(pages.begun >= 1);
  CHECK(pages.begun <= 3);
  watch.state.failures = 0;
  watch.run(36min);  // it has stayed away
  pages.look(watch.alerts);
  CHECK_FALSE(pages.paging);
}

TEST_CASE("a page that ends goes on as a ticket of what still fires") {
  auto ticket = latency_rule();
  auto page = latency_rule();
  ticket.group = page.group = "errors";
  page.name = "slowest";
  page.fire = 6;
  page.clear = 5;
  page.severity = Severity::page;
  Watch watch{{ticket, page}};
  watch.run(10s, 7);
  CHECK(watch.alerts.alerts()[0].severity == Severity::page);
  watch.run(10s, 3);
  CHECK(watch.log == Log{"fire errors", "fire errors", "clear errors", "fire errors"});
  REQUIRE(watch.alerts.alerts().size() == 1);
  CHECK(watch.alerts.alerts()[0].severity == Severity::ticket);
  CHECK(watch.alerts.alerts()[0].rules.size() == 1);
  watch.run(10s, 7);
  CHECK(watch.alerts.alerts()[0].severity == Severity::page);
  CHECK(watch.log.size() == 5);
  watch.run(10s, 0);
  CHECK(watch.alerts.alerts().empty());
}

TEST_CASE("what an alert says drives no terminal and has no loose ends") {
  Alert alert{"a\x1b[2J", Severity::ticket, {}, {{"b\n", Severity::ticket, {}, 3, 2, {}, "", {}}}};
  CHECK(message(alert) == "a\\x1b[2J: b\\x0a (3, limit 2)");
  alert.rules[0].unit = analysis::Unit::fraction;
  CHECK(message(alert) == "a\\x1b[2J: b\\x0a (300 %, limit 200 %)");
  alert.rules[0].unit = analysis::Unit::seconds;
  CHECK(message(alert) == "a\\x1b[2J: b\\x0a (3 s, limit 2 s)");
}

TEST_CASE("an alert names up to five backends, once, and escapes them") {
  Watch watch{analysis::default_rules()};
  watch.state = calm();
  watch.run(1h);
  std::vector<std::string_view> ids{"a\n", "b", "c", "d", "e"};
  watch.state.unhealthy = ids;
  watch.state.panic = true;
  watch.state.healthy = 5;
  watch.run(20s);
  REQUIRE(watch.alerts.alerts().size() == 1);
  CHECK(message(watch.alerts.alerts()[0]) ==
        "errors: panic (1, limit 1; a\\x0a, b, c, d, e): so few backends are left that ejections "
        "count for nothing: restore some, or the list; few healthy (50 %, limit 60 %): bring back "
        "those that are out, or add backends: the history of each says why it is out");
  ids.push_back("f");
  ids.push_back("g");
  watch.state.unhealthy = ids;
  watch.run(1s);
  CHECK(message(watch.alerts.alerts()[0]).find("c, d, e and 2 more): so few") != std::string::npos);
}

TEST_CASE("an alert that waits for its end says so, and one below its limit where it clears") {
  Watch watch{analysis::default_rules()};
  watch.state = calm();
  watch.run(1h);
  watch.state.panic = true;
  watch.state.healthy = 5;
  watch.run(20s);
  watch.state.panic = false;
  watch.state.healthy = 7;
  watch.run(1s);
  CHECK(message(watch.alerts.alerts()[0])
            .starts_with("errors: panic, clearing (0, fired at 1); few healthy (70 %, fired at "
                         "60 %, clears at 75 %): bring back"));
  watch.state.healthy = 10;
  watch.run(1s);
  CHECK(message(watch.alerts.alerts()[0]) ==
        "errors: panic, clearing (0, fired at 1); few healthy, clearing (100 %, fired at 60 %)");
  Watch unknown{{latency_rule()}};
  unknown.run(10s, 9);
  unknown.state.latency.reset();
  unknown.run(1s);
  CHECK(message(unknown.alerts.alerts()[0]) == "slow: slow, clearing (unknown, fired at 2)");
}

TEST_CASE("a total outage pages within a minute by the default rules") {
  Watch watch{analysis::default_rules()};
  watch.state = calm();
  watch.run(2h);
  watch.state.failures = 100;
  watch.run(1min);
  REQUIRE(watch.alerts.alerts().size() == 1);
  CHECK(watch.alerts.alerts()[0].severity == Severity::page);
}

TEST_CASE("each default rule fires on its own trouble") {
  static constexpr std::string_view id[]{"a"};
  using Trouble = void (*)(PoolState&);
  auto const [rule, trouble] = GENERATE(table<std::string, Trouble>({
      {"panic", [](PoolState& s) { s.panic = true; }},
      {"few healthy", [](PoolState& s) { s.healthy = 5; }},
      {"ejections", [](PoolState& s) { s.ejections = 1; }},
      {"changed", [](PoolState& s) { s.changed = id; }},
      {"unfair", [](PoolState& s) { s.unfair = id; }},
      {"breach ahead", [](PoolState& s) { s.breaching = id; }},
      {"retry budget", [](PoolState& s) { s.retry_budget = 0.01; }},
      {"ticks", [](PoolState& s) { s.tick_age = 30s; }},
      {"stale list", [](PoolState& s) { s.list_age = 1h; }},
      {"latency", [](PoolState& s) { s.latency = 0.2; }},
      {"error budget, 1 h", [](PoolState& s) { s.failures = 50; }},
  }));
  CAPTURE(rule);
  Watch watch{analysis::default_rules({.latency = 100ms})};
  watch.state = calm();
  watch.run(1h);
  trouble(watch.state);
  watch.run(2min);
  REQUIRE(watch.alerts.alerts().size() == 1);
  auto const& firing = watch.alerts.alerts()[0].rules;
  auto const found = std::ranges::find(firing, rule, &analysis::Firing::rule);
  REQUIRE(found != firing.end());
  CHECK_FALSE(found->advice.empty());
}

TEST_CASE("objectives that are no objectives are refused") {
  CHECK_THROWS_AS(analysis::default_rules({.success = 1}), ConfigError);
  CHECK_THROWS_AS(analysis::default_rules({.success = std::numeric_limits<double>::quiet_NaN()}),
                  ConfigError);
  CHECK_THROWS_AS(analysis::default_rules({.latency = 0s}), ConfigError);
  CHECK_NOTHROW(analysis::default_rules({.success = 0.9}));  // without the window that needs more
}

}  // namespace unit_analysis_alerts
