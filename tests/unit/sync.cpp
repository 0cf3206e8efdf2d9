// SPDX-License-Identifier: MIT
// The concurrent parts as one thread sees them: the in-flight word, lanes, drop box, published
// values.

#include <poise/sync/age_counts.hpp>
#include <poise/sync/drop_box.hpp>
#include <poise/sync/epoch.hpp>
#include <poise/sync/exclusive.hpp>
#include <poise/sync/in_flight.hpp>
#include <poise/sync/lanes.hpp>
#include <poise/sync/published.hpp>
#include <poise/sync/replaceable.hpp>
#include <poise/sync/shared_count.hpp>

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "support/catch.hpp"

namespace unit_sync {

using poise::sync::InFlight;
using End = poise::sync::InFlight::End;
using poise::sync::Lane;

namespace {

// 2^32 picks would take a minute, so the word is set close to a carry. An explicit instantiation
// may name private members; that is the only door to them, and it is for this test alone.
template <auto Word, auto Stretches>
struct Door {
  friend void set_picks(InFlight& counter, std::uint64_t picks) {
    constexpr auto pin = std::uint64_t{1} << 24U;
    (counter.*Word).store(picks << 32U | pin);
    (counter.*Stretches).store(picks >> 28U);
  }
};
/// As after so many picks, all of them finished.
void set_picks(InFlight& counter, std::uint64_t picks);
template struct Door<&InFlight::word_, &InFlight::stretches_>;

/// Every number of picks at which something carries.
constexpr std::uint64_t carries[]{std::uint64_t{1} << 28U, std::uint64_t{1} << 31U,
                                  std::uint64_t{1} << 32U, std::uint64_t{3} << 32U,
                                  std::uint64_t{1} << 45U};

struct Item {
  int number;
  Item* next_dropped = nullptr;
};

}  // namespace

TEST_CASE("a claim counts one request in and says how many were there") {
  InFlight counter;
  CHECK(counter.claim() == 0);
  CHECK(counter.claim() == 1);
  CHECK(counter.in_flight() == 2);
  CHECK(counter.picks() == 2);
}

TEST_CASE("a finished request stays counted as a pick") {
  InFlight counter;
  counter.claim();
  CHECK(counter.release() == End::none);
  CHECK(counter.in_flight() == 0);
  CHECK(counter.picks() == 1);
}

TEST_CASE("a claim that is taken back was never picked") {
  InFlight counter;
  counter.claim();
  (void)counter.undo();
  CHECK(counter.in_flight() == 0);
  CHECK(counter.picks() == 0);
}

TEST_CASE("the last of pin and requests frees the backend") {
  InFlight pinned_last;
  pinned_last.claim();
  CHECK(pinned_last.release() == End::none);
  CHECK(pinned_last.unpin());
  InFlight request_last;
  request_last.claim();
  request_last.claim();
  CHECK_FALSE(request_last.unpin());
  CHECK(request_last.release() == End::none);
  CHECK(request_last.release() == End::free);
}

TEST_CASE("picks do not wrap at two to the 31 and two to the 32") {
  for (auto const carry : carries) {
    InFlight counter;
    set_picks(counter, carry - 3);
    for (std::uint64_t i = 1; i <= 6; ++i) {
      counter.claim();
      REQUIRE(counter.picks() == carry - 3 + i);
    }
    CHECK(counter.in_flight() == 6);
  }
}

TEST_CASE("a claim taken back on the far side of a carry is not counted") {
  for (auto const carry : carries) {
    InFlight counter;
    set_picks(counter, carry - 1);
    counter.claim();
    REQUIRE(counter.picks() == carry);
    (void)counter.undo();
    REQUIRE(counter.picks() == carry - 1);
    REQUIRE(counter.in_flight() == 0);
    counter.claim();
    CHECK(counter.picks() == carry);
  }
}

TEST_CASE("claims taken back at a carry over and over do not add up") {
  InFlight counter;
  set_picks(counter, (std::uint64_t{1} << 32U) - 1);
  for (int i = 0; i < 100; ++i) {
    counter.claim();
    (void)counter.undo();
    REQUIRE(counter.picks() == (std::uint64_t{1} << 32U) - 1);
  }
}

TEST_CASE("requests in flight are untouched by the carry of the picks above them") {
  InFlight counter;
  set_picks(counter, (std::uint64_t{1} << 32U) - 5);
  for (std::uint32_t i = 0; i < 10; ++i) REQUIRE(counter.claim() == i);
  for (int i = 0; i < 10; ++i) REQUIRE(counter.release() == End::none);
  CHECK(counter.in_flight() == 0);
  CHECK(counter.unpin());
}

TEST_CASE("claims and finished requests balance up to the limit of two to the 23") {
  InFlight counter;
  for (std::uint32_t i = 0; i < InFlight::limit; ++i) counter.claim();
  CHECK(counter.in_flight() == InFlight::limit);
  CHECK(counter.claim() == InFlight::limit);
  (void)counter.undo();
  CHECK(counter.in_flight() == InFlight::limit);
  CHECK(counter.release() == End::none);
}

TEST_CASE("threads beyond the last lane share the spare one") {
  using poise::sync::lane_count;
  using poise::sync::lane_of;
  CHECK(lane_of(0, true) == Lane{1});
  CHECK(lane_of(lane_count - 2, true) == Lane{lane_count - 1});
  CHECK(lane_of(lane_count - 1, true) == Lane::spare);
  CHECK(lane_of(1'000'000, true) == Lane::spare);
}

TEST_CASE("after a peak of threads the next one has a lane of its own again") {
  constexpr int peak = 100;
  std::atomic<int> reading{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < peak; ++i)
    threads.emplace_back([&] {
      poise::sync::ReadSection const section;
      ++reading;
      while (reading.load() < peak) std::this_thread::yield();
    });
  for (auto& thread : threads) thread.join();
  std::uint32_t index = poise::sync::lane_count;
  std::thread{[&] { index = poise::sync::ReadSection{}.thread_index(); }}.join();
  CHECK(index < 10);
}

TEST_CASE("with an injected seed every thread uses the shared lane") {
  CHECK(poise::sync::lane_of(5, false) == Lane::shared);
}

TEST_CASE("lanes advance independently") {
  poise::sync::Lanes lanes{100, [](std::uint64_t lane) { return lane * 1000; }};
  CHECK(lanes.advance(Lane::shared, 5) == 100);
  CHECK(lanes.advance(Lane::shared, 5) == 105);
  CHECK(lanes.advance(Lane::spare, 5) == 82'000);
  CHECK(lanes.advance(Lane::spare, 5) == 82'005);
  CHECK(lanes.advance(Lane{1}, 1) == 101'000);
  CHECK(lanes.advance(Lane{1}, 1) == 101'001);
}

TEST_CASE("a turn goes round the circle on every lane") {
  poise::sync::Lanes lanes{0, [](std::uint64_t) { return ~std::uint64_t{0}; }};
  for (auto const lane : {Lane::shared, Lane{3}, Lane::spare}) {
    auto const first = lanes.turn(lane, 5);
    for (std::uint64_t step = 1; step < 12; ++step)
      REQUIRE(lanes.turn(lane, 5) == (first + step) % 5);
  }
}

TEST_CASE("a drop box gives back all that was left in it") {
  poise::sync::DropBox<Item> box;
  CHECK(box.take() == nullptr);
  Item one{1};
  Item two{2};
  REQUIRE(box.drop(&one));
  REQUIRE(box.drop(&two));
  int sum = 0;
  for (auto* item = box.take(); item != nullptr; item = item->next_dropped) sum += item->number;
  CHECK(sum == 3);
  CHECK(box.take() == nullptr);
}

TEST_CASE("a closed drop box refuses") {
  poise::sync::DropBox<Item> box;
  Item before{1};
  Item after{2};
  REQUIRE(box.drop(&before));
  CHECK(box.close() == &before);
  CHECK_FALSE(box.drop(&after));
}

TEST_CASE("a replaced value waits for its reader and goes to the next collect after it") {
  poise::sync::start();
  poise::sync::Published<int> published;
  published.prepare();
  published.publish(std::make_unique<int const>(1));
  {
    poise::sync::ReadSection const section;
    auto const* seen = published.load();
    published.prepare();
    published.publish(std::make_unique<int const>(2));
    CHECK(published.collect().empty());
    CHECK(published.waiting() == 1);
    CHECK(*seen == 1);
  }
  CHECK(published.collect().size() == 1);
  CHECK(published.waiting() == 0);
  published.prepare();
  published.publish(nullptr);
  CHECK(published.collect().size() == 1);
}

TEST_CASE("sections nest and reading ends with the outermost") {
  poise::sync::start();
  CHECK_FALSE(poise::sync::is_reading());
  {
    poise::sync::ReadSection const outer;
    {
      poise::sync::ReadSection const inner;
      CHECK(inner.thread_index() == outer.thread_index());
    }
    CHECK(poise::sync::is_reading());
  }
  CHECK_FALSE(poise::sync::is_reading());
}

TEST_CASE("a value read in an outer section survives an inner one") {
  poise::sync::start();
  poise::sync::Published<int> published;
  published.prepare();
  published.publish(std::make_unique<int const>(1));
  {
    poise::sync::ReadSection const outer;
    auto const* seen = published.load();
    {
      poise::sync::ReadSection const inner;
    }
    published.prepare();
    published.publish(nullptr);
    CHECK(published.collect().empty());
    CHECK(*seen == 1);
  }
  CHECK(published.collect().size() == 1);
}

TEST_CASE("a mutex knows whether this thread holds it") {
  poise::sync::Exclusive mutex;
  CHECK_FALSE(mutex.held_by_this_thread());
  mutex.lock();
  CHECK(mutex.held_by_this_thread());
  mutex.unlock();
  CHECK_FALSE(mutex.held_by_this_thread());
}

TEST_CASE("the last holder learns that it is the last") {
  poise::sync::SharedCount count;
  count.add();
  count.add();
  CHECK_FALSE(count.drop());
  CHECK(count.drop());
}

TEST_CASE("what is open is counted by the interval in which it was opened") {
  poise::sync::AgeCounts<4> counts;
  counts.open(-1);
  counts.open(0);
  counts.open(0);
  counts.open(2);
  CHECK(counts.opened_before(-1).count == 0);
  CHECK(counts.opened_before(2).count == 3);
  CHECK(counts.opened_before(3).count == 4);
  CHECK(counts.opened_before(3).oldest == -1);
  counts.close(-1);
  counts.close(0);
  CHECK(counts.opened_before(3).count == 2);
  CHECK(counts.opened_before(3).oldest == 0);
}

TEST_CASE("what is older than all slots stays counted, and is closed by its own interval") {
  poise::sync::AgeCounts<4> counts;
  counts.open(1);
  counts.open(1);
  counts.open(5);  // takes over the slot
  CHECK(counts.opened_before(2).count == 2);
  CHECK_FALSE(counts.opened_before(2).oldest);
  counts.open(1);  // late
  CHECK(counts.opened_before(6).count == 4);
  counts.close(1);
  counts.close(1);
  counts.close(1);
  CHECK(counts.opened_before(5).count == 0);
  CHECK(counts.opened_before(6).oldest == 5);
}

TEST_CASE("intervals and counts at their limits do not run into each other") {
  poise::sync::AgeCounts<4> counts;
  constexpr auto last = std::int64_t{1} << 36U;
  counts.close(-last);  // of a count that another thread is about to add
  for (int i = 0; i < (1 << 23); ++i) counts.open(last);
  counts.open(-last);
  CHECK(counts.opened_before(last).count == 0);
  CHECK(counts.opened_before(last + 1).count == 1 << 23);
  CHECK(counts.opened_before(last + 1).oldest == last);
}

TEST_CASE("a reference to a replaced value stays valid") {
  poise::sync::Replaceable<int> value{std::make_unique<int>(1)};
  auto const& first = value.load();
  CHECK(value.replace(std::make_unique<int>(2)) == 2);
  CHECK(value.load() == 2);
  CHECK(first == 1);
}

}  // namespace unit_sync
