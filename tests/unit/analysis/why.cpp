// SPDX-License-Identifier: MIT

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <support/catch.hpp>

#include <poise/analysis/why.hpp>
#include <poise/balancer.hpp>
#include <poise/health/monitor.hpp>
#include <poise/policy/round_robin.hpp>

namespace unit_analysis_why {

using namespace poise;
using namespace std::chrono_literals;
using analysis::Reason;

namespace {

/// Three backends under a monitor, in virtual time.
struct Pool {
  VirtualClock clock;
  health::Standard monitor{{.seed = 7}};
  Balancer<RoundRobin, void, Runtime<VirtualClock, health::Standard>> servers{
      endpoints({"a:80", "b:80", "c:80"}), {}, {.clock = clock, .seed = 1, .observers = {monitor}}};

  Pool() {
    clock.advance(1h);
    servers.tick();
  }
  analysis::Why why(std::string_view id = "a:80", Request const& request = {}) {
    return analysis::why(servers, monitor, id, request);
  }
  /// This many requests to each backend; those of a end so.
  void run(int rounds, Result result) {
    for (int i = 0; i < 3 * rounds; ++i) {
      auto lease = servers.pick();
      if (!lease) continue;
      bool const is_a = lease->id() == "a:80";
      lease.finish(is_a ? result : Result::success);
    }
  }
  void pass(Duration time) {
    for (auto const end = clock.now() + time; clock.now() < end;) {
      clock.advance(std::min<Duration>(1s, end - clock.now()));
      servers.tick();
    }
  }
  HealthState health() { return servers.stats().backends[0].health; }
};

}  // namespace

TEST_CASE("a backend that is picked like any other has no reason to be passed over") {
  Pool pool;
  CHECK(pool.why().reason == Reason::none);
  CHECK(message(pool.why(), pool.clock.now()) == "a:80: eligible");
}

TEST_CASE("an id that the balancer does not have is unknown") {
  Pool pool;
  CHECK(pool.why("x").reason == Reason::unknown);
  CHECK(message(pool.why("x"), {}) == "x: unknown; ends by: add() or update()");
}

TEST_CASE("what an operator did is the first reason") {
  Pool pool;
  pool.servers.set_weight("a:80", 0);
  CHECK(pool.why().reason == Reason::weightless);
  pool.servers.set_health("a:80", HealthState::unhealthy);
  CHECK(pool.why().reason == Reason::declared);
  pool.servers.drain("a:80");
  CHECK(pool.why().reason == Reason::drained);
  CHECK(message(pool.why(), {}) == "a:80: drained; ends by: undrain()");
}

TEST_CASE("an ejected backend says its criterion, its numbers, and when it comes back") {
  Pool pool;
  pool.run(5, Result::error);
  auto const why = pool.why();
  REQUIRE(why.reason == Reason::ejected);
  CHECK(why.cause == "consecutive failures");
  CHECK(why.value == 5);
  CHECK(why.limit == 5);
  REQUIRE(why.since);
  CHECK(*why.since == pool.clock.now());
  REQUIRE(why.until);
  CHECK(*why.until - *why.since >= 30s);

  // It does come back then, within a tick.
  pool.pass(*why.until - pool.clock.now() - 1s);
  CHECK(pool.health() == HealthState::unhealthy);
  pool.pass(2s);
  CHECK(pool.health() == HealthState::healthy);
  CHECK(pool.why().reason == Reason::probation);
}

TEST_CASE("a backend that can't be connected to comes back sooner, and why() knows") {
  Pool pool;
  pool.run(1, Result::refused);
  auto const why = pool.why();
  REQUIRE(why.reason == Reason::ejected);
  CHECK(*why.until - *why.since <= 6s);
}

TEST_CASE("a backend whose trial request is in flight waits for its result") {
  Pool pool;
  pool.run(5, Result::error);
  pool.pass(40s);
  CHECK(pool.why().reason == Reason::probation);
  decltype(pool.servers)::Lease trial;
  for (int i = 0; i < 100 && pool.why().reason != Reason::on_trial; ++i) {
    auto lease = pool.servers.pick();
    if (lease->id() == "a:80") trial = std::move(lease);
    else lease.finish();
  }
  auto const why = pool.why();
  CHECK(why.reason == Reason::on_trial);
  CHECK(why.value == 1);
  CHECK(why.limit == 1);

  trial.finish(Result::success);
  pool.pass(1s);
  auto const warming = pool.why();
  CHECK(warming.reason == Reason::slow_start);
  REQUIRE(warming.until);
  pool.pass(*warming.until - pool.clock.now() + 1s);
  CHECK(pool.why().reason == Reason::none);
}

TEST_CASE("a backend at its limit says how many requests it has") {
  Pool pool;
  pool.servers.set_admission("a:80", {.max_in_flight = 2});
  std::vector<decltype(pool.servers)::Lease> leases;
  for (int i = 0; i < 12; ++i) leases.push_back(pool.servers.pick());
  auto const why = pool.why();
  CHECK(why.reason == Reason::full);
  CHECK(why.value == 2);
  CHECK(why.limit == 2);
  leases.clear();
  CHECK(pool.why().reason == Reason::none);
}

TEST_CASE("a backend that accepts a fraction of its picks says which") {
  Pool pool;
  pool.servers.set_admission("a:80", {.share = std::uint32_t{1} << 30U});
  CHECK(pool.why().reason == Reason::limited);
  CHECK(pool.why().value == Approx(0.25));
}

TEST_CASE("a request that excludes a backend is told so") {
  Pool pool;
  std::vector<std::uint64_t> const tried{pool.servers.stats().backends[0].serial};
  CHECK(pool.why("a:80", {.excluded = tried}).reason == Reason::excluded);
  CHECK(pool.why("b:80", {.excluded = tried}).reason == Reason::none);
}

TEST_CASE("a request that asks for what a backend has not is told so") {
  Pool pool;
  auto const is_b = [](Backend const& backend) { return backend.id() == "b:80"; };
  CHECK(pool.why("a:80", {.condition = is_b}).reason == Reason::condition);
  CHECK(pool.why("b:80", {.condition = is_b}).reason == Reason::none);
  auto const behind = pool.why("a:80", {.after = 7});
  CHECK(behind.reason == Reason::behind);
  CHECK(behind.value == 0);
  CHECK(behind.limit == 7);
}

TEST_CASE("a report of ill health goes through the monitor and ends with the next one") {
  Pool pool;
  pool.servers.report_health("a:80", HealthState::unhealthy);
  pool.pass(1s);
  CHECK(pool.why().reason == Reason::down);
  CHECK_FALSE(pool.why().until);
  pool.servers.report_health("a:80", HealthState::healthy);
  pool.pass(1s);
  CHECK(pool.why().reason == Reason::probation);
}

TEST_CASE("without a monitor there are fewer reasons, and they are right") {
  Balancer<RoundRobin> servers{endpoints({"a:80", "b:80"})};
  CHECK(analysis::why(servers, "a:80").reason == Reason::none);
  CHECK(analysis::why(servers, "x").reason == Reason::unknown);
  servers.report_health("a:80", HealthState::degraded);
  CHECK(analysis::why(servers, "a:80").reason == Reason::degraded);
  servers.report_health("a:80", HealthState::unhealthy);
  CHECK(analysis::why(servers, "a:80").reason == Reason::declared);
}

TEST_CASE("the message says since when, why, and for how long") {
  Pool pool;
  pool.run(5, Result::error);
  auto why = pool.why();
  why.until = pool.clock.now() + 18s;
  CHECK(message(why, pool.clock.now() + 12s) ==
        "a:80: ejected since 12.0 s (consecutive failures 5, limit 5), for 6.0 s more; then one "
        "trial request decides");
}

}  // namespace unit_analysis_why
