// SPDX-License-Identifier: MIT
#include <poise/observe/log.hpp>

#include <chrono>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <poise/health/monitor.hpp>
#include <poise/poise.hpp>
#include <support/catch.hpp>

namespace unit_observe_log {

namespace {

using namespace std::chrono_literals;
using namespace poise;
using observe::Level;
using Log = observe::Log<VirtualClock>;

struct Lines {
  std::vector<std::pair<Level, std::string>> all{};
  Log::Sink sink() {
    return [this](Level level, std::string const& line) { all.emplace_back(level, line); };
  }
};

health::Transition ejection(std::string id) {
  return {.id = std::move(id),
          .from = health::Phase::healthy,
          .to = health::Phase::ejected,
          .cause = "errors"};
}

}  // namespace

TEST_CASE("300 flapping backends get ten lines a second, and a count of the rest", "[observe]") {
  Lines lines;
  VirtualClock const clock;
  Log const log{lines.sink(), {}, clock};
  for (int second = 0; second < 3; ++second) {
    for (int i = 0; i < 300; ++i) log.on_transition(ejection(std::to_string(i)));
    clock.advance(1s);
  }
  log.after_tick();
  REQUIRE(lines.all.size() == 3 * 11);
  CHECK(lines.all[0].second == "0: healthy -> ejected: errors");
  CHECK(lines.all[10].second == "290 more lines were left out");
  CHECK(lines.all[32].second == "290 more lines were left out");
  log.after_tick();
  CHECK(lines.all.size() == 3 * 11);
}

TEST_CASE("a backend that is taken out is a warning, panic an error", "[observe]") {
  Lines lines;
  Log const log{lines.sink(), {.least = Level::warning}};
  log.on_transition(ejection("a"));
  log.on_transition({.id = "a", .from = health::Phase::ejected, .to = health::Phase::probation});
  log.on_transition({.cause = "panic begins", .value = 1, .limit = 2});
  log.on_event({.kind = Event::Kind::added, .id = "b"});
  REQUIRE(lines.all.size() == 2);
  CHECK(lines.all[0].first == Level::warning);
  CHECK(lines.all[1].first == Level::error);
}

TEST_CASE("what a balancer's backends go through is logged", "[observe]") {
  using R = Runtime<VirtualClock, health::Standard, Log>;
  Lines lines;
  VirtualClock const clock;
  Balancer<RoundRobin, void, R> servers{
      endpoints({"a", "b", "c"}),
      {},
      R{.clock = clock, .observers = {{}, {lines.sink(), {.lines_per_second = 100}, clock}}}};
  servers.tick();
  for (int i = 0; i < 30; ++i) {
    auto lease = servers.pick();
    clock.advance(1ms);
    lease.finish(lease->id() == "c" ? Result::error : Result::success);
  }
  servers.drain("a");
  servers.set_weight("b", 7);
  std::string text;
  for (auto const& [level, line] : lines.all) text += line + '\n';
  CHECK(text.find("c: healthy -> ejected") != std::string::npos);
  CHECK(text.find("a: drained") != std::string::npos);
  CHECK(text.find("b: weight 7") != std::string::npos);
}

TEST_CASE("what the operator says of a backend's health is logged, what is found is not",
          "[observe]") {
  using R = Runtime<VirtualClock, Log>;
  Lines lines;
  Balancer<RoundRobin, void, R> servers{
      endpoints({"a", "b"}),
      {},
      R{.observers = {{lines.sink(), {.lines_per_second = 100, .json = false}}}}};
  lines.all.clear();
  servers.report_health("a", HealthState::degraded);
  servers.set_health("a", HealthState::degraded);  // as was found: he has said it all the same
  servers.set_health("a", HealthState::degraded);
  servers.set_health("a", HealthState::unhealthy);
  servers.set_health("a", std::nullopt);
  REQUIRE(lines.all.size() == 3);
  CHECK(lines.all[0].second == "a: declared degraded by the operator");
  CHECK(lines.all[1].second == "a: declared unhealthy by the operator");
  CHECK(lines.all[2].second == "a: no longer declared by the operator, degraded as found");
  Log const json{lines.sink(), {.json = true}};
  json.on_event(
      {.kind = Event::Kind::health, .id = "a", .health = HealthState::unhealthy, .declared = true});
  CHECK(lines.all.back().second.ends_with(
      R"("event":"health","backend":"a","health":"unhealthy","declared":true})"));
}

TEST_CASE("an id can't forge a line of the log", "[observe]") {
  Lines lines;
  Log const log{lines.sink()};
  log.on_transition(ejection("a\nERROR all is lost\x1b[2J" + std::string(10'240, 'x')));
  REQUIRE(lines.all.size() == 1);
  CHECK(lines.all[0].second.find('\n') == std::string::npos);
  CHECK(lines.all[0].second.find('\x1b') == std::string::npos);
  CHECK(lines.all[0].second.size() < 600);
}

TEST_CASE("a log without a sink is silent", "[observe]") {
  Log const log;
  log.on_transition(ejection("a"));
  log.on_event({.kind = Event::Kind::added, .id = "b"});
  log.after_tick();
  SUCCEED();
}

TEST_CASE("a log of JSON has an object in each line", "[observe]") {
  Lines lines;
  Log const log{lines.sink(), {.lines_per_second = 4, .calls = true, .json = true}, VirtualClock{}};
  auto out = ejection("a \"quoted\"\nid");
  out.wall = std::chrono::system_clock::time_point{1'772'368'496'789ms};
  out.value = 5;
  out.limit = 4.5;
  out.note = health::Transition::Note::proven;
  out.lasts = 30s;
  log.on_transition(out);
  log.on_event({.kind = Event::Kind::weight, .id = "b", .weight = 3});
  log.on_event({.kind = Event::Kind::policy, .id = {}});
  CallReport report;
  report.attempts.push_back({.id = "c", .outcome = Result::timeout, .latency = 1500ms});
  Request const request;
  log.on_call({request, report});
  REQUIRE(lines.all.size() == 4);
  CHECK(lines.all[0].second ==
        R"({"time":"2026-03-01T12:34:56.789Z","level":"warning","event":"transition",)"
        R"("backend":"a \"quoted\".id","from":"healthy","to":"ejected","cause":"errors",)"
        R"("value":5,"limit":4.5,"note":"proven","lasts":30})");
  CHECK(lines.all[1].second.ends_with(
      R"(Z","level":"info","event":"weight","backend":"b","weight":3})"));
  CHECK(lines.all[2].second.ends_with(R"("level":"info","event":"policy"})"));
  CHECK(lines.all[3].second.ends_with(
      R"("event":"call","why":"settled","attempts":[{"backend":"c","result":"timeout",)"
      R"("latency":1.5,"waited":0,"hedge":false}]})"));
}

TEST_CASE("a log of JSON says what its limit left out, in JSON", "[observe]") {
  Lines lines;
  VirtualClock const clock;
  Log const log{lines.sink(), {.lines_per_second = 2, .json = true}, clock};
  for (int i = 0; i < 300; ++i) log.on_transition(ejection(std::string(10'000, 'x')));
  clock.advance(1s);
  log.after_tick();
  REQUIRE(lines.all.size() == 3);
  CHECK(lines.all[0].second.size() < 1000);  // whatever the id
  CHECK(lines.all[2].second.ends_with(R"("level":"warning","event":"left out","lines":298})"));
}

}  // namespace unit_observe_log
