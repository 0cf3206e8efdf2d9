// SPDX-License-Identifier: MIT
// What is measured of a backend: totals, endings, latency, error rate.

#include <poise/backend.hpp>
#include <poise/stats.hpp>

#include <chrono>
#include <cmath>
#include <optional>
#include <vector>

#include "support/catch.hpp"
#include "support/stage.hpp"

namespace unit_backend {

using namespace std::chrono_literals;
using poise::HealthState;
using poise::Result;
using tests::LoneBackend;

namespace {

constexpr auto unmeasured = poise::detail::unmeasured;

LoneBackend lone() { return LoneBackend{{.id = "a", .address = "a:1"}, 7}; }

bool near(double value, double expected, double tolerance) {
  return std::abs(value - expected) <= tolerance;
}

double milliseconds(LoneBackend const& backend) {
  return std::chrono::duration<double, std::milli>(backend.latency().value_or(-1ms)).count();
}

}  // namespace

TEST_CASE("a new backend has no latency and no error rate instead of zeros") {
  auto const backend = lone();
  CHECK_FALSE(backend.latency());
  CHECK_FALSE(backend.error_rate());
  CHECK(backend.total() == 0);
  CHECK(backend.in_flight() == 0);
  CHECK(backend.failed() == 0);
}

TEST_CASE("a new backend is healthy and lets everything in") {
  auto const backend = lone();
  CHECK(backend.health() == HealthState::healthy);
  CHECK_FALSE(backend.drained());
  CHECK(backend.admission() == poise::Admission{});
}

TEST_CASE("a backend says what configuration said of it") {
  LoneBackend const backend{
      {.id = "i", .address = "a", .weight = 3, .zone = "z", .tier = 2, .labels = {{"k", "v"}}}, 9};
  CHECK(backend.id() == "i");
  CHECK(backend.address() == "a");
  CHECK(backend.weight() == 3);
  CHECK(backend.zone() == "z");
  CHECK(backend.tier() == 2);
  CHECK(backend.labels() == std::vector<poise::Label>{{"k", "v"}});
  CHECK(backend.serial() == 9);
}

TEST_CASE("the first sample is the latency") {
  auto backend = lone();
  backend.count(Result::success, 20ms);
  CHECK(near(milliseconds(backend), 20, 0.001));
}

TEST_CASE("a later sample moves the latency by a sixteenth") {
  auto backend = lone();
  backend.count(Result::success, 16ms);
  backend.count(Result::success, 32ms);
  CHECK(near(milliseconds(backend), 17, 0.001));
}

TEST_CASE("the latency arrives where the samples are") {
  // Integer means stop short: after 20 ms a thousand samples of 29 ms would still read 20.
  auto backend = lone();
  backend.count(Result::success, 20ms);
  for (int i = 0; i < 1000; ++i) backend.count(Result::success, 29ms);
  CHECK(near(milliseconds(backend), 29, 0.01));
}

TEST_CASE("a latency of zero is a sample") {
  auto backend = lone();
  backend.count(Result::success, 0ns);
  CHECK(backend.latency() == poise::Duration{0});
}

TEST_CASE("a success without a latency leaves the mean latency as it was") {
  auto backend = lone();
  backend.count(Result::success, 5ms);
  backend.count(Result::success, unmeasured);
  CHECK(near(milliseconds(backend), 5, 0.001));
}

TEST_CASE("a backend that fails fast does not look fast") {
  for (auto const failure : {Result::refused, Result::connect_timeout, Result::timeout,
                             Result::reset, Result::error, Result::overloaded}) {
    auto backend = lone();
    backend.count(Result::success, 20ms);
    for (int i = 0; i < 1000; ++i) backend.count(failure, 1us);
    CHECK(near(milliseconds(backend), 20, 0.001));
  }
}

TEST_CASE("a backend that only ever failed fast has no latency to show") {
  auto backend = lone();
  for (int i = 0; i < 1000; ++i) backend.count(Result::error, 1us);
  CHECK_FALSE(backend.latency());
}

TEST_CASE("a backend that fails slowly looks slow") {
  auto backend = lone();
  backend.count(Result::success, 20ms);
  for (int i = 0; i < 1000; ++i) backend.count(Result::timeout, 1s);
  CHECK(milliseconds(backend) > 900);
}

TEST_CASE("what the caller did wrong or gave up says nothing about latency or errors") {
  for (auto const result : {Result::rejected, Result::cancelled, Result::abandoned}) {
    auto backend = lone();
    backend.count(result, 1ms);
    CHECK_FALSE(backend.latency());
    CHECK_FALSE(backend.error_rate());
    CHECK(backend.failed() == 0);
    CHECK(backend.ended(result) == 1);
  }
}

TEST_CASE("failures are counted by cause") {
  auto backend = lone();
  backend.count(Result::timeout, unmeasured);
  backend.count(Result::timeout, unmeasured);
  backend.count(Result::refused, unmeasured);
  backend.count(Result::cancelled, unmeasured);
  CHECK(backend.ended(Result::timeout) == 2);
  CHECK(backend.ended(Result::refused) == 1);
  CHECK(backend.ended(Result::cancelled) == 1);
  CHECK(backend.failed() == 3);
}

TEST_CASE("the first verdict is the error rate") {
  auto good = lone();
  good.count(Result::success, unmeasured);
  CHECK(good.error_rate() == 0.0);
  auto bad = lone();
  bad.count(Result::error, unmeasured);
  CHECK(bad.error_rate() == 1.0);
}

TEST_CASE("each success takes a sixteenth off the error rate") {
  auto backend = lone();
  backend.count(Result::error, unmeasured);
  double expected = 1;
  for (int i = 0; i < 40; ++i) {
    backend.count(Result::success, unmeasured);
    expected *= 15.0 / 16;
    REQUIRE(near(*backend.error_rate(), expected, 1e-4));
  }
}

TEST_CASE("an error rate of one in four settles around one in four") {
  // After 400 verdicts the mean over one period of 4 is 0.25; single values swing by 1/16 at most.
  auto backend = lone();
  double sum = 0;
  for (int i = 0; i < 400; ++i) {
    backend.count(i % 4 == 0 ? Result::error : Result::success, unmeasured);
    if (i >= 396) sum += *backend.error_rate();
  }
  CHECK(near(sum / 4, 0.25, 0.01));
}

TEST_CASE("enough successes bring the error rate to exactly zero") {
  auto backend = lone();
  backend.count(Result::error, unmeasured);
  for (int i = 0; i < 200; ++i) backend.count(Result::success, unmeasured);
  CHECK(backend.error_rate() == 0.0);
}

TEST_CASE("the error rate of an idle backend decays with time") {
  auto backend = lone();
  backend.count(Result::error, unmeasured);
  backend.forget(10s);
  CHECK(near(*backend.error_rate(), 0.5, 1e-6));
}

TEST_CASE("the errors of a backend that is asked are not forgiven by time") {
  auto backend = lone();
  backend.count(Result::error, unmeasured);
  backend.claim();
  backend.forget(1h);
  CHECK(backend.error_rate() == 1.0);
}

TEST_CASE("there is nothing to forgive where no verdict was given") {
  auto backend = lone();
  backend.forget(1h);
  CHECK_FALSE(backend.error_rate());
}

TEST_CASE("absurdly long latencies are kept and do no harm") {
  auto backend = lone();
  backend.count(Result::success, poise::Duration{24h * 365 * 30});
  backend.count(Result::success, 1ms);
  CHECK(*backend.latency() > 0s);
}

TEST_CASE("an heir takes over what its predecessor measured but not its requests in flight") {
  auto old = lone();
  old.claim(3);
  old.release();
  old.release();
  old.count(Result::success, 20ms);
  old.count(Result::timeout, unmeasured);
  LoneBackend heir{{.id = "a", .address = "a:2"}, 8};
  heir.inherit(old);
  CHECK(heir.in_flight() == 0);
  CHECK(heir.ended(Result::timeout) == 1);
  CHECK(heir.latency() == old.latency());
  CHECK(heir.error_rate() == old.error_rate());
}

TEST_CASE("a request in flight while its backend is replaced is not a success of the heir") {
  auto old = lone();
  old.claim(3);
  old.release();
  old.release();
  LoneBackend heir{{.id = "a", .address = "a:2"}, 8};
  heir.inherit(old);
  CHECK(poise::BackendStats::of(heir).ended(Result::success) == 2);
}

TEST_CASE("successes are the rest of the total") {
  auto backend = lone();
  backend.claim(5);
  for (int i = 0; i < 4; ++i) backend.release();
  backend.count(Result::error, unmeasured);
  backend.count(Result::rejected, unmeasured);
  auto const stats = poise::BackendStats::of(backend);
  CHECK(stats.total == 5);
  CHECK(stats.in_flight == 1);
  CHECK(stats.ended(Result::success) == 2);
  CHECK(stats.ended(Result::error) == 1);
}

TEST_CASE("the operator's word beats what rules found until it is taken back") {
  poise::detail::Condition condition{};
  condition.found = HealthState::unhealthy;
  CHECK(condition.health() == HealthState::unhealthy);
  condition.declare(HealthState::healthy);
  CHECK(condition.health() == HealthState::healthy);
  condition.found = HealthState::degraded;
  CHECK(condition.health() == HealthState::healthy);
  condition.declare(std::nullopt);
  CHECK(condition.health() == HealthState::degraded);
}

TEST_CASE("health states have names") {
  CHECK(name(HealthState::healthy) == "healthy");
  CHECK(name(HealthState::degraded) == "degraded");
  CHECK(name(HealthState::unhealthy) == "unhealthy");
  CHECK(name(static_cast<HealthState>(9)) == "unknown health");
}

}  // namespace unit_backend
