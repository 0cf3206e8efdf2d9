// SPDX-License-Identifier: MIT

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <support/catch.hpp>

#include <poise/analysis/json.hpp>
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
  CHECK(pool.why().reason == Reason::reported);
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
  CHECK(analysis::why(servers, "a:80").reason == Reason::reported);
  servers.set_health("a:80", HealthState::unhealthy);
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

TEST_CASE("a backend that is ejected and declared unhealthy is out for as long as it is declared") {
  Pool pool;
  pool.run(5, Result::error);
  pool.servers.set_health("a:80", HealthState::unhealthy);
  CHECK(pool.why().reason == Reason::declared);
  CHECK_FALSE(pool.why().until);
  pool.servers.set_health("a:80", std::nullopt);
  CHECK(pool.why().reason == Reason::ejected);
}

TEST_CASE("a time of return that has passed waits for a tick, and says so") {
  Pool pool;
  pool.run(5, Result::error);
  auto why = pool.why();
  CHECK(message(why, *why.until + 12s).find("until one of the next ticks; then one trial") !=
        std::string::npos);
}

TEST_CASE("an ejection that failing probes hold has no end, and says what the probe said") {
  Pool pool;
  pool.run(5, Result::error);
  auto const sentence = *pool.why().until - pool.clock.now();
  for (Duration time{}; time < sentence + 60s; time += 5s) {
    pool.monitor.report("a:80", health::Signal::down, "connection refused");
    pool.pass(5s);
  }
  auto const why = pool.why();
  CHECK(why.reason == Reason::ejected);
  CHECK(why.cause == "consecutive failures");
  CHECK_FALSE(why.until);
  auto const text = message(why, pool.clock.now());
  CHECK(text.find("limit 5), held back by failing probes: connection refused; ends by: probes that "
                  "pass, or that fall silent") != std::string::npos);
  CHECK(json(why, pool.clock.now()).find(R"("left":null)") != std::string::npos);
  pool.monitor.report("a:80", health::Signal::up, "");
  pool.pass(2s);
  CHECK(pool.why().reason == Reason::probation);
}

TEST_CASE("a backend that probes called down comes back once they are silent, and why() says so") {
  Pool pool;
  pool.monitor.report("a:80", health::Signal::down, "no answer");
  pool.pass(1s);
  auto const why = pool.why();
  CHECK(why.reason == Reason::down);
  CHECK(why.cause == "no answer");
  CHECK_FALSE(why.until);
  CHECK(remedy(why) == "probes that pass, or that fall silent");
  pool.monitor.report("a:80", health::Signal::down, "HTTP 503");
  pool.pass(1s);
  CHECK(pool.why().cause == "HTTP 503");
  pool.pass(pool.monitor.probe_silence() + 2s);
  CHECK(pool.why().reason == Reason::probation);
}

TEST_CASE("a degraded backend that is called so again ends later, and why() follows") {
  Pool pool;
  pool.monitor.report("a:80", health::Signal::degrade, "slow");
  pool.pass(1s);
  auto const first = *pool.why().until;
  pool.pass(20s);
  pool.monitor.report("a:80", health::Signal::degrade, "slow");
  pool.pass(1s);
  auto const why = pool.why();
  CHECK(why.reason == Reason::degraded);
  CHECK(*why.until == first + 21s);
  CHECK(*why.since == first - 30s);
}

TEST_CASE("a backend that the cap protects is degraded by its criterion, not limited") {
  Pool pool;
  for (auto const* id : {"c:80", "a:80"})  // the first is ejected, and no other one may be
    for (int i = 0; i < 5; ++i) pool.servers.record(id, Result::error);
  for (int i = 0; i < 5; ++i) pool.servers.record("b:80", Result::success);
  pool.pass(600ms);
  REQUIRE(pool.servers.stats().backends[0].admission.share != Admission{}.share);
  auto const why = pool.why();
  CHECK(why.reason == Reason::degraded);
  CHECK(message(why, pool.clock.now())
            .find("(consecutive failures 5, limit 5), held back by the "
                  "cap on ejections, for ") != std::string::npos);
}

TEST_CASE("a backend that replaced another one warms up until the next tick") {
  Pool pool;
  pool.run(5, Result::error);
  REQUIRE(pool.why().reason == Reason::ejected);
  pool.servers.remove("a:80");
  pool.servers.add({.id = "a:80"});
  auto const why = pool.why();
  CHECK(why.reason == Reason::slow_start);
  CHECK_FALSE(why.until);
  CHECK(message(why, pool.clock.now()) ==
        "a:80: warming up (joined 0.1, limit 1); ends by: the next tick");
  pool.pass(1s);
  CHECK(pool.why().reason == Reason::slow_start);
  CHECK(pool.why().until);
  pool.servers.set_admission("a:80", {.share = 2});
  Balancer<RoundRobin, void, Runtime<VirtualClock, health::Standard>> fresh{
      endpoints({"a:80"}), {}, {.clock = pool.clock, .seed = 1, .observers = {{}}}};
  fresh.set_admission("a:80", {.share = 2});
  CHECK(analysis::why(fresh, fresh.observer<health::Standard>(), "a:80").reason == Reason::limited);
}

TEST_CASE("a degraded backend ends by who called it so") {
  Pool pool;
  pool.servers.set_health("a:80", HealthState::degraded);
  auto const text = "a:80: degraded (declared by the operator); ends by: set_health(id, nullopt)";
  CHECK(message(pool.why(), pool.clock.now()) == text);
  pool.pass(1min);
  CHECK(message(pool.why(), pool.clock.now()) == text);
  Balancer<RoundRobin> servers{endpoints({"a:80", "b:80"})};
  servers.report_health("a:80", HealthState::degraded);
  CHECK(message(analysis::why(servers, "a:80"), {}) ==
        "a:80: degraded (reported); ends by: another report");
  servers.set_health("a:80", HealthState::degraded);
  CHECK(message(analysis::why(servers, "a:80"), {}) == text);
}

TEST_CASE("a cause drives no terminal and has its bounds") {
  Pool pool;
  pool.monitor.report("a:80", health::Signal::down,
                      "x\n\x1b[2J\xe2\x80\xae" + std::string(1U << 20U, 'y'));
  pool.pass(1s);
  auto const why = pool.why();
  auto const text = message(why, pool.clock.now());
  CHECK(text.size() < 400);
  CHECK(text.find("(x\\x0a\\x1b[2J\\u202ey") != std::string::npos);
  CHECK(json(why, pool.clock.now()).size() < 1000);
}

TEST_CASE("a limit of no request ends by set_admission(), and says its numbers") {
  Pool pool;
  pool.servers.set_admission("a:80", {.max_in_flight = 0});
  CHECK(message(pool.why(), {}) == "a:80: at its limit (0, limit 0); ends by: set_admission()");
  CHECK(json(pool.why(), {}).find(R"("value":0,"limit":0)") != std::string::npos);
}

TEST_CASE("times at the ends of the range have words") {
  analysis::Why why{.id = "a", .reason = Reason::ejected};
  why.since = Time::min();
  why.until = Time::max();
  CHECK(message(why, Time::max() - 1s).find("since 9223372036.8 s, for 1.0 s") !=
        std::string::npos);
  CHECK(message(why, Time::min()).find("since 0.0 s, for 9223372036.8 s more") !=
        std::string::npos);
  CHECK(json(why, Time{}).find("\"since\":9223372036.") != std::string::npos);
}

// -- every way to be passed over, with the reason and the return ----------------------------------

namespace {

/// Something passes a:80 over; and what brings it back, if time alone does not.
struct Way {
  char const* name;
  Reason reason;
  std::function<void(Pool&)> begin;
  std::function<void(Pool&)> end{};
  std::function<Request()> request = [] { return Request{}; };
};

void eject(Pool& pool) { pool.run(5, Result::error); }
/// Ejected, and its time is over.
void begin_trial(Pool& pool) {
  eject(pool);
  pool.pass(*pool.why().until - pool.clock.now() + 1s);
}
/// Picks until a:80 has the request.
auto trial_of(Pool& pool) {
  auto lease = pool.servers.pick();
  for (int i = 0; i < 100 && lease->id() != "a:80"; ++i) lease = pool.servers.pick();
  REQUIRE(lease->id() == "a:80");
  return lease;
}

struct NotA {
  bool operator()(Backend const& backend) const noexcept { return backend.id() != "a:80"; }
};
NotA const not_a;
/// Only serials of this run are known to a request.
std::vector<std::uint64_t> serial_of_a;

std::vector<Way> ways() {
  return {
      {"drained", Reason::drained, [](Pool& pool) { pool.servers.drain("a:80"); },
       [](Pool& pool) { pool.servers.undrain("a:80"); }},
      {"declared unhealthy", Reason::declared,
       [](Pool& pool) { pool.servers.set_health("a:80", HealthState::unhealthy); },
       [](Pool& pool) { pool.servers.set_health("a:80", std::nullopt); }},
      {"weight 0", Reason::weightless, [](Pool& pool) { pool.servers.set_weight("a:80", 0); },
       [](Pool& pool) { pool.servers.set_weight("a:80", std::nullopt); }},
      {"ejected for failures", Reason::ejected, eject},
      {"ejected for refused connections", Reason::ejected,
       [](Pool& pool) { pool.run(1, Result::refused); }},
      {"ejected for the second time", Reason::ejected,
       [](Pool& pool) {
         begin_trial(pool);
         trial_of(pool).finish(Result::error);
         pool.pass(1s);
       }},
      {"down by probes", Reason::down,
       [](Pool& pool) {
         pool.servers.report_health("a:80", HealthState::unhealthy);
         pool.pass(1s);
       },
       [](Pool& pool) {
         pool.servers.report_health("a:80", HealthState::healthy);
         pool.pass(1s);
       }},
      {"a condition", Reason::condition, [](Pool&) {}, [](Pool&) {},
       [] { return Request{.condition = not_a}; }},
      {"behind", Reason::behind, [](Pool&) {}, [](Pool&) {}, [] { return Request{.after = 1}; }},
      {"tried before", Reason::excluded,
       [](Pool& pool) { serial_of_a = {pool.servers.stats().backends[0].serial}; }, [](Pool&) {},
       [] { return Request{.excluded = serial_of_a}; }},
      {"on probation", Reason::probation, begin_trial,
       [](Pool& pool) { trial_of(pool).finish(Result::success); }},
      {"warming up", Reason::slow_start,
       [](Pool& pool) {
         begin_trial(pool);
         trial_of(pool).finish(Result::success);
         pool.pass(1s);
       }},
      {"at no request at all", Reason::full,
       [](Pool& pool) { pool.servers.set_admission("a:80", {.max_in_flight = 0}); },
       [](Pool& pool) { pool.servers.set_admission("a:80", {}); }},
      {"limited", Reason::limited,
       [](Pool& pool) { pool.servers.set_admission("a:80", {.share = 2}); },
       [](Pool& pool) { pool.servers.set_admission("a:80", {}); }},
      {"degraded", Reason::degraded,
       [](Pool& pool) {
         pool.servers.report_health("a:80", HealthState::degraded);
         pool.pass(1s);
       }},
  };
}

}  // namespace

TEST_CASE("each of fifteen ways to be passed over has its reason, and ends when it says") {
  CHECK(ways().size() == 15);
  for (auto const& way : ways()) {
    INFO(way.name);
    Pool pool;
    way.begin(pool);
    auto const request = way.request();
    auto const why = pool.why("a:80", request);
    REQUIRE(why.reason == way.reason);
    for (int i = 0; i < 6; ++i) {
      auto const lease = pool.servers.pick(request);
      bool const reduced = way.reason == Reason::probation || way.reason == Reason::slow_start;
      CHECK((reduced || !lease || lease->id() != "a:80"));
    }
    if (!way.end) {  // time alone
      REQUIRE(why.until.has_value());
      auto const left = *why.until - pool.clock.now();
      pool.pass(left - 1s);
      CHECK(pool.why("a:80", request).reason == way.reason);
      pool.pass(2s);
      CHECK(pool.why("a:80", request).reason != way.reason);
    } else {
      CHECK_FALSE(why.until.has_value());
      pool.pass(10min);  // time alone changes nothing
      CHECK(pool.why("a:80", request).reason == way.reason);
      way.end(pool);
      CHECK(pool.why().reason != way.reason);
    }
  }
}

}  // namespace unit_analysis_why
