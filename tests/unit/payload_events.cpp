// SPDX-License-Identifier: MIT
// What a payload hears of its backend.

#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <poise/balancer.hpp>
#include <poise/health/monitor.hpp>
#include <poise/policy/round_robin.hpp>

#include "support/catch.hpp"
#include "support/clock.hpp"
#include "support/servers.hpp"

namespace unit_payload_events {

using poise::BackendEvent;
using poise::HealthState;
using tests::letters;

namespace {

/// What was heard, by all.
struct Log {
  std::string text{};
  void operator()(std::string const& id, BackendEvent event) {
    text += (text.empty() ? "" : ", ") + id + " " + std::string{name(event)};
  }
  std::string take() { return std::exchange(text, {}); }
};

struct Pool {
  std::shared_ptr<Log> log;
  std::string id;
  void on_event(BackendEvent event) const { (*log)(id, event); }
};
using Clocked = poise::Runtime<tests::Clock>;
using Pools = poise::Balancer<poise::RoundRobin, Pool, Clocked>;

Pools pools(std::shared_ptr<Log> const& log, std::vector<poise::Endpoint> endpoints) {
  return Pools{std::move(endpoints), [log](poise::Endpoint const& endpoint) {
                 return Pool{log, endpoint.id + endpoint.address};
               }};
}

}  // namespace

TEST_CASE("a payload hears that its backend was drained and taken back") {
  auto const log = std::make_shared<Log>();
  auto balancer = pools(log, {{.id = "a"}, {.id = "b"}});
  CHECK(log->take().empty());
  balancer.drain("a");
  balancer.drain("a");
  balancer.undrain("a");
  CHECK(log->take() == "a drained, a undrained");
}

TEST_CASE(
    "a payload is notified when its backend is ejected or readmitted, by a rule or the operator") {
  auto const log = std::make_shared<Log>();
  auto balancer = pools(log, {{.id = "a"}, {.id = "b"}});
  balancer.report_health("a", HealthState::degraded);
  CHECK(log->take().empty());
  balancer.report_health("a", HealthState::unhealthy);
  balancer.set_health("a", HealthState::unhealthy);
  CHECK(log->take() == "a ejected");
  balancer.report_health("a", HealthState::healthy);
  CHECK(log->take().empty());
  balancer.set_health("a", std::nullopt);
  CHECK(log->take() == "a readmitted");
}

TEST_CASE("a payload hears last that its backend was removed, also when another takes its id") {
  auto const log = std::make_shared<Log>();
  auto balancer = pools(log, {{.id = "a", .address = "1"}, {.id = "b"}});
  auto const handle = balancer.find("a");
  balancer.drain("a");
  CHECK_FALSE(handle->removed());
  balancer.update({{.id = "a", .address = "2"}, {.id = "b"}});
  CHECK(log->take() == "a1 drained, a1 removed, a2 drained");
  CHECK(handle->removed());
  CHECK_FALSE(balancer.find("a")->removed());
  balancer.remove("b");
  balancer.clear();
  CHECK(log->take() == "b removed, a2 removed");
}

TEST_CASE("what payloads hear of several changes comes in the order of the backends") {
  auto const log = std::make_shared<Log>();
  auto balancer = pools(log, {{.id = "a"}, {.id = "b"}, {.id = "c"}});
  balancer.apply(
      poise::Changes{}.drain("c").report_health("a", HealthState::unhealthy).remove("b"));
  CHECK(log->take() == "b removed, a ejected, c drained");
}

TEST_CASE("events reach the target of a payload that is a pointer, and null is skipped") {
  auto const log = std::make_shared<Log>();
  poise::Balancer<poise::RoundRobin, std::shared_ptr<Pool>, Clocked> balancer{
      letters("ab"), [&](poise::Endpoint const& endpoint) {
        return endpoint.id == "a" ? std::make_shared<Pool>(Pool{log, endpoint.id}) : nullptr;
      }};
  balancer.drain("a");
  balancer.drain("b");
  CHECK(log->take() == "a drained");
}

TEST_CASE("a payload hears what a monitor decides") {
  auto const log = std::make_shared<Log>();
  poise::Balancer<poise::RoundRobin, Pool, poise::Runtime<tests::Clock, poise::health::Standard>>
      balancer{letters("abc"),
               [&](poise::Endpoint const& endpoint) { return Pool{log, endpoint.id}; }};
  balancer.tick();
  for (int i = 0; i < 30; ++i) {
    auto lease = balancer.pick();
    auto const bad = lease->id() == "c";
    lease.finish(bad ? poise::Result::error : poise::Result::success);
  }
  balancer.tick();
  CHECK(log->take() == "c ejected");
}

namespace {

struct Bad {
  int* calls;
  void on_event(BackendEvent) const {
    ++*calls;
    throw std::runtime_error{"no"};
  }
};

struct Draining {
  poise::Balancer<poise::RoundRobin, Draining>** balancer;
  std::string id;
  void on_event(BackendEvent event) const {
    if (event == BackendEvent::drained && id == "a") (*balancer)->remove("a");
  }
};

}  // namespace

TEST_CASE("what a payload throws is counted, and the change stands") {
  int calls = 0;
  poise::Balancer<poise::RoundRobin, Bad> balancer{letters("ab"),
                                                   [&](auto const&) { return Bad{&calls}; }};
  balancer.drain("a");
  CHECK(calls == 1);
  CHECK(balancer.stats().backends[0].drained);
  CHECK(balancer.stats().observer_failures == 1);
}

TEST_CASE("a payload may change the balancer when it hears something") {
  poise::Balancer<poise::RoundRobin, Draining>* place = nullptr;
  poise::Balancer<poise::RoundRobin, Draining> balancer{
      letters("ab"),
      [&](poise::Endpoint const& endpoint) { return Draining{&place, endpoint.id}; }};
  place = &balancer;
  balancer.drain("a");
  CHECK(tests::ids_of(balancer) == "b");
}

TEST_CASE("the events of backends have names") {
  CHECK(name(BackendEvent::ejected) == "ejected");
  CHECK(name(BackendEvent::removed) == "removed");
}

}  // namespace unit_payload_events
