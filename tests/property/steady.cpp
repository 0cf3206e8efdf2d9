// SPDX-License-Identifier: MIT
// What calls and servers get while a fault lasts. Fractions of 6000 calls and more: a true 1 % is
// measured as 1 % +- 0.4 points (three standard deviations).

#include <array>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <poise/health/monitor.hpp>
#include <poise/poise.hpp>

#include "property/counter.hpp"
#include "property/schedule.hpp"
#include "property/world.hpp"
#include "support/catch.hpp"
#include "support/policies.hpp"
#include "support/servers.hpp"

namespace property_steady {

using namespace std::chrono_literals;
using tests::Condition;
using tests::Counter;

namespace {

enum class Mode : std::uint8_t { alone, monitor, probes };

constexpr std::array<Condition, 6> deaths{Condition::failing,   Condition::refusing,
                                          Condition::gone,      Condition::hung,
                                          Condition::resetting, Condition::overloaded};

template <class Monitor, class Use>
void in_world(std::size_t count, std::string const& policy, tests::WorldOptions const& options,
              Use const& use) {
  using World = tests::World<poise::AnyPolicy, Monitor>;
  auto const held = [] {
    if constexpr (std::is_void_v<Monitor>) return poise::MeasureLatency{};
    else return Monitor{{.seed = 1}};
  };
  World world{tests::endpoints_of(count, false), tests::policy(policy), options, held()};
  Counter counter;
  world.watch(&counter);
  use(world, counter);
}

template <class Use>
void in_mode(Mode mode, std::size_t count, std::string const& policy, tests::WorldOptions options,
             Use const& use) {
  if (mode == Mode::alone) return in_world<void>(count, policy, options, use);
  if (mode == Mode::probes) options.probes.emplace();
  in_world<poise::health::Standard>(count, policy, options, use);
}

/// The last `dead` of `count` servers are in this condition for 120 s; of its second half.
Counter half_dead(Mode mode, std::string const& policy, std::size_t count, std::size_t dead,
                  Condition condition) {
  Counter result;
  in_mode(mode, count, policy, {.rate = 100}, [&](auto& world, Counter& counter) {
    world.run(10s);
    for (std::size_t i = count - dead; i < count; ++i) world.set(tests::id_of(i), condition);
    world.run(60s);
    counter.restart();
    world.run(60s);
    result = counter;
  });
  return result;
}

std::string told(std::string_view policy, std::size_t count, std::size_t dead, Condition condition,
                 Mode mode) {
  return std::string{policy} + ", " + std::to_string(dead) + " of " + std::to_string(count) + " " +
         std::string{name(condition)} + (mode == Mode::probes ? ", probes" : "");
}

}  // namespace

TEST_CASE("however many are dead, at most 1 % of calls fail with a monitor") {
  for (auto const* policy : {"retry(p2c)", "retry(adaptive)"})
    for (auto const mode : {Mode::monitor, Mode::probes})
      for (auto const& [count, dead] : {std::pair{3U, 1U}, {3U, 2U}, {6U, 4U}, {10U, 9U}})
        for (auto const condition : {Condition::failing, Condition::hung, Condition::refusing}) {
          auto const found = half_dead(mode, policy, count, dead, condition);
          INFO(told(policy, count, dead, condition, mode));
          CHECK(found.failed_fraction() <= 0.01);
        }
}

TEST_CASE("a monitor costs no more than 0.5 points of failed calls") {
  for (auto const* policy : {"retry(round_robin)", "retry(adaptive)"})
    for (auto const& [count, dead] : {std::pair{2U, 1U}, {3U, 2U}, {4U, 2U}})
      for (auto const condition : deaths) {
        auto const alone = half_dead(Mode::alone, policy, count, dead, condition);
        auto const found = half_dead(Mode::monitor, policy, count, dead, condition);
        INFO(told(policy, count, dead, condition, Mode::monitor));
        CHECK(found.failed_fraction() <= alone.failed_fraction() + 0.005);
      }
}

TEST_CASE("a dead backend gets at most 2 % of attempts with a monitor") {
  for (auto const* policy : {"retry(p2c)", "adaptive"})
    for (auto const& [count, dead] : {std::pair{3U, 1U}, {3U, 2U}, {10U, 6U}})
      for (auto const condition : {Condition::failing, Condition::hung}) {
        auto const found = half_dead(Mode::monitor, policy, count, dead, condition);
        INFO(told(policy, count, dead, condition, Mode::monitor));
        for (std::size_t i = count - dead; i < count; ++i)
          CHECK(found.fraction(tests::id_of(i)) <= 0.02);
      }
}

TEST_CASE("a stall of all servers convicts none, so that another death is survived") {
  for (auto const* policy : {"retry(p2c)", "retry(adaptive)"})
    in_mode(Mode::monitor, 3, policy, {.rate = 200}, [&](auto& world, Counter& counter) {
      world.run(10s);
      for (auto const* id : {"a", "b", "c"}) world.set(id, Condition::hung);
      world.run(2s);
      for (auto const* id : {"a", "b", "c"}) world.set(id, Condition::well);
      world.run(3s);
      world.set("b", Condition::refusing);
      world.run(2s);
      counter.restart();
      world.run(20s);
      INFO(policy);
      CHECK(counter.failed_fraction() <= 0.01);
      CHECK(counter.fraction("a") >= 0.25);
      CHECK(counter.fraction("c") >= 0.25);
    });
}

TEST_CASE("a server that rejects everything at once is not attractive") {
  for (auto const* policy :  // policies that measure latency, and a rotation
       {"adaptive", "least_latency", "p2c(peak_ewma)", "least(peak_ewma)", "round_robin"})
    in_mode(Mode::alone, 3, policy, {.rate = 200}, [&](auto& world, Counter& counter) {
      world.run(10s);
      world.set("c", Condition::rejecting);
      world.run(20s);
      counter.restart();
      world.run(40s);
      INFO(policy);
      CHECK(counter.fraction("c") <= 1.3 / 3);
    });
}

namespace {

void check_restarts(Mode mode) {
  for (auto const down : {5s, 7s, 20s, 60s})
    in_mode(mode, 3, "retry(p2c)", {.rate = 60}, [&](auto& world, Counter& counter) {
      world.run(10s);
      world.set("c", Condition::refusing);
      world.run(down);
      world.set("c", Condition::well);
      counter.restart();
      world.run(10s);
      INFO("down for " << down.count() << " s" << (mode == Mode::probes ? ", probes" : ""));
      CHECK(counter.asked["c"] > 0);
    });
}

}  // namespace

TEST_CASE("after a restart of up to a minute a server is asked within 10 s") {
  check_restarts(Mode::monitor);
}

TEST_CASE("... also if probes say when it is back") { check_restarts(Mode::probes); }

TEST_CASE("first attempts do not favour the backend that fails") {
  for (auto const* policy :
       {"retry(round_robin)", "retry(exact_round_robin)", "retry(smooth_weighted)"})
    for (std::size_t const count : {2U, 3U, 4U})
      in_mode(Mode::alone, count, policy, {.rate = 4}, [&](auto& world, Counter& counter) {
        world.set("a", Condition::failing);
        world.run(1500s);
        INFO(policy << ", 1 of " << count);
        CHECK(std::abs(counter.first_fraction("a") - 1.0 / static_cast<double>(count)) <= 0.03);
      });
}

}  // namespace property_steady
