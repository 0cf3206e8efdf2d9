// SPDX-License-Identifier: MIT

// Time from a counter (sync/counted_time.hpp, C1 to C4): a machine whose counter and clock are
// played, which is suspended, moved and steered; and the counter of this machine.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <random>
#include <thread>

#include <poise/sync/counted_time.hpp>
#include <poise/sync/cycles.hpp>
#include <poise/time.hpp>

#include "support/catch.hpp"

namespace unit_cycle_clock {

namespace {

constexpr std::int64_t us = 1'000;
constexpr std::int64_t ms = 1'000'000;
constexpr std::int64_t s = 1'000'000'000;

/// A counter at 3.7 GHz and a clock, both at the test's word. Each read takes 20 ns.
struct PlayedMachine {
  void pass(std::int64_t time) {
    clock += static_cast<double>(time) * clock_rate;
    counter += static_cast<double>(time) * counter_rate;
  }
  double clock = 5e9;
  double counter = 1e15;
  double clock_rate = 1;
  double counter_rate = 3.7;
  bool fit = true;
  std::int64_t looks = 0;
  std::function<void()> before_reference{};
  std::function<void()> after_reference{};
};

struct PlayedSource {
  [[nodiscard]] bool usable() const noexcept { return machine->fit; }
  [[nodiscard]] std::uint64_t count() const noexcept {
    machine->pass(20);
    return static_cast<std::uint64_t>(machine->counter);
  }
  [[nodiscard]] std::int64_t reference() const noexcept {
    if (machine->before_reference) machine->before_reference();
    machine->pass(20);
    ++machine->looks;
    auto const told = static_cast<std::int64_t>(machine->clock);
    if (machine->after_reference) machine->after_reference();
    return told;
  }
  PlayedMachine* machine;
};

struct PlayedTime {
  PlayedTime() { time.start(); }
  std::int64_t now() { return time.now(); }
  std::int64_t error() {
    auto const told = now();  // first: it moves the clock
    return told - static_cast<std::int64_t>(machine.clock);
  }
  /// Until lines are of full length.
  void settle() {
    for (int each = 0; each != 400; ++each) {
      machine.pass(10 * ms);
      (void)now();
    }
  }
  /// How many of these reads had to ask the reference.
  std::int64_t looks_in(int reads, std::int64_t apart) {
    auto const before = machine.looks;
    for (int each = 0; each != reads; ++each) {
      machine.pass(apart);
      (void)now();
    }
    return machine.looks - before;
  }
  PlayedMachine machine{};
  poise::sync::CountedTime<PlayedSource> time{PlayedSource{&machine}};
};

}  // namespace

TEST_CASE("counted time reads the counter alone, but once in a second") {
  PlayedTime played;
  played.settle();
  CHECK(played.looks_in(9'000, ms) <= 10 * 8);
  CHECK_FALSE(played.time.gave_up());
}

TEST_CASE("counted time takes the reference in its first 10 ms, and where the counter is unfit") {
  PlayedTime played;
  CHECK(played.looks_in(9, ms) == 9);
  PlayedMachine machine;
  machine.fit = false;
  poise::sync::CountedTime<PlayedSource> unfit{PlayedSource{&machine}};
  unfit.start();
  for (int each = 0; each != 100; ++each) {
    machine.pass(s);
    auto const told = unfit.now();
    CHECK(told == static_cast<std::int64_t>(machine.clock));
  }
  CHECK(unfit.gave_up());
}

TEST_CASE("counted time that was not started is the reference's") {
  PlayedMachine machine;
  poise::sync::CountedTime<PlayedSource> time{PlayedSource{&machine}};
  for (int each = 0; each != 5; ++each) {
    machine.pass(s);
    auto const told = time.now();
    CHECK(told == static_cast<std::int64_t>(machine.clock));
  }
}

TEST_CASE("counted time stays within microseconds of the reference for a day") {
  PlayedTime played;
  played.settle();
  std::int64_t worst = 0;
  std::mt19937_64 random{7};
  for (std::int64_t passed = 0; passed < 86'400 * s;) {
    auto const step = static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(3 * s));
    played.machine.pass(step);
    passed += step;
    worst = std::max(worst, std::abs(played.error()));
  }
  CHECK(worst < 5 * us);
}

TEST_CASE("counted time follows a clock that network time steers") {
  PlayedTime played;
  played.settle();
  for (auto const steered : {5e-4, -5e-4, 0.0, 5e-4}) {
    played.machine.clock_rate = 1 + steered;
    std::int64_t worst = 0;
    for (int each = 0; each != 5'000; ++each) {
      played.machine.pass(ms);
      worst = std::max(worst, std::abs(played.error()));
    }
    CHECK(worst < 1'100 * us);  // a second at a rate that is wrong by 0.001
    CHECK(std::abs(played.error()) < 5 * us);
  }
  CHECK_FALSE(played.time.gave_up());
}

TEST_CASE("counted time survives a suspended machine") {
  for (auto const hours : {1, 1'000}) {
    PlayedTime played;
    played.settle();
    // The clock stands still, the counter goes on.
    played.machine.counter += 3.7 * 3'600 * static_cast<double>(s) * hours;
    auto const before = played.now();
    CHECK(std::abs(played.error()) <= 1 * s);  // at most the rest of the line
    for (int each = 0; each != 3'000; ++each) {
      played.machine.pass(ms);
      (void)played.now();
    }
    CHECK(played.now() > before);
    CHECK(std::abs(played.error()) < 5 * us);
    CHECK(played.looks_in(9'000, ms) < 100);  // the counter is used again
  }
}

TEST_CASE("a counter that was set to zero is noticed by the first read") {
  PlayedTime played;
  played.settle();
  played.machine.counter = 0;
  for (int each = 0; each != 5'000; ++each) {
    CHECK(std::abs(played.error()) < 5 * us);
    played.machine.pass(ms);
  }
  CHECK(played.looks_in(9'000, ms) < 100);
}

TEST_CASE("a machine whose counter has another rate after a move reads the reference") {
  for (auto const rate : {2.1, 3.71, 4.5, 0.0}) {
    PlayedTime played;
    played.settle();
    played.machine.counter_rate = rate;
    auto last = played.now();
    for (int each = 0; each != 8'000; ++each) {
      played.machine.pass(ms);
      auto const now = played.now();
      REQUIRE(now >= last);
      last = now;
    }
    CHECK(played.time.gave_up() == (rate != 0.0));
    if (rate != 0.0) CHECK(std::abs(played.error()) < us);
  }
}

TEST_CASE("a counter that is too coarse is not used") {
  PlayedTime played;
  played.machine.counter_rate = 1e-4;  // 10 us a count
  for (int each = 0; each != 5'000; ++each) {
    played.machine.pass(ms);
    CHECK(std::abs(played.error()) < us);
  }
  CHECK(played.looks_in(100, ms) >= 100);
}

TEST_CASE("a look that was interrupted draws no line") {
  PlayedTime played;
  played.settle();
  // After each reading of the clock the thread loses the processor for a while.
  played.machine.before_reference = [&] { played.machine.pass(200 * us); };
  auto last = played.now();
  for (int each = 0; each != 3'000; ++each) {
    played.machine.pass(ms);
    auto const now = played.now();
    REQUIRE(now >= last);
    last = now;
  }
  CHECK(std::abs(played.error()) < 5 * ms);
  played.machine.before_reference = {};
  CHECK(played.looks_in(9'000, ms) < 100);
}

TEST_CASE("counted time goes back for no thread that reads while another one draws a line") {
  for (unsigned seed = 1; seed != 100; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 random{seed};
    PlayedTime played;
    auto& machine = played.machine;
    played.settle();
    std::int64_t latest = 0;
    bool is_another = false;
    int backwards = 0;
    // A thread loses the processor for a while, and another one reads before it goes on.
    auto const turn = [&] {
      if (is_another || random() % 4 != 0) return;
      is_another = true;
      machine.pass(static_cast<std::int64_t>(random() % 200) * us);
      auto const now = played.now();
      if (now < latest) ++backwards;
      latest = now;
      is_another = false;
    };
    machine.before_reference = turn;
    machine.after_reference = turn;
    for (int each = 0; each != 2'000; ++each) {
      machine.pass(static_cast<std::int64_t>(random() % 10) * ms);
      auto const known = latest;  // what others read meanwhile may be later
      auto const now = played.now();
      REQUIRE(now >= known);
      latest = std::max(latest, now);
    }
    CHECK(backwards == 0);
  }
}

TEST_CASE("counted time never goes back, whatever becomes of machine and clock") {
  for (unsigned seed = 1; seed != 200; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 random{seed};
    auto const below = [&](std::int64_t end) {
      return static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(end));
    };
    PlayedTime played;
    auto& machine = played.machine;
    auto last = played.now();
    for (int each = 0; each != 2'000; ++each) {
      switch (below(40)) {
        case 0:
          machine.counter_rate = below(3) == 0 ? 3.7 : 1 + static_cast<double>(below(4));
          break;
        case 1: machine.clock_rate = 1 + 1e-6 * static_cast<double>(below(1'000) - 500); break;
        case 2: machine.counter += 3.7 * static_cast<double>(below(100 * s)); break;
        case 3: machine.clock += static_cast<double>(below(100 * s)); break;
        case 4: machine.pass(below(5'000 * s)); break;
        case 5: machine.before_reference = [&] { machine.pass(below(300 * us)); }; break;
        case 6: machine.before_reference = {}; break;
        default: machine.pass(below(20) == 0 ? below(2 * s) : below(5 * ms)); break;
      }
      auto const now = played.now();
      REQUIRE(now >= last);
      last = now;
    }
    // A counter that behaves itself again leads back to the reference, or it was given up.
    machine.before_reference = {};
    for (int each = 0; each != 4'000; ++each) {
      machine.pass(ms);
      (void)played.now();
    }
    CHECK(std::abs(played.error()) < 10 * us);
  }
}

TEST_CASE("the clock sources that Linux reads from a counter are known") {
  using poise::sync::detail::is_counted;
  CHECK(is_counted("tsc"));
  CHECK(is_counted("kvm-clock"));
  CHECK_FALSE(is_counted("hpet"));
  CHECK_FALSE(is_counted("acpi_pm"));
  CHECK_FALSE(is_counted(""));
}

TEST_CASE("CycleClock and SteadyClock tell the same time") {
  poise::CycleClock const cycles;
  poise::SteadyClock const steady;
  auto last = cycles.now();
  for (int each = 0; each != 40; ++each) {
    auto const before = steady.now();
    auto const now = cycles.now();
    auto const after = steady.now();
    CHECK(now >= last);
    CHECK(now >= before - std::chrono::milliseconds{2});
    CHECK(now <= after + std::chrono::milliseconds{2});
    last = now;
    std::this_thread::sleep_for(std::chrono::milliseconds{1});
  }
}

}  // namespace unit_cycle_clock
