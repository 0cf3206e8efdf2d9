// SPDX-License-Identifier: MIT

// Read sections and published values by themselves, without a balancer around them: here the window
// between "I read" and "I load" is as large a part of the program as it can be.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include <poise/sync/epoch.hpp>
#include <poise/sync/published.hpp>

#include "stress/team.hpp"
#include "support/catch.hpp"

using poise::sync::Published;
using poise::sync::ReadSection;
using tests::Census;
using tests::Mortal;

namespace {

struct Value {
  std::uint64_t number;
  std::uint64_t copies[6];  // the memory allocator's own words overwrite the front of a freed block
  Mortal mortal;

  Value(std::uint64_t value, Census& census)
      : number{value}, copies{value, value, value, value, value, value}, mortal{census} {}
  [[nodiscard]] bool whole() const noexcept {
    for (auto const copy : copies)
      if (copy != number) return false;
    return mortal.alive();
  }
};

struct Fixture {
  Fixture() { poise::sync::start(); }
  void publish(std::uint64_t number) {
    published.prepare();
    published.publish(std::make_unique<Value>(number, census));
  }
  ~Fixture() {
    published.prepare();
    published.publish(nullptr);
    while (published.waiting() != 0) (void)published.collect();
  }

  Census census{};
  Published<Value> published{};
};

struct Reader {
  explicit Reader(Published<Value>& source) : published{source} {}
  void work() {
    litter();
    ReadSection const section;
    auto const* value = published.load();
    auto const number = value->number;
    // Long enough for an updater to free the value, if it believes that no thread reads.
    for (int look = 0; look < 200; ++look)
      if (!value->whole() || value->number != number) ++broken;
    if (number < last) ++backwards;
    last = number;
    if (++reads % 512 == 0) std::this_thread::yield();  // be preempted while reading, now and then
  }

  // A processor's stores wait in line. Slow ones before the section make its own store wait behind
  // them, while the load of the snapshot overtakes: what the barrier must prevent is then frequent.
  void litter() {
    for (int i = 0; i < 24; ++i) {
      place = place * 6364136223846793005U + 1442695040888963407U;
      yard[place >> 42U] = place;
    }
  }

  Published<Value>& published;
  std::vector<std::uint64_t> yard = std::vector<std::uint64_t>(1U << 22U);  // 32 MiB: beyond caches
  std::uint64_t place = reinterpret_cast<std::uintptr_t>(this);
  std::uint64_t last = 0;
  std::uint64_t reads = 0;
  int broken = 0;
  int backwards = 0;
};

}  // namespace

TEST_CASE("what a reader sees stays alive and whole until it stops reading") {
  auto const size = GENERATE(1U, 2U);  // one reader meets the updater most often on few processors
  Fixture fixture;
  fixture.publish(1);
  {
    tests::Team<Reader> readers{size, fixture.published};
    std::uint64_t number = 1;
    for (tests::Rounds rounds{1000}; rounds.next();) {
      for (int change = 0; change < 16; ++change) {
        fixture.publish(++number);
        (void)fixture.published.collect();
      }
      while (fixture.published.waiting() > 1000) (void)fixture.published.collect();
    }
    for (auto const& reader : readers.stop()) {
      CHECK(reader.reads > 0);
      CHECK(reader.broken == 0);
      CHECK(reader.backwards == 0);
    }
  }
  (void)fixture.published.collect();
  CHECK(fixture.published.waiting() == 0);
  CHECK(fixture.census.alive() == 1);
}

TEST_CASE("a value is kept for the reader that saw it, through any number of changes") {
  Fixture fixture;
  fixture.publish(1);
  {
    ReadSection const section;
    auto const* value = fixture.published.load();
    for (std::uint64_t number = 2; number < 50; ++number) {
      fixture.publish(number);
      (void)fixture.published.collect();
      REQUIRE(value->whole());
      REQUIRE(value->number == 1);
    }
    // Each value in between was retired after this section began, so each might be seen by it.
    CHECK(fixture.published.waiting() == 48);
  }
  CHECK(fixture.published.collect().size() == 48);
  CHECK(fixture.census.alive() == 1);
}

TEST_CASE("a reader that began after a change does not hold up what that change replaced") {
  Fixture fixture;
  fixture.publish(1);
  fixture.publish(2);
  ReadSection const section;
  CHECK(fixture.published.load()->number == 2);
  CHECK(fixture.published.collect().size() == 1);
  CHECK(fixture.published.waiting() == 0);
}

TEST_CASE("a section inside a section protects nothing of its own and ends nothing") {
  Fixture fixture;
  fixture.publish(1);
  {
    ReadSection const outer;
    auto const* value = fixture.published.load();
    {
      ReadSection const inner;
    }
    CHECK(poise::sync::is_reading());
    fixture.publish(2);
    (void)fixture.published.collect();
    CHECK(value->whole());
    {
      ReadSection const inner;
      CHECK(fixture.published.load()->number == 2);
    }
    fixture.publish(3);
    (void)fixture.published.collect();
    CHECK(value->whole());
    CHECK(fixture.census.alive() == 3);
  }
  CHECK_FALSE(poise::sync::is_reading());
  CHECK(fixture.published.collect().size() == 2);
}
