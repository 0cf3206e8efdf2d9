// SPDX-License-Identifier: MIT
#include <poise/observe/meter.hpp>
#include <poise/observe/reader.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <poise/health/monitor.hpp>
#include <poise/observe/prometheus.hpp>
#include <poise/poise.hpp>
#include <support/catch.hpp>
#include <support/exposition.hpp>

namespace unit_observe_meter {

namespace {

using namespace std::chrono_literals;
using namespace poise;
using observe::Meter;
using observe::Reader;
using observe::Refusal;
using observe::Snapshot;

template <class Policy = RoundRobin, class... Observers>
struct World {
  using R = Runtime<VirtualClock, Observers..., Meter<>>;
  explicit World(std::vector<Endpoint> endpoints, Policy policy = {})
      : servers{std::in_place, std::move(endpoints), std::move(policy),
                R{.clock = clock, .seed = 1}} {}

  /// One request, which takes 10 ms, on the backend that the policy picks.
  void ask(Outcome outcome = {}, Duration latency = 10ms) {
    auto lease = servers->pick();
    REQUIRE(lease);
    clock.advance(latency);
    lease.finish(outcome);
  }

  VirtualClock clock;
  std::optional<Balancer<Policy, void, R>> servers;
};

observe::BackendSnapshot const* find(Snapshot const& snapshot, std::string_view id) {
  auto const found = std::ranges::find(snapshot.backends, id, &observe::BackendSnapshot::id);
  return found == snapshot.backends.end() ? nullptr : &*found;
}
std::uint64_t completed(Snapshot const& snapshot, Result result) {
  return snapshot.requests.completed[static_cast<std::size_t>(result)];
}
std::uint64_t sum_of_parts(Snapshot const& snapshot) {
  auto sum = snapshot.other.all_completed();
  for (auto const& backend : snapshot.backends) sum += backend.requests.all_completed();
  return sum;
}

/// All that must never decrease, by name.
std::map<std::string, double> counters(Snapshot const& snapshot) {
  std::map<std::string, double> all;
  auto const note = [&](std::string const& name, observe::Requests const& requests,
                        observe::LatencySummary const& latency) {
    for (std::size_t i = 0; i < result_count; ++i)
      all[name + "/" + std::to_string(i)] = static_cast<double>(requests.completed[i]);
    all[name + "/count"] = static_cast<double>(latency.count);
    all[name + "/sum"] = latency.sum_s;
  };
  note("", snapshot.requests, {snapshot.attempts.total(), snapshot.attempts_sum_s, {}});
  note("other", snapshot.other, snapshot.other_latency);
  for (auto const& backend : snapshot.backends) note(backend.id, backend.requests, backend.latency);
  return all;
}

/// Remembers the highest value of each series, also of those that are away at the moment.
struct Watch {
  void look(Snapshot const& snapshot) {
    for (auto const& [name, value] : counters(snapshot)) {
      auto& highest = seen[name];
      if (value < highest) fallen += name + " fell from " + std::to_string(highest) + "; ";
      highest = value;
    }
  }
  /// All requests in series that were ever seen.
  [[nodiscard]] double sum_of_parts() const {
    double sum = 0;
    for (auto const& [name, value] : seen)
      if (!name.starts_with('/') && !name.ends_with("/count") && !name.ends_with("/sum"))
        sum += value;
    return sum;
  }
  std::map<std::string, double> seen{};
  std::string fallen{};
};

}  // namespace

TEST_CASE("requests are counted by outcome, and their latencies by backend", "[observe]") {
  World<> world{endpoints({"a", "b"})};
  Reader const reader{"orders", *world.servers};
  for (int i = 0; i < 40; ++i) world.ask({}, i % 2 == 0 ? 10ms : 30ms);
  world.ask(Result::timeout, 500ms);
  auto const open = world.servers->pick();

  auto const snapshot = reader.read();
  CHECK(snapshot.balancer == "orders");
  CHECK(snapshot.facts.policy == "round_robin");
  CHECK(completed(snapshot, Result::success) == 40);
  CHECK(completed(snapshot, Result::timeout) == 1);
  CHECK(snapshot.requests.in_flight == 1);
  CHECK(snapshot.attempts.total() == 41);
  CHECK(std::abs(snapshot.attempts_sum_s - 1.3) <= 1.3 * observe::Scale::bound);
  REQUIRE(find(snapshot, "a") != nullptr);
  auto const& a = *find(snapshot, "a");
  CHECK(a.requests.all_completed() + find(snapshot, "b")->requests.all_completed() == 41);
  REQUIRE(a.latency.recent.p50);
  CHECK(std::abs(static_cast<double>(a.latency.recent.p50->count()) / 1e7 - 1) <= 0.01);
  CHECK_FALSE(a.latency.recent.p99);  // of 21 latencies
}

TEST_CASE("a latency of a request that was cancelled or given up says nothing", "[observe]") {
  World<> world{endpoints({"a"})};
  Reader const reader{"", *world.servers};
  world.ask(Result::cancelled);
  {
    auto const abandoned = world.servers->pick();
  }
  auto const snapshot = reader.read();
  CHECK(snapshot.attempts.total() == 0);
  CHECK(completed(snapshot, Result::cancelled) == 1);
  CHECK(completed(snapshot, Result::abandoned) == 1);
}

TEST_CASE("no counter falls when a backend is replaced, removed or added again", "[observe]") {
  World<> world{endpoints({"a", "b"})};
  Reader const reader{"", *world.servers};
  Watch watch;
  std::vector<decltype(world.servers->pick())> leases;
  std::uint64_t started = 0;
  for (int round = 0; round < 60; ++round) {
    for (int i = 0; i < 7; ++i, ++started) leases.push_back(world.servers->pick());
    watch.look(reader.read());
    auto all = endpoints({"a", "b"});
    all[0].zone = std::to_string(round);  // a is replaced every time
    if (round % 3 == 1) all.pop_back();
    world.servers->update(all);
    watch.look(reader.read());
    for (std::size_t i = 0; i < leases.size(); i += 2) leases[i].finish(Result::error);
    std::erase_if(leases, [](auto const& lease) { return !lease; });
    watch.look(reader.read());
    world.clock.advance(7s);
  }
  for (auto& lease : leases) lease.finish();
  leases.clear();
  world.servers->tick();
  auto const last = reader.read();
  watch.look(last);
  CHECK(watch.fallen.empty());
  CHECK(last.requests.in_flight == 0);
  CHECK(last.requests.all_completed() == started);
  CHECK(watch.sum_of_parts() == static_cast<double>(started));
  CHECK(last.attempts.total() == started);
}

TEST_CASE("what left before anyone read it is counted all the same", "[observe]") {
  World<> world{endpoints({"stays"})};
  std::uint64_t asked = 0;
  for (int i = 0; i < 700; ++i) {
    world.servers->update(endpoints({"stays", ("pod-" + std::to_string(i)).c_str()}));
    for (int k = 0; k < 4; ++k, ++asked) world.ask();
  }
  Reader const reader{"", *world.servers};
  auto const snapshot = reader.read();
  CHECK(snapshot.requests.all_completed() == asked);
  CHECK(sum_of_parts(snapshot) == asked);
  CHECK(snapshot.attempts.total() == asked);
  CHECK(snapshot.backends.size() == 2);
}

TEST_CASE("beyond the cap backends are counted together, without a dip", "[observe]") {
  World<> world{endpoints({"a", "b", "c", "d", "e"})};
  Reader const reader{"", *world.servers, {.cap = 2}};
  Watch watch;
  auto const ask_all = [&] {
    for (int i = 0; i < 30; ++i) world.ask();
    auto snapshot = reader.read();
    watch.look(snapshot);
    CHECK(watch.sum_of_parts() == static_cast<double>(snapshot.requests.all_completed()));
    return snapshot;
  };
  auto first = ask_all();
  CHECK(first.backends.size() == 2);
  CHECK(first.unlisted == 3);
  CHECK(first.other.all_completed() == 18);

  world.servers->remove("a");  // c gets its name, and starts at 0
  auto second = reader.read();
  watch.look(second);
  REQUIRE(find(second, "c") != nullptr);
  CHECK(find(second, "c")->requests.all_completed() == 0);
  CHECK(second.other.all_completed() == 18);
  ask_all();

  world.servers->add({.id = "a"});  // no name is free
  auto const third = ask_all();
  CHECK(find(third, "a") == nullptr);
  world.servers->remove("b");
  auto const fourth = ask_all();
  REQUIRE(find(fourth, "d") != nullptr);  // d comes before a
  world.servers->remove("c");
  auto const fifth = ask_all();
  REQUIRE(find(fifth, "e") != nullptr);
  world.servers->remove("d");
  auto const sixth = ask_all();
  REQUIRE(find(sixth, "a") != nullptr);
  CHECK(find(sixth, "a")->requests.all_completed() == 6);  // what it had with a name before
  CHECK(find(ask_all(), "a")->requests.all_completed() == 6 + 15);
  CHECK(watch.fallen.empty());
}

TEST_CASE("the options of a second reader hold from the next reading on", "[observe]") {
  World<> world{endpoints({"a", "b", "c", "d", "e"})};
  Watch watch;
  auto const ask_all = [&](Reader const& reader) {
    for (int i = 0; i < 5; ++i) world.ask();
    auto snapshot = reader.read();
    watch.look(snapshot);
    CHECK(watch.sum_of_parts() == static_cast<double>(snapshot.requests.all_completed()));
    return snapshot;
  };
  Reader const two{"", *world.servers, {.cap = 2}};
  CHECK(ask_all(two).other.all_completed() == 3);

  SECTION("a higher cap names more backends, which start at 0") {
    Reader const four{"", *world.servers, {.cap = 4}};
    auto const more = four.read();
    CHECK(more.backends.size() == 4);
    CHECK(more.unlisted == 1);
    CHECK(find(more, "c")->requests.all_completed() == 0);
    CHECK(find(ask_all(two), "c")->requests.all_completed() == 1);
  }
  SECTION("a lower cap counts the last ones as others, and their series go on later") {
    Reader const one{"", *world.servers, {.cap = 1}};
    auto const less = one.read();
    CHECK(less.backends.size() == 1);
    CHECK(less.unlisted == 4);
    CHECK(less.other.all_completed() == 3);  // what b had counted is in its series
    CHECK(ask_all(one).other.all_completed() == 3 + 4);
    Reader const again{"", *world.servers, {.cap = 2}};
    auto const regained = again.read();
    CHECK(find(regained, "b")->requests.all_completed() == 1);
    CHECK(find(regained, "b")->latency.count == 1);
    CHECK(find(ask_all(again), "b")->requests.all_completed() == 2);
  }
  SECTION("histograms begin when they are first wanted, and never fall") {
    world.clock.advance(10min);
    (void)two.read();  // what was counted so far is settled
    Reader const with{"", *world.servers, {.cap = 2, .histograms = true}};
    auto const first = ask_all(with);
    REQUIRE(find(first, "a")->attempts);
    CHECK(find(first, "a")->attempts->total() == 1);
    CHECK(find(first, "a")->latency.count == 2);
    tests::Exposition const text{observe::metrics_text(std::span{&first, 1})};
    auto const sum =
        text.samples().find("poise_backend_attempt_latency_seconds_sum{backend=\"a\"}");
    REQUIRE(sum != text.samples().end());
    CHECK(sum->second == Approx(0.01).epsilon(0.01));  // of its own one latency
    Reader const without{"", *world.servers, {.cap = 2}};
    CHECK_FALSE(find(ask_all(without), "a")->attempts);
    Reader const last{"", *world.servers, {.cap = 2, .histograms = true}};
    CHECK(find(ask_all(last), "a")->attempts->total() == 3);
  }
  CHECK(watch.fallen.empty());
}

TEST_CASE("with a cap of 0 there are no names", "[observe]") {
  World<> world{endpoints({"a", "b"})};
  Reader const reader{"", *world.servers, {.cap = 0}};
  world.ask();
  auto const snapshot = reader.read();
  CHECK(snapshot.backends.empty());
  CHECK(snapshot.other.all_completed() == 1);
  CHECK(snapshot.other_latency.count == 1);
}

TEST_CASE("series of ids that never come back are forgotten in time", "[observe]") {
  World<> world{endpoints({"stays"})};
  Reader const reader{"", *world.servers, {.cap = 10, .remembered = 5}};
  std::uint64_t asked = 0;
  for (int i = 0; i < 50; ++i) {
    world.servers->update(endpoints({"stays", std::to_string(i).c_str()}));
    for (int k = 0; k < 2; ++k, ++asked) world.ask();
    (void)reader.read();
  }
  world.servers->update(endpoints({"stays", "48", "0"}));
  auto const snapshot = reader.read();
  CHECK(snapshot.requests.all_completed() == asked);
  CHECK(find(snapshot, "48")->requests.all_completed() == 1);
  CHECK(find(snapshot, "0")->requests.all_completed() == 0);
}

TEST_CASE("without a limit no series is forgotten", "[observe]") {
  World<> world{endpoints({"stays", "0"})};
  Reader const reader{"", *world.servers, {.remembered = ~std::size_t{0}}};
  for (int k = 0; k < 2; ++k) world.ask();
  (void)reader.read();
  for (auto const* id : {"1", "2", "0"}) {
    world.servers->update(endpoints({"stays", id}));
    (void)reader.read();
  }
  CHECK(find(reader.read(), "0")->requests.all_completed() == 1);
}

TEST_CASE("refusals are counted by their reason", "[observe]") {
  World<> world{endpoints({"a"})};
  auto& servers = *world.servers;
  Reader const reader{"", servers};
  auto const refused = [&](Refusal refusal) {
    CHECK_FALSE(servers.pick());
    return reader.read().refusals[static_cast<std::size_t>(refusal)];
  };
  servers.drain("a");
  CHECK(refused(Refusal::drained) == 1);
  servers.undrain("a");
  servers.set_health("a", HealthState::unhealthy);
  CHECK(refused(Refusal::unhealthy) == 1);
  servers.set_health("a", std::nullopt);
  servers.set_admission("a", {.max_in_flight = 1});
  auto const open = servers.pick();
  CHECK(refused(Refusal::limit) == 1);
  servers.clear();
  CHECK(refused(Refusal::empty) == 1);
}

TEST_CASE("retries and failed calls are counted, with the time they took", "[observe]") {
  World<Retry<RoundRobin>> world{endpoints({"a", "b"}),
                                 Retry<RoundRobin>{{.attempts = 3, .timeout = 10s}}};
  Reader reader{"", *world.servers};
  int calls = 0;
  auto const fetch = [&](auto&) {
    world.clock.advance(20ms);
    return Outcome{++calls % 2 == 0 ? Result::success : Result::error};  // each call fails once
  };
  for (int i = 0; i < 3; ++i) CHECK(world.servers->call(fetch) == Outcome{});
  auto const snapshot = reader.read();
  CHECK(snapshot.retries == 3);
  CHECK(snapshot.hedges == 0);
  CHECK(snapshot.calls.total() == 3);
  CHECK(snapshot.calls_sum_s >= 3 * 0.04 * 0.99);
  CHECK(snapshot.stopped_calls[static_cast<std::size_t>(StopReason::settled)] == 3);
  CHECK(completed(snapshot, Result::error) == 3);
  CHECK(completed(snapshot, Result::success) == 3);
}

TEST_CASE("the intended share follows weights, drains and health", "[observe]") {
  std::vector<Endpoint> all{{.id = "a", .weight = 1},
                            {.id = "b", .weight = 3},
                            {.id = "c", .weight = 4},
                            {.id = "d", .weight = 2}};
  World<> world{all};
  Reader const reader{"", *world.servers};
  auto const share = [&](std::string_view id) { return find(reader.read(), id)->intended_share; };
  CHECK(share("b") == Approx(0.3));
  world.servers->drain("d");
  CHECK(share("b") == Approx(3.0 / 8));
  CHECK(share("d") == 0);
  world.servers->set_health("c", HealthState::unhealthy);
  CHECK(share("b") == Approx(0.75));
  CHECK(share("c") == 0);
  auto const snapshot = reader.read();
  CHECK(snapshot.set.drained == 1);
  CHECK(snapshot.set.unhealthy == 1);
  CHECK(snapshot.set.healthy == 2);
}

TEST_CASE("the observed share is of what was completed lately", "[observe]") {
  World<> world{endpoints({"a", "b", "c", "d"})};
  Reader const reader{"", *world.servers};
  for (int i = 0; i < 400; ++i) world.ask();
  CHECK(find(reader.read(), "a")->observed_share == Approx(0.25));
  world.clock.advance(1min);
  (void)reader.read();  // a window ends
  world.servers->drain("a");
  for (int i = 0; i < 300; ++i) world.ask({}, 120ms);
  CHECK(find(reader.read(), "a")->observed_share == 0);
}

TEST_CASE("ejections are counted by cause, and phases told", "[observe]") {
  World<RoundRobin, health::Standard> world{endpoints({"a", "b", "c", "d", "e"})};
  Reader const reader{"", *world.servers};
  world.servers->tick();
  for (int i = 0; i < 100; ++i) {
    auto lease = world.servers->pick();
    world.clock.advance(1ms);
    bool const broken = lease->id() == "c";
    lease.finish(broken ? Result::error : Result::success);
  }
  auto const snapshot = reader.read();
  REQUIRE(snapshot.ejections.size() == 1);
  CHECK(snapshot.ejections[0].cause == "consecutive failures");
  CHECK(snapshot.ejections[0].enforcement == "enforced");
  CHECK(snapshot.ejections[0].count == 1);
  CHECK(find(snapshot, "c")->phase == health::Phase::ejected);
  CHECK(find(snapshot, "c")->intended_share == 0);
  CHECK(find(snapshot, "a")->phase == health::Phase::healthy);
  CHECK(snapshot.set.unhealthy == 1);
  CHECK_FALSE(snapshot.facts.panicking);
}

TEST_CASE("in a panic those that are ill are counted as such, and intended to serve", "[observe]") {
  World<RoundRobin, health::Standard> world{endpoints({"a", "b", "c", "d", "e"})};
  world.servers->tick();
  world.servers->set_health("a", HealthState::unhealthy);
  for (auto const* id : {"b", "c", "d"}) world.servers->report_health(id, HealthState::unhealthy);
  world.clock.advance(1s);
  world.servers->tick();
  auto const snapshot = Reader{"x", *world.servers}.read();
  REQUIRE(snapshot.facts.panicking);
  CHECK(snapshot.set.unhealthy == 4);
  CHECK(snapshot.set.healthy == 1);
  CHECK(snapshot.backends[0].health == HealthState::unhealthy);
  CHECK(snapshot.backends[0].intended_share == 0);  // as the operator wants it
  CHECK(snapshot.backends[1].health == HealthState::unhealthy);
  CHECK(snapshot.backends[1].intended_share == Approx(0.25));
}

TEST_CASE("a reading has what slow start admits now, also if no tick published it", "[observe]") {
  World<RoundRobin, health::Standard> world{endpoints({"a", "b", "c"})};
  Reader const reader{"", *world.servers};
  auto const run_until = [&](health::Phase phase, Result of_c) {
    for (int i = 0; i < 10'000 && find(reader.read(), "c")->phase != phase; ++i) {
      auto lease = world.servers->pick();
      world.clock.advance(10ms);
      lease.finish(lease->id() == "c" ? of_c : Result::success);
      if (i % 100 == 99) world.servers->tick();
    }
    auto const snapshot = reader.read();
    REQUIRE(find(snapshot, "c")->phase == phase);
    return *find(snapshot, "c");
  };
  world.servers->tick();
  run_until(health::Phase::ejected, Result::error);
  run_until(health::Phase::slow_start, Result::success);
  world.clock.advance(1s);
  world.servers->tick();
  CHECK(find(reader.read(), "c")->admitted < 1);
  CHECK(find(reader.read(), "c")->intended_share < 0.33);
  auto const served = run_until(health::Phase::healthy, Result::success);
  CHECK(served.admitted == 1);
  CHECK(served.intended_share == Approx(1.0 / 3));
}

TEST_CASE("a reader outlives its balancer and repeats what was counted", "[observe]") {
  World<> world{endpoints({"a"})};
  Reader const reader{"", *world.servers};
  world.ask();
  auto late = world.servers->pick();
  world.servers.reset();
  auto snapshot = reader.read();
  CHECK(snapshot.facts.policy.empty());
  CHECK(snapshot.requests.all_completed() == 1);
  CHECK(snapshot.requests.in_flight == 1);
  late.finish();
  snapshot = reader.read();
  CHECK(snapshot.requests.all_completed() == 2);
  CHECK(snapshot.requests.in_flight == 0);
}

TEST_CASE("a reader tells why and since when a backend is out, and for how long", "[observe]") {
  World<RoundRobin, health::Standard> world{endpoints({"a", "b", "c"})};
  Reader const reader{"", *world.servers};
  CHECK(reader.read().backends[2].transition == nullptr);
  auto const began = world.clock.now();
  while (find(reader.read(), "c")->phase == health::Phase::healthy) {
    auto lease = world.servers->pick();
    world.clock.advance(1ms);
    lease.finish(lease->id() == "c" ? Result::error : Result::success);
  }
  auto const snapshot = reader.read();
  auto const& why = snapshot.backends[2].transition;
  REQUIRE(why);
  CHECK(why->to == health::Phase::ejected);
  CHECK(why->cause == "consecutive failures");
  CHECK(why->value == why->limit);
  CHECK(why->at > began);
  CHECK(why->at <= snapshot.at);
  CHECK(why->lasts > 1s);
  CHECK(snapshot.backends[0].transition == nullptr);
}

TEST_CASE("a backend that replaces an ejected one has no reason to be out", "[observe]") {
  World<RoundRobin, health::Standard> world{endpoints({"a", "b", "c"})};
  Reader const reader{"", *world.servers};
  while (find(reader.read(), "c")->phase == health::Phase::healthy) {
    auto lease = world.servers->pick();
    lease.finish(lease->id() == "c" ? Result::error : Result::success);
  }
  auto all = endpoints({"a", "b", "c"});
  all[2].address = "elsewhere:1";
  world.servers->update(all);
  auto const snapshot = reader.read();
  auto const* const replaced = find(snapshot, "c");
  REQUIRE(replaced);
  CHECK(replaced->phase != health::Phase::ejected);
  CHECK((!replaced->transition || replaced->transition->to == replaced->phase));
}

TEST_CASE("events are numbered, dated, and told from a number on", "[observe]") {
  World<RoundRobin, health::Standard> world{endpoints({"a", "b", "c"})};
  Reader const reader{"", *world.servers};
  CHECK(reader.events().empty());
  world.clock.advance(5s);
  world.servers->drain("a");
  world.servers->set_weight("b", 7);  // some change weights every second
  auto const first = reader.events();
  REQUIRE(first.size() == 2);
  CHECK(first[0].line == "a: drained");
  CHECK(first[0].id == "a");
  CHECK(first[0].at == world.clock.now());
  CHECK(first[1].number == first[0].number + 1);
  CHECK(first[1].id == "a");  // it is empty, too
  world.clock.advance(5s);
  CHECK(reader.events()[0].at == first[0].at);
  CHECK(reader.events(first[1].number).empty());
  while (find(reader.read(), "c")->phase == health::Phase::healthy) {
    auto lease = world.servers->pick();
    lease.finish(lease->id() == "c" ? Result::error : Result::success);
  }
  auto const more = reader.events(first[1].number);
  REQUIRE(more.size() == 1);
  CHECK(more[0].level == observe::Level::warning);
  CHECK(more[0].line.starts_with("c: healthy -> ejected for "));
}

TEST_CASE("of events only the last are kept", "[observe]") {
  World<> world{endpoints({"a", "b"})};
  Reader const reader{"", *world.servers};
  for (int i = 0; i < 200; ++i) {
    world.servers->drain("a");
    world.servers->undrain("a");
  }
  auto const events = reader.events();
  REQUIRE(events.size() == observe::EventLog::max);
  CHECK(events.back().number == 600);  // drained, empty, undrained
  CHECK(events.back().line == "a: undrained");
}

TEST_CASE("a limit that is touched all the time is summed up in two lines", "[observe]") {
  World<> world{endpoints({"a"})};
  Reader const reader{"", *world.servers};
  world.servers->drain("a");
  world.servers->undrain("a");
  auto const touch = [&] {
    world.servers->set_admission("a", {.max_in_flight = 1});
    auto const lease = world.servers->pick();
    CHECK_FALSE(world.servers->pick());
  };
  for (int second = 0; second < 300; ++second) {
    touch();
    world.clock.advance(1s);
    world.servers->tick();
    (void)reader.events();
  }
  auto const events = reader.events();
  REQUIRE(events.size() == 5);
  CHECK(events[3].line.ends_with("in flight (300 times in 299 s)"));
  CHECK(events[4].line.ends_with("below its limit (300 times in 299 s)"));
  CHECK(events[3].series != 0);
  world.clock.advance(2min);
  (void)reader.events();
  touch();
  CHECK(reader.events().size() == 7);
}

TEST_CASE("what comes and goes does not push out what else happened", "[observe]") {
  World<> world{endpoints({"a", "b"})};
  Reader const reader{"", *world.servers};
  world.servers->drain("a");
  for (int i = 0; i < 500; ++i) {
    world.servers->add({.id = "c"});
    world.servers->remove("c");
  }
  auto const events = reader.events();
  CHECK(events.size() == 42);
  CHECK(events[0].line == "a: drained");
}

TEST_CASE("a panic between ticks is not dated before what caused it", "[observe]") {
  World<RoundRobin, health::Standard> world{endpoints({"a", "b", "c"})};
  Reader const reader{"", *world.servers};
  world.servers->tick();
  world.clock.advance(900ms);
  for (auto const* id : {"a", "b"}) world.servers->set_health(id, HealthState::unhealthy);
  (void)reader.events();
  world.clock.advance(100ms);
  world.servers->tick();
  auto const events = reader.events();
  REQUIRE(events.size() == 3);
  CHECK(events[0].line == "a: declared unhealthy by the operator");
  CHECK(events[2].line.starts_with("panic begins"));
  CHECK(events[2].at == world.clock.now());
  CHECK(events[2].at > events[1].at);
}

TEST_CASE("a meter serves one balancer", "[observe]") {
  using R = Runtime<VirtualClock, Meter<>>;
  Balancer<RoundRobin, void, R> one{endpoints({"a"})};
  R runtime;
  std::get<Meter<>>(runtime.observers) = one.observer<Meter<>>();
  CHECK_THROWS_AS((Balancer<RoundRobin, void, R>{endpoints({"a"}), {}, runtime}), ConfigError);
}

TEST_CASE("without latencies a meter needs no clock and counts all the same", "[observe]") {
  using Counting = Meter<observe::MeterOptions{.latency = false}>;
  static_assert(!Counting::uses_time);
  static_assert(!poise::detail::observes_finish<Counting>);
  Balancer<RoundRobin, void, Runtime<VirtualClock, Counting>> servers{endpoints({"a", "b"})};
  Reader const reader{"", servers};
  for (int i = 0; i < 10; ++i) servers.pick().finish();
  auto const snapshot = reader.read();
  CHECK_FALSE(snapshot.measures_latency);
  CHECK(snapshot.requests.all_completed() == 10);
  CHECK(snapshot.attempts.total() == 0);
}

TEST_CASE("of sampled latencies one in so many is recorded, and every request counted",
          "[observe]") {
  using Sampling = Meter<observe::MeterOptions{.sampling = 3}>;
  Balancer<RoundRobin, void, Runtime<VirtualClock, Sampling>> servers{endpoints({"a", "b"})};
  Reader const reader{"", servers};
  for (int i = 0; i < 800; ++i) servers.pick().finish();
  auto const snapshot = reader.read();
  CHECK(snapshot.requests.all_completed() == 800);
  CHECK(snapshot.attempts.total() == 100);
}

TEST_CASE("sampling does not keep step with round robin", "[observe]") {
  // Each of 8 backends gets a sample with probability 1/8, 4000 times: 500 are expected, with a
  // standard deviation of 21. Five of them are 105.
  using Sampling = Meter<observe::MeterOptions{.sampling = 3}>;
  Balancer<RoundRobin, void, Runtime<VirtualClock, Sampling>> servers{
      endpoints({"a", "b", "c", "d", "e", "f", "g", "h"})};
  Reader const reader{"", servers};
  for (int i = 0; i < 32'000; ++i) servers.pick().finish();
  auto const snapshot = reader.read();
  CHECK(snapshot.attempts.total() == 4000);
  for (auto const& backend : snapshot.backends) {
    CAPTURE(backend.id);
    CHECK(std::abs(static_cast<double>(backend.latency.count) - 500) < 105);
  }
}

TEST_CASE("a clock that stands still or jumps back spoils no number", "[observe]") {
  World<> world{endpoints({"a"})};
  Reader const reader{"", *world.servers};
  Watch watch;
  for (int i = 0; i < 30; ++i) {
    world.ask({}, 0ns);
    if (i % 5 == 0) world.clock.set(Time{1h * (30 - i)});
    if (i % 7 == 0) world.clock.set(Time::max());
    if (i % 8 == 0) world.clock.set(Time::min());
    watch.look(reader.read());
  }
  CHECK(watch.fallen.empty());
  CHECK(reader.read().requests.all_completed() == 30);
}

TEST_CASE("the fingerprint tells sets apart, whatever their order", "[observe]") {
  auto const fingerprint = [](std::vector<Endpoint> all) {
    World<> world{std::move(all)};
    return Reader{"", *world.servers}.read().fingerprint;
  };
  CHECK(fingerprint(endpoints({"a", "b"})) == fingerprint(endpoints({"b", "a"})));
  CHECK(fingerprint(endpoints({"a", "b"})) != fingerprint(endpoints({"a", "c"})));
  CHECK(fingerprint(endpoints({"a", "b"})) < std::uint64_t{1} << 53U);
}

TEST_CASE("the fingerprint of a changed set is that of a new client with this set", "[observe]") {
  World<> world{{{.id = "a", .address = "10.0.0.1:80"}}};
  std::vector<Endpoint> const moved{{.id = "a", .address = "10.0.0.2:80"}};
  Reader const reader{"", *world.servers};
  auto const before = reader.read().fingerprint;
  world.servers->update(moved);
  World<> other{moved};
  CHECK(reader.read().fingerprint != before);
  CHECK(reader.read().fingerprint == Reader{"", *other.servers}.read().fingerprint);
}

TEST_CASE("an id that one change removes and adds again loses no count", "[observe]") {
  World<> world{endpoints({"a", "b"})};
  Reader const reader{"", *world.servers};
  Watch watch;
  for (int round = 0; round < 4; ++round) {
    for (int i = 0; i < 10; ++i) world.ask();
    auto held = world.servers->pick();
    watch.look(reader.read());
    world.servers->apply(Changes{}.remove("a").add({.id = "a", .address = "a"}));
    watch.look(reader.read());
    held.finish();
    watch.look(reader.read());
  }
  CHECK(watch.fallen.empty());
  auto const snapshot = reader.read();
  CHECK(snapshot.requests.all_completed() == 44);
  CHECK(sum_of_parts(snapshot) == 44);
  CHECK(snapshot.requests.in_flight == 0);
}

TEST_CASE("percentiles are of the last window, not of all time", "[observe]") {
  World<> world{endpoints({"a"})};
  Reader const reader{"", *world.servers, {.window = 10s}};
  for (int i = 0; i < 100; ++i) world.ask({}, 100ms);  // 10 s
  CHECK(reader.read().last_10s.p50->count() > 90'000'000);
  for (int i = 0; i < 1000; ++i) world.ask({}, 6ms);
  auto const snapshot = reader.read();
  CHECK(snapshot.last_10s.p50->count() < 7'000'000);
  CHECK(find(snapshot, "a")->latency.recent.p50->count() < 7'000'000);
  CHECK(snapshot.last_60s.count == 1100);
}

TEST_CASE("a reader says which fraction of all keys a backend has", "[observe]") {
  using R = Runtime<VirtualClock, Meter<>>;
  std::vector<Endpoint> const backends{{.id = "a"}, {.id = "b", .weight = 3}};
  auto const shares = [&](auto const& servers, bool wanted = true) {
    auto const now = Reader{"", servers, observe::ReaderOptions{.arc_shares = wanted}}.read();
    std::vector<std::optional<double>> all;
    for (auto const& each : now.backends) all.push_back(each.arc_share);
    return all;
  };
  auto const near = [](std::optional<double> share, double value) {
    return share && std::abs(*share - value) < 0.03;
  };
  Balancer<Rendezvous, void, R> const rendezvous{backends, {}, R{}};
  CHECK(shares(rendezvous) == std::vector<std::optional<double>>{0.25, 0.75});
  CHECK(shares(rendezvous, false) == std::vector<std::optional<double>>{{}, {}});
  Balancer<AnyPolicy, void, R> any{backends, AnyPolicy{Maglev{}}, R{}};
  CHECK(near(shares(any)[0], 0.25));
  CHECK(near(shares(any)[1], 0.75));
  Balancer<Retry<HashRing<>>, void, R> ring{backends, {}, R{}};
  CHECK(near(shares(ring)[0], 0.25));
  ring.set_health("b", HealthState::unhealthy);
  CHECK(shares(ring)[0] == 1.0);  // its keys are the other's meanwhile
  CHECK(shares(ring)[1] == 0.0);
  any.set_policy(AnyPolicy{RoundRobin{}});
  CHECK_FALSE(shares(any)[0]);  // it has no keys
}

}  // namespace unit_observe_meter
