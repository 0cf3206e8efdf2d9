// SPDX-License-Identifier: MIT

// Threads read time from a counter while they draw its lines (sync/counted_time.hpp, C1). Time is
// sped up, so that a line lasts a tenth of a second.

#include <chrono>
#include <cstdint>
#include <thread>

#include <poise/sync/counted_time.hpp>
#include <poise/time.hpp>

#include "stress/team.hpp"
#include "support/catch.hpp"

namespace {

/// A clock that runs ten times too fast, and a counter with a tenth of its rate. Both are readings
/// of one clock, so they are in order. Much faster, and a nanosecond between two cores would show.
struct FastSource {
  static std::int64_t real() noexcept {
    return std::chrono::steady_clock::now().time_since_epoch().count();
  }
  [[nodiscard]] static bool usable() noexcept { return true; }
  [[nodiscard]] static std::uint64_t count() noexcept { return static_cast<std::uint64_t>(real()); }
  [[nodiscard]] static std::int64_t reference() noexcept {
    auto const told = real() * 10;
    if (is_unlucky()) {
      for (auto const since = real(); real() - since < stall;) std::this_thread::yield();
    }
    return told;
  }
  /// Sometimes a thread loses the processor after it read the time, for longer than a look is good.
  static bool is_unlucky() noexcept {
    thread_local std::uint32_t reads = 0;
    return ++reads % 13 == 0;
  }
  static constexpr std::int64_t stall = 15'000;  // ns
};
using FastTime = poise::sync::CountedTime<FastSource>;

/// What threads read last, whoever did.
struct SharedTime {
  FastTime time{};
  tests::Number latest{0};
};

struct TimeReader {
  explicit TimeReader(SharedTime& everything) : shared{everything} {}
  void work() {
    constexpr auto slack = FastTime::longest / 10;  // looks are ten times less exact, too
    auto const known = shared.latest.load();
    auto const now = shared.time.now();
    if (now < mine) ++backwards;
    if (now < known) ++behind_others;
    // Not below: while a thread that draws a line is off its processor, time stands still.
    if (now > FastSource::reference() + slack) ++ahead;
    mine = now;
    shared.latest.raise(now);
    ++reads;
  }
  SharedTime& shared;
  std::int64_t mine = 0;
  std::int64_t backwards = 0;
  std::int64_t behind_others = 0;
  std::int64_t ahead = 0;
  std::int64_t reads = 0;
};

void read_together() {
  SharedTime shared;
  shared.time.start();
  tests::Team<TimeReader> readers{8, shared};
  // The first lines are short: so many of them are drawn.
  std::this_thread::sleep_for(std::chrono::milliseconds{15});
  for (auto const& each : readers.stop()) {
    CHECK(each.reads > 0);
    CHECK(each.backwards == 0);
    CHECK(each.behind_others == 0);
    CHECK(each.ahead == 0);
  }
}

}  // namespace

TEST_CASE("time from a counter goes back for no thread while lines are drawn") {
  for (tests::Rounds rounds{100}; rounds.next();) read_together();
}
