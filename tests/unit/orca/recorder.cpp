// SPDX-License-Identifier: MIT
#include <poise/orca/recorder.hpp>

#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include <poise/error.hpp>
#include <poise/load_report.hpp>
#include <poise/orca/header.hpp>
#include <poise/orca/writer.hpp>
#include <poise/time.hpp>

#include "support/catch.hpp"

namespace unit_orca_recorder {

using namespace poise;
using namespace std::chrono_literals;

namespace {

struct PlayedTime {
  struct Machine {
    Time now{1h};
    Duration used{};
  };
  [[nodiscard]] Time now() const noexcept { return machine->now; }
  [[nodiscard]] Duration used() const noexcept { return machine->used; }
  Machine* machine;
};

struct Played {
  void pass(Duration time, Duration busy) {
    machine.now += time;
    machine.used += busy;
  }
  PlayedTime::Machine machine{};
  orca::BasicLoadRecorder<PlayedTime> load{{.window = 2s, .cores = 4}, PlayedTime{&machine}};
};

}  // namespace

TEST_CASE("a recorder says what the last whole window had", "[reports]") {
  Played played;
  for (int i = 0; i < 100; ++i) played.load.count(i % 10 == 0);
  played.pass(1900ms, 1s);
  CHECK(played.load.report() == LoadReport{});
  played.pass(600ms, 4s);  // 2.5 s in all: the window ends when somebody asks
  LoadReport const wanted{.cpu_utilization = 0.5, .rps = 40, .eps = 4};
  CHECK(played.load.report() == wanted);
  for (int i = 0; i < 7; ++i) played.load.count();
  played.pass(1s, 0s);
  CHECK(played.load.report() == wanted);
  played.pass(1s, 0s);
  CHECK(played.load.report() == LoadReport{.rps = 3.5});
}

TEST_CASE("an application may say what its limit is", "[reports]") {
  Played played;
  played.load.set_application_utilization(1.25);
  CHECK(played.load.report().application_utilization == 1.25);
  for (double const bad :
       {-1.0, std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    played.load.set_application_utilization(bad);
    CHECK(played.load.report().application_utilization == 0);
  }
}

TEST_CASE("a clock that goes back, or processor time that does, harms nothing", "[reports]") {
  Played played;
  played.load.count();
  played.pass(-1h, -1s);
  CHECK(played.load.report() == LoadReport{});
  played.pass(2h, -1s);
  CHECK(played.load.report().is_valid());
}

TEST_CASE("options of a recorder that make no sense are refused by name", "[reports]") {
  CHECK_THROWS_WITH(orca::LoadRecorder({.window = 0s}),
                    "window of orca::LoadRecorder is 0 s: use a duration above 0");
  CHECK_THROWS_AS(orca::LoadRecorder({.cores = -1}), ConfigError);
}

TEST_CASE("a recorder of many threads counts all, and what it says can be read", "[reports]") {
  orca::LoadRecorder load{{.window = 20ms, .cores = 1}};
  constexpr std::size_t threads = 3;
  std::vector<std::thread> all;
  auto const began = std::chrono::steady_clock::now();
  for (std::size_t i = 0; i < threads; ++i)
    all.emplace_back([&] {
      while (std::chrono::steady_clock::now() - began < 100ms) {
        load.count(true);
        if (!load.report().is_valid()) std::abort();
      }
    });
  for (auto& each : all) each.join();
  auto const report = load.report();
  CHECK(report.rps > 1'000);
  CHECK(report.cpu_utilization > 0.01);
  std::string error;
  auto const read = orca::read_header("Endpoint-Load-Metrics", orca::to_header({report}), error);
  REQUIRE(read);
  CHECK(read->rps == Approx(report.rps));
}

}  // namespace unit_orca_recorder
