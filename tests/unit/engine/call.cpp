// SPDX-License-Identifier: MIT
// What a call keeps to and tells: deadlines, timeouts, stops, reports.

#include <chrono>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <poise/balancer.hpp>

#include "support/catch.hpp"
#include "support/scripted.hpp"
#include "support/servers.hpp"
#include "support/text.hpp"

namespace unit_engine_call {

using namespace std::chrono_literals;
using poise::CallReport;
using poise::CallStopped;
using poise::Decision;
using poise::Outcome;
using poise::Result;
using poise::StopReason;
using tests::letters;
using tests::mentions;
using tests::Scene;
using tests::stats_of;
using tests::thrown;

namespace {

/// Up to so many attempts of what failed.
void allow_attempts(Scene& scene, std::uint32_t attempts, poise::Duration pause = {}) {
  scene.policy.hooks->decide = [=](poise::Attempt const& attempt) {
    if (!is_failure(attempt.outcome.result)) return Decision{};
    return Decision{attempt.request.attempt < attempts, pause, StopReason::attempts};
  };
}

std::uint64_t asked(Scene& scene) {
  std::uint64_t total = 0;
  for (auto const& each : scene.balancer.stats().backends) total += each.total + each.in_flight;
  return total;
}

auto fails(Result result = Result::error) {
  return [=](auto&) { return Outcome{result}; };
}

}  // namespace

// -- deadlines and timeouts -----------------------------------------------------------------------

TEST_CASE("a call without limits that succeeds reads no clock") {
  Scene scene{letters("ab")};
  allow_attempts(scene, 3);
  auto const reads = scene.clock.reads();
  for (int i = 0; i < 10; ++i) scene.balancer.call([](auto&) {});
  CHECK(scene.clock.reads() == reads);
}

TEST_CASE("a call with limits reads the clock once") {
  Scene scene{letters("ab")};
  scene.policy.hooks->timeouts = {.timeout = 1s, .attempt_timeout = 100ms, .hedge_after = 10ms};
  auto const reads = scene.clock.reads();
  scene.balancer.call([](auto&) {});
  CHECK(scene.clock.reads() == reads + 1);
}

TEST_CASE("each attempt gets the rest of the call's time, and at most its own timeout") {
  Scene scene{letters("abcd")};
  scene.policy.hooks->timeouts = {.timeout = 100ms, .attempt_timeout = 40ms};
  allow_attempts(scene, 9);
  std::vector<std::int64_t> left;
  scene.balancer.call({}, [&](auto&, poise::Request const& request) {
    auto const time = *request.deadline - scene.clock.now();
    left.push_back(time / 1ms);
    scene.clock.advance(time);
    return Outcome{Result::timeout};
  });
  CHECK(left == std::vector<std::int64_t>{40, 40, 20});
}

TEST_CASE("the request's deadline counts if it comes before the policy's") {
  Scene scene{letters("a")};
  scene.policy.hooks->timeouts = {.timeout = 100ms};
  auto const deadline = scene.clock.now() + 30ms;
  poise::Time seen{};
  auto const see = [&](auto&, poise::Request const& request) { seen = *request.deadline; };
  scene.balancer.call({.deadline = deadline}, see);
  CHECK(seen == deadline);
  scene.balancer.call({.deadline = deadline + 1h}, see);
  CHECK(seen == scene.clock.now() + 100ms);
}

TEST_CASE("a timeout beyond all time is none") {
  Scene scene{letters("a")};
  scene.policy.hooks->timeouts = {.timeout = poise::Duration::max(),
                                  .attempt_timeout = poise::Duration::max()};
  scene.balancer.call(
      {}, [](auto&, poise::Request const& request) { CHECK_FALSE(request.deadline.has_value()); });
}

TEST_CASE("a call whose deadline is in the past is refused without an attempt") {
  for (bool const policy_retries : {false, true}) {
    Scene scene{letters("ab")};
    if (policy_retries) allow_attempts(scene, 3);
    for (auto const late : {0ns, 1ns, poise::Duration{1h}}) {
      CallReport report;
      poise::Request const request{.deadline = scene.clock.now() - late};
      auto const call = [&] { scene.balancer.call(request, [](auto&) {}, {.report = &report}); };
      CHECK(mentions(thrown<CallStopped>(call), "no attempt; ended by: the deadline"));
      CHECK(report.why == StopReason::deadline);
      CHECK(report.attempts.empty());
    }
    CHECK(asked(scene) == 0);
  }
}

TEST_CASE("a call that was stopped counts as a timeout or a cancellation where calls nest") {
  for (auto const why : {StopReason::deadline, StopReason::attempts, StopReason::cancelled}) try {
      throw CallStopped{CallReport{.why = why}};
    } catch (CallStopped const& stopped) {
      auto const expected = why == StopReason::cancelled ? Result::cancelled : Result::timeout;
      CHECK(poise::outcome_of(std::current_exception()).result == expected);
      CHECK(stopped.why() == why);
    }
}

TEST_CASE("a call does not pause for an attempt after its deadline") {
  Scene scene{letters("ab")};
  allow_attempts(scene, 5, 20ms);
  CallReport report;
  auto const deadline = scene.clock.now() + 50ms;
  auto const outcome =
      scene.balancer.call({.deadline = deadline}, fails(Result::reset), {.report = &report});
  CHECK(outcome.result == Result::reset);
  CHECK(scene.clock.slept() == 40ms);
  CHECK(report.attempts.size() == 3);
  CHECK(report.why == StopReason::deadline);
}

TEST_CASE("once the deadline has passed the policy is not even asked") {
  Scene scene{letters("ab")};
  int decisions = 0;
  scene.policy.hooks->decide = [&](auto const&) { return Decision{++decisions < 5}; };
  scene.balancer.call({.deadline = scene.clock.now() + 1ms}, [&](auto&) {
    scene.clock.advance(2ms);
    return Outcome{Result::error};
  });
  CHECK(decisions == 0);
}

// -- what the policy is asked --------------------------------------------------------------------

TEST_CASE("the policy sees the whole call's deadline, the attempts and the tried backends") {
  Scene scene{letters("abc")};
  scene.policy.hooks->timeouts = {.timeout = 1s, .attempt_timeout = 10ms};
  std::vector<std::uint32_t> numbers;
  std::vector<bool> alone;
  auto const end = scene.clock.now() + 1s;
  scene.policy.hooks->decide = [&](poise::Attempt const& attempt) {
    numbers.push_back(attempt.request.attempt);
    alone.push_back(attempt.alone);
    CHECK(attempt.request.deadline == end);
    CHECK(attempt.request.excluded.size() == numbers.size());
    CHECK_FALSE(attempt.running);
    return Decision{numbers.size() < 3};
  };
  scene.balancer.call(fails());
  CHECK(numbers == std::vector<std::uint32_t>{1, 2, 3});
  CHECK(alone == std::vector<bool>{false, false, true});
}

TEST_CASE("a call without backends does not pause") {
  Scene scene{letters("a")};
  allow_attempts(scene, 5, 1h);
  CallReport report;
  scene.balancer.call({},
                      [&](auto&) {
                        scene.balancer.clear();
                        return Outcome{Result::error};
                      },
                      {.report = &report});
  CHECK(scene.clock.slept() == 0ns);
  CHECK(report.why == StopReason::no_backend);
}

TEST_CASE("a backend is asked again only when no other is left, and the report says so") {
  Scene scene{letters("ab")};
  allow_attempts(scene, 3);
  CallReport report;
  scene.balancer.call({}, fails(), {.report = &report});
  REQUIRE(report.attempts.size() == 3);
  CHECK_FALSE(report.attempts[1].repeated);
  CHECK(report.attempts[1].id != report.attempts[0].id);
  CHECK(report.attempts[2].repeated);
}

// -- giving up ------------------------------------------------------------------------------------

#if defined(__cpp_lib_jthread)

TEST_CASE("a call that is stopped before it begins makes no attempt") {
  Scene scene{letters("a")};
  std::stop_source source;
  source.request_stop();
  auto const call = [&] { scene.balancer.call([](auto&) {}, {.stop = source.get_token()}); };
  try {
    call();
    FAIL("a stopped call went on");
  } catch (CallStopped const& stopped) {
    CHECK(stopped.why() == StopReason::cancelled);
    CHECK(stopped.code() == std::errc::operation_canceled);
  }
  CHECK(asked(scene) == 0);
}

TEST_CASE("a stopped call makes no further attempt and returns its last result") {
  Scene scene{letters("ab")};
  allow_attempts(scene, 5, 1ms);
  std::stop_source source;
  CallReport report;
  int runs = 0;
  auto const outcome = scene.balancer.call({},
                                           [&](auto&) {
                                             if (++runs == 2) source.request_stop();
                                             return Outcome{Result::reset};
                                           },
                                           {.stop = source.get_token(), .report = &report});
  CHECK(outcome.result == Result::reset);
  CHECK(runs == 2);
  CHECK(report.why == StopReason::cancelled);
}

TEST_CASE("a reply that came all the same is returned") {
  Scene scene{letters("a")};
  std::stop_source source;
  auto const reply = scene.balancer.call(
      [&](auto&) {
        source.request_stop();
        return std::string{"seven"};
      },
      {.stop = source.get_token()});
  CHECK(reply == "seven");
}

TEST_CASE("a pause in progress ends at once when the caller gives up") {
  tests::Scripted policy;
  policy.hooks->decide = [](auto const&) { return Decision{true, 1h}; };
  poise::Balancer<tests::Scripted> balancer{letters("ab"), policy};
  std::stop_source source;
  CallReport report;
  std::jthread const giver_up{[&] {
    std::this_thread::sleep_for(20ms);
    source.request_stop();
  }};
  auto const begin = std::chrono::steady_clock::now();
  balancer.call({}, fails(), {.stop = source.get_token(), .report = &report});
  CHECK(std::chrono::steady_clock::now() - begin < 10s);
  CHECK(report.why == StopReason::cancelled);
}

TEST_CASE("virtual time does not move for a pause that was given up") {
  poise::VirtualClock const clock;
  std::stop_source source;
  clock.sleep(1s, source.get_token());
  CHECK(clock.now() == poise::Time{1s});
  source.request_stop();
  clock.sleep(1s, source.get_token());
  CHECK(clock.now() == poise::Time{1s});
}

#endif

// -- what is told ---------------------------------------------------------------------------------

TEST_CASE("a report has every attempt with backend, outcome, latency and the wait before it") {
  Scene scene{letters("abc")};
  allow_attempts(scene, 3, 5ms);
  CallReport report{.attempts = {{.id = "from the last time"}}, .why = StopReason::budget};
  scene.balancer.call({},
                      [&](auto& backend) {
                        scene.clock.advance(2ms);
                        return Outcome{backend.id() == "c" ? Result::success : Result::reset};
                      },
                      {.report = &report});
  REQUIRE(report.attempts.size() == 3);
  CHECK(report.why == StopReason::settled);
  CHECK(report.attempts[0].id == "a");
  CHECK(report.attempts[0].outcome.result == Result::reset);
  CHECK(report.attempts[0].latency == 2ms);
  CHECK(report.attempts[0].waited == 0ms);
  CHECK(report.attempts[2].id == "c");
  CHECK(report.attempts[2].outcome.result == Result::success);
  CHECK(report.attempts[2].waited == 5ms);
  CHECK(message(report) ==
        "a: reset after 2.00 ms; 5.00 ms later b: reset after 2.00 ms; "
        "5.00 ms later c: success after 2.00 ms");
}

TEST_CASE("a report of a call that succeeds at once has its one attempt") {
  Scene scene{letters("a")};
  CallReport report;
  CHECK(scene.balancer.call({}, [](auto&) { return std::string{"seven"}; }, {.report = &report}) ==
        "seven");
  REQUIRE(report.attempts.size() == 1);
  CHECK(message(report) == "a: success after 0.00 ms");
  CHECK(stats_of(scene.balancer, "a").ended(Result::success) == 1);
}

TEST_CASE("a report says why no backend was picked, and outlives an exception") {
  Scene scene{letters("a")};
  CallReport report;
  CHECK_THROWS_AS(scene.balancer.call({}, [](auto&) { throw std::runtime_error{"broken"}; },
                                      {.report = &report}),
                  std::runtime_error);
  CHECK(report.attempts.size() == 1);
  scene.balancer.drain("a");
  CHECK_THROWS_AS(scene.balancer.call({}, [](auto&) {}, {.report = &report}), poise::NoBackend);
  CHECK(report.attempts.empty());
  CHECK(report.why == StopReason::no_backend);
}

TEST_CASE("observers are notified only of calls that failed or needed more than one attempt") {
  Scene scene{letters("ab")};
  std::vector<std::string> heard;
  scene.spy.hooks->on_call = [&](poise::Called const& called) {
    heard.push_back(std::string{called.request.id} + " " + message(called.report));
  };
  allow_attempts(scene, 2);
  scene.balancer.call({.id = "good"}, [](auto&) {});
  scene.balancer.call({.id = "rejected"}, fails(Result::rejected));
  CallReport report;
  scene.balancer.call({.id = "reported"}, [](auto&) {}, {.report = &report});
  CHECK(heard.empty());

  int run = 0;
  scene.balancer.call({.id = "second"},
                      [&](auto&) { return Outcome{++run == 2 ? Result::success : Result::error}; });
  scene.balancer.call({.id = "bad"}, fails());
  scene.balancer.drain("a");
  scene.balancer.drain("b");
  CHECK_THROWS(scene.balancer.call({.id = "nobody"}, fails()));
  CHECK_THROWS(scene.balancer.call({.id = "late", .deadline = scene.clock.now()}, fails()));
  REQUIRE(heard.size() == 4);
  CHECK(heard[0] == "second b: error; a: success after 0.00 ms");
  CHECK(mentions(heard[1], "; ended by: no attempt is left"));
  CHECK(heard[2] == "nobody no attempt; ended by: no backend is left");
  CHECK(heard[3] == "late no attempt; ended by: the deadline");
}

TEST_CASE("what an observer of calls throws is counted, and the reply returned") {
  Scene scene{letters("a")};
  scene.spy.hooks->on_call = [](auto const&) { throw std::runtime_error{"no log"}; };
  CHECK(scene.balancer.call(fails()).result == Result::error);
  CHECK(scene.balancer.stats().observer_failures == 1);
}

TEST_CASE("calls can be logged as text") {
  std::string text;
  poise::LogCalls const log{[&](std::string const& line) { text = line; }};
  poise::Balancer<poise::RoundRobin, void, poise::Runtime<tests::Clock, poise::LogCalls>> balancer{
      letters("a"), {}, {.seed = 1, .observers = {log}}};
  balancer.call(fails(Result::refused));
  CHECK(text == "a: refused");
}

}  // namespace unit_engine_call
