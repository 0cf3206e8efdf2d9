// SPDX-License-Identifier: MIT

// What a retry budget rests on, while threads work at it: an addition to a window that succeeds
// only if there is room (sync/recent.hpp, N1 and N2), and requests that are counted on lanes.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <thread>
#include <vector>

#include <poise/compose/retry_budget.hpp>
#include <poise/sync/recent.hpp>

#include "stress/team.hpp"
#include "support/catch.hpp"

using namespace std::chrono_literals;
using poise::sync::Recent;
using tests::Number;

namespace {

constexpr std::uint64_t most = 40;
constexpr std::uint32_t window = Recent::window;

/// A window, and the present slot. A thread shows which slot it read, so that the present can be
/// kept from passing it by more than a ring: what the window does then is stated, but not N1.
struct Shared {
  Recent recent{};
  Number present{1000};
};

/// Adds now and a little ahead, as retries after a pause do.
struct Adder {
  explicit Adder(Shared& everything) : shared{everything} {}
  void work() {
    auto const slot = shared.present.load();
    read.store(slot);
    auto const at = static_cast<std::uint32_t>(slot) + ++tries % 8;
    if (!shared.recent.add(at, most)) return;
    if (added.size() <= at) added.resize(2 * at);
    ++added[at];
  }
  Shared& shared;
  Number read{0};
  std::uint32_t tries = 0;
  std::vector<std::uint64_t> added{};  // by slot
};

}  // namespace

TEST_CASE("no window ever holds more than it may, whatever the threads add at once") {
  Shared shared;
  std::deque<Adder> adders;
  std::vector<std::uint64_t> added;
  {
    Number stop{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i) adders.emplace_back(shared);
    for (auto& adder : adders)
      threads.emplace_back([&adder, &stop] {
        while (stop.load() == 0) adder.work();
      });
    for (tests::Rounds rounds{1000}; rounds.next() && shared.present.load() < 1'000'000;) {
      auto slowest = std::numeric_limits<std::int64_t>::max();
      for (auto const& adder : adders) slowest = std::min(slowest, adder.read.load());
      if (slowest + 200 > shared.present.load()) shared.present.add(1);
    }
    stop.store(1);
    for (auto& thread : threads) thread.join();
  }
  for (auto const& adder : adders) {
    added.resize(std::max(added.size(), adder.added.size()));
    for (std::size_t slot = 0; slot < adder.added.size(); ++slot) added[slot] += adder.added[slot];
  }
  std::uint64_t in_window = 0;
  std::uint64_t worst = 0;
  std::uint64_t all = 0;
  for (std::size_t slot = 0; slot < added.size(); ++slot) {
    all += added[slot];
    in_window += added[slot];
    if (slot >= window) in_window -= added[slot - window];
    worst = std::max(worst, in_window);
  }
  CHECK(worst <= most);
  CHECK(worst > most / 2);
  CHECK(all >= most);
}

TEST_CASE("of additions at one moment no more succeed than there is room for") {
  Recent recent;
  std::uint32_t slot = 0;
  for (tests::Rounds rounds{100}; rounds.next(); slot += 1000) {
    Number added{0};
    tests::together(3, [&](unsigned) {
      std::int64_t own = 0;
      for (std::uint64_t i = 0; i < most; ++i) own += recent.add(slot, most) ? 1 : 0;
      added.add(own);
    });
    REQUIRE(added.load() <= static_cast<std::int64_t>(most));
    REQUIRE(recent.count(slot, slot + 1) == static_cast<std::uint64_t>(added.load()));
  }
}

TEST_CASE("a window that is full has room again when what failed is taken back") {
  Recent recent;
  struct Failing {
    explicit Failing(Recent& shared) : recent{shared} {}
    void work() {
      if (recent.add(7, 0)) ++added;
    }
    Recent& recent;
    int added = 0;
  };
  tests::Team<Failing> failing{3, recent};
  for (tests::Rounds rounds{1000}; rounds.next();) (void)recent.count(0, 100);
  for (auto const& each : failing.stop()) CHECK(each.added == 0);
  CHECK(recent.count(0, 100) == 0);
  CHECK(recent.add(7, 1));
}

TEST_CASE("a budget grants no more than its share and floor while threads count and take") {
  // Time stands still within each round, so that all requests and retries are of one second.
  constexpr unsigned threads = 3;
  constexpr int requests = 500;
  poise::Time now{1h};
  poise::RetryBudget const budget;
  for (int round = 0; round < 50; ++round) {
    for (int i = 0; i < 2; ++i) budget.look(now += 2s);  // the last round's are long ago
    std::vector<int> granted(threads * 16);
    tests::together(threads, [&](unsigned number) {
      auto const lane = poise::sync::Lane{number + 1};
      for (int i = 0; i < requests; ++i) {
        budget.count_request(lane);
        granted[number * 16] += budget.take(poise::RetryBudget::Extra::retry, 0.2, 10, now) ? 1 : 0;
      }
    });
    int all = 0;
    for (auto const each : granted) all += each;
    REQUIRE(all <= static_cast<int>(0.2 * threads * requests) + 10);
    auto const recent = budget.recent(now);
    REQUIRE(recent.requests == threads * requests);
    REQUIRE(recent.retries == static_cast<std::uint64_t>(all));
    int rest = 0;
    while (budget.take(poise::RetryBudget::Extra::retry, 0.2, 10, now)) ++rest;
    REQUIRE(all + rest == static_cast<int>(0.2 * threads * requests) + 10);
  }
}
