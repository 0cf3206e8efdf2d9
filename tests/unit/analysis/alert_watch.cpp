// SPDX-License-Identifier: MIT
#include <poise/analysis/alert_watch.hpp>

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include <poise/analysis/alerts.hpp>
#include <poise/call.hpp>
#include <poise/observe/snapshot.hpp>
#include <poise/outcome.hpp>
#include <support/catch.hpp>

namespace unit_analysis_alert_watch {

using namespace poise;
using namespace std::chrono_literals;

namespace {

observe::Snapshot pool_at(int second) {
  observe::Snapshot now{.balancer = "orders", .at = Time{} + std::chrono::seconds{second}};
  now.set.healthy = 4;
  return now;
}

/// A pool of which three backends of five are out from the 10th second on.
observe::Snapshot ill_pool_at(int second) {
  auto now = pool_at(second);
  if (second < 10) return now;
  now.set = {.unhealthy = 3, .healthy = 2};
  for (auto const* id : {"a", "b"})
    now.backends.push_back({.id = id, .health = HealthState::unhealthy});
  now.unlisted_ill.push_back({.id = "c", .health = HealthState::unhealthy});  // beyond the cap
  now.ejections = {{"refused", "enforced", 3}, {"refused", "watched", 9}};
  return now;
}

}  // namespace

TEST_CASE("an alert lists the backends that a snapshot says are out", "[alerts]") {
  analysis::AlertWatch watch;
  for (int second = 0; second < 10; ++second) watch.update(ill_pool_at(second));
  CHECK(watch.alerts().empty());
  for (int second = 10; second < 25; ++second) watch.update(ill_pool_at(second));
  REQUIRE(watch.alerts().size() == 1);
  auto const& alert = watch.alerts()[0];
  CHECK(alert.group == "errors");
  CHECK(alert.since == Time{} + 10s);  // that many ejections are an alert at once
  REQUIRE(alert.rules.size() == 2);
  CHECK(alert.rules[0].rule == "ejections");
  CHECK(alert.rules[0].value == 3.0 / 5);  // what was only watched is none
  CHECK(alert.rules[1].rule == "few healthy");
  CHECK(alert.rules[1].backends == std::vector<std::string>{"a", "b", "c"});
}

TEST_CASE("what was counted before an alert watch began is not judged", "[alerts]") {
  analysis::AlertWatch watch;
  auto now = pool_at(0);
  now.requests.completed[static_cast<std::size_t>(Result::error)] = 1'000'000;
  watch.update(now);
  for (int second = 1; second < 600; ++second) {
    now.at = pool_at(second).at;
    now.requests.completed[static_cast<std::size_t>(Result::success)] += 100;
    watch.update(now);
  }
  CHECK(watch.alerts().empty());
}

TEST_CASE("picks that found no backend are failures", "[alerts]") {
  analysis::AlertWatch watch;
  auto now = pool_at(0);
  for (int second = 0; second < 120; ++second) {
    now.at = pool_at(second).at;
    now.refusals[0] += 100;
    watch.update(now);
  }
  REQUIRE(watch.alerts().size() == 1);
  CHECK(watch.alerts()[0].severity == analysis::Severity::page);
}

TEST_CASE("an empty pool pages at the first pick that it refuses", "[alerts]") {
  analysis::AlertWatch watch;
  auto now = pool_at(0);
  now.set = {};
  for (int second = 0; second < 70; ++second) {
    now.at = pool_at(second).at;
    if (second == 60) ++now.refusals[0];
    watch.update(now);
    if (second < 60) CHECK(watch.alerts().empty());
  }
  REQUIRE(watch.alerts().size() == 1);
  CHECK(watch.alerts()[0].severity == analysis::Severity::page);
  CHECK(watch.alerts()[0].rules[0].rule == "no backends");
}

TEST_CASE("ticks that are missing page, and a spent retry budget is a ticket", "[alerts]") {
  analysis::AlertWatch watch;
  auto now = pool_at(0);
  now.facts.ticks_missing = true;
  for (int second = 0; second < 60; ++second) {
    now.at = pool_at(second).at;
    now.stopped_calls[static_cast<std::size_t>(StopReason::budget)] += 3;
    watch.update(now);
  }
  REQUIRE(watch.alerts().size() == 2);
  CHECK(watch.alerts()[0].group == "ticks");
  CHECK(watch.alerts()[1].rules[0].rule == "retry budget");
  now.facts.ticks_missing = false;
  for (int second = 60; second < 180; ++second) {
    now.at = pool_at(second).at;
    watch.update(now);
  }
  CHECK(watch.alerts().empty());
}

TEST_CASE("an alert watch tells which of its rules and callbacks threw", "[alerts]") {
  analysis::Rule bad{.name = "bad",
                     .measure = [](auto&) -> std::optional<analysis::Reading> { throw 1; },
                     .fire = 1};
  analysis::Rule good{.name = "good",
                      .measure = [](auto&) { return std::optional{analysis::Reading{2}}; },
                      .fire = 1};
  analysis::AlertWatch watch{{bad, good}, {.on_fire = [](auto&) { throw 1; }, .on_clear = {}}};
  for (int second = 0; second < 3; ++second) watch.update(pool_at(second));
  REQUIRE(watch.errors().size() == 1);
  CHECK(watch.errors()[0].rule == "bad");
  CHECK(watch.callback_failures() == 1);
}

TEST_CASE("each balancer has alerts of its own among the notices", "[alerts]") {
  auto const notices_of = analysis::alert_notices();
  std::vector<observe::Notice> notices;
  for (int second = 0; second < 25; ++second) {
    auto well = pool_at(second);
    well.balancer = "users";
    notices = notices_of(std::vector{well, ill_pool_at(second)});
  }
  REQUIRE(notices.size() == 1);
  CHECK(notices[0].balancer == "orders");
  CHECK(notices[0].level == observe::Level::warning);
  CHECK(notices[0].since == Time{} + 10s);
  CHECK(notices[0].text.starts_with(
      "errors: ejections (0.6, limit 0.5; a, b, c): backends are ejected "
      "again and again: see their history; few healthy (40 %, "));
}

TEST_CASE("alerts stay with their balancer when another one leaves", "[alerts]") {
  auto const notices_of = analysis::alert_notices();
  auto well = pool_at(0);
  well.balancer = "users";
  std::vector<observe::Notice> notices;
  for (int second = 0; second < 25; ++second) {
    well.at = Time{} + std::chrono::seconds{second};
    notices = notices_of(std::vector{well, ill_pool_at(second)});
  }
  REQUIRE(notices.size() == 1);
  notices = notices_of(std::vector{ill_pool_at(25)});
  REQUIRE(notices.size() == 1);
  CHECK(notices[0].balancer == "orders");
  CHECK(notices[0].since == Time{} + 10s);
  well.at = Time{} + 26s;
  CHECK(notices_of(std::vector{well}).empty());
}

}  // namespace unit_analysis_alert_watch
