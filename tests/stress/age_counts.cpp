// SPDX-License-Identifier: MIT

// What is open by age: exact, whatever the threads do while slots change their interval.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include <poise/sync/age_counts.hpp>

#include "stress/team.hpp"
#include "support/catch.hpp"

using Counts = poise::sync::AgeCounts<4>;

namespace {

/// Keeps its last `held` things open, and moves the time on: slots change hands all the time.
struct Worker {
  static constexpr std::size_t held = 9;
  Worker(Counts& shared, tests::Number& clock) : counts{shared}, time{clock} {}

  void work() {
    auto& place = open[turn++ % held];
    if (place) counts.close(*place);
    place = turn % 3 == 0 ? time.add(1) : time.load();
    counts.open(*place);
  }

  Counts& counts;
  tests::Number& time;
  std::array<std::optional<std::int64_t>, held> open{};
  std::size_t turn = 0;
};

}  // namespace

TEST_CASE("what is open is counted exactly once threads rest, and nothing remains in the end") {
  for (tests::Rounds rounds{3}; rounds.next();) {
    Counts counts;
    tests::Number time{0};
    tests::Team<Worker> team{3, counts, time};
    for (tests::Rounds reads{1000}; reads.next();) (void)counts.opened_before(time.load());
    auto& workers = team.stop();

    auto const end = time.load() + 1;
    std::int64_t open = 0;
    for (auto const& worker : workers)
      for (auto const& each : worker.open) open += each ? 1 : 0;
    CHECK(counts.opened_before(end).count == open);
    for (auto const& worker : workers)
      for (auto const& each : worker.open)
        if (each) counts.close(*each);
    CHECK(counts.opened_before(end).count == 0);
    // A place that is too high can't hide behind one that is too low.
    for (int interval = 0; interval < 8; ++interval) {
      counts.open(end + interval);
      CHECK(counts.opened_before(end + 8).count == interval + 1);
    }
  }
}
