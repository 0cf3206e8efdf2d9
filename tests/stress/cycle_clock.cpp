// SPDX-License-Identifier: MIT

// Threads read time from a counter while they draw its lines (sync/counted_time.hpp, C1). Time is
// sped up, so that lines are drawn every few milliseconds.

#include <algorithm>
#include <chrono>
#include <cstdint>

#include <poise/sync/counted_time.hpp>
#include <poise/time.hpp>

#include "stress/team.hpp"
#include "support/catch.hpp"

namespace {

/// A clock that runs a hundred times too fast, and a counter with a tenth of its rate. Both come
/// from one reading of the same clock, so they are in order.
struct FastSource {
  static std::int64_t real() noexcept {
    return std::chrono::steady_clock::now().time_since_epoch().count();
  }
  [[nodiscard]] static bool usable() noexcept { return true; }
  [[nodiscard]] static std::uint64_t count() noexcept {
    return static_cast<std::uint64_t>(real()) * 10;
  }
  [[nodiscard]] static std::int64_t reference() noexcept { return real() * 100; }
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
    constexpr auto slack = FastTime::longest / 5;  // looks are a hundred times less exact, too
    auto const known = shared.latest.load();
    auto const before = FastSource::reference();
    auto const now = shared.time.now();
    if (now < mine) ++backwards;
    if (now < known) ++behind_others;
    if (now < before - slack || now > FastSource::reference() + slack) ++far;
    mine = now;
    shared.latest.raise(now);
    ++reads;
  }
  SharedTime& shared;
  std::int64_t mine = 0;
  std::int64_t backwards = 0;
  std::int64_t behind_others = 0;
  std::int64_t far = 0;
  std::int64_t reads = 0;
};

}  // namespace

TEST_CASE("time from a counter goes back for no thread while lines are drawn") {
  SharedTime shared;
  shared.time.start();
  tests::Team<TimeReader> readers{3, shared};
  for (tests::Rounds rounds{100}; rounds.next();)
    std::this_thread::sleep_for(std::chrono::milliseconds{1});
  for (auto const& each : readers.stop()) {
    CHECK(each.reads > 0);
    CHECK(each.backwards == 0);
    CHECK(each.behind_others == 0);
    CHECK(each.far == 0);
  }
}
