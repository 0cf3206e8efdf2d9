// SPDX-License-Identifier: MIT

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <system_error>
#include <vector>

#include "support/catch.hpp"
#include "support/policies.hpp"
#include "unit/health/calls.hpp"

namespace unit_health_criteria {

using namespace std::chrono_literals;
using namespace poise::health;
using poise::Result;
using tests::Calls;

TEST_CASE("a backend that rejects what others accept is found, under every policy") {
  for (auto const policy : tests::policies_in_long_tests()) {
    CAPTURE(policy);
    using Only = Monitor<Rejections>;
    Calls<Only> calls{tests::numbered(3), tests::policy(policy),
                      Only{{.seed = 1}, Rejections{.enforcement = {}}}};
    calls.run(12s, 300);
    calls.servers[0] = tests::rejects;
    calls.run(30s, 300);
    CHECK(calls.monitor.phase("0") == Phase::ejected);
    calls.attempts();
    calls.run(100s, 300);
    CHECK(calls.attempts()[0] <= 5);  // trials, each of which it rejects
    calls.servers[0] = tests::well;
    calls.run(350s, 300);
    CHECK(calls.monitor.phase("0") == Phase::healthy);
  }
}

TEST_CASE("the standard monitor only notes a backend that rejects") {
  Calls<> calls{tests::numbered(3), tests::policy("round_robin"), Standard{{.seed = 1}}};
  calls.servers[0] = tests::rejects;
  calls.run(30s, 300);
  auto const history = calls.monitor.history("0");
  REQUIRE(!history.empty());
  CHECK(history[0].cause == "rejections");
  CHECK(history[0].note == Transition::Note::watched);
  CHECK(calls.monitor.phase("0") == Phase::suspect);
}

TEST_CASE("requests that all backends reject are the callers' fault") {
  using Only = Monitor<Rejections>;
  Calls<Only> calls{tests::numbered(3), tests::policy("round_robin"),
                    Only{{.seed = 1}, Rejections{.enforcement = {}}}};
  for (auto& each : calls.servers) each = tests::rejects;
  calls.run(60s, 300);
  for (auto const* id : {"0", "1", "2"}) CHECK(calls.monitor.history(id).empty());
}

TEST_CASE("what this process lacks is not blamed on a backend") {
  for (auto const code :
       {std::errc::too_many_files_open, std::errc::too_many_files_open_in_system,
        std::errc::address_not_available, std::errc::no_buffer_space, std::errc::not_enough_memory})
    for (auto const error : {std::make_error_code(code),
                             std::error_code{static_cast<int>(code), std::system_category()}}) {
      auto const outcome = poise::outcome_of(error);
      CHECK(outcome.result == Result::cancelled);
      CHECK_FALSE(outcome.sent);
      CHECK_FALSE(is_verdict(outcome.result));
      CHECK(poise::is_local_failure(error));
    }
  CHECK_FALSE(poise::is_local_failure(std::make_error_code(std::errc::connection_refused)));
  Calls<> calls{tests::numbered(2), tests::policy("round_robin"), Standard{{.seed = 1}}};
  calls.run(1s, 100);
  for (int i = 0; i < 100; ++i)
    calls.balancer.record("0",
                          poise::outcome_of(std::make_error_code(std::errc::too_many_files_open)));
  calls.run(20s, 100);
  CHECK(calls.monitor.history("0").empty());
}

namespace {

/// Counts the turns that rules get.
struct Turns {
  int* turns;
  void on_tick(poise::Time, std::span<poise::BackendView>) const { ++*turns; }
};

}  // namespace

TEST_CASE("however many backends fail at once, few reviews judge them") {
  constexpr std::size_t count = 4000;
  int turns = 0;
  poise::VirtualClock const clock;
  Standard const monitor{{.seed = 1}};
  poise::Balancer<poise::RoundRobin, void, poise::Runtime<poise::VirtualClock, Standard, Turns>>
      balancer{tests::numbered(count),
               {},
               {.clock = clock, .seed = 1, .observers = {monitor, Turns{&turns}}}};
  balancer.tick();
  for (std::size_t i = 0; i < count; i += 4)
    for (int failure = 0; failure < 6; ++failure) balancer.record(std::to_string(i), Result::error);
  CHECK(turns <= 200);
  clock.advance(1s);
  balancer.tick();
  for (std::size_t i = 0; i < count; i += 4)
    if (monitor.phase(std::to_string(i)) != Phase::ejected) FAIL(i << " is not ejected");
  // Everybody else's id changes.
  balancer.update(tests::numbered(count, count));
  clock.advance(10s);
  balancer.tick();
  CHECK(monitor.history("0").empty());
}

}  // namespace unit_health_criteria
