// SPDX-License-Identifier: MIT

// The backend's word by itself: what is in flight, how often it was picked, who frees it, and what
// happens where its numbers end.

#include <cstdint>

#include <poise/sync/in_flight.hpp>

#include "stress/team.hpp"
#include "support/catch.hpp"

using poise::sync::InFlight;
using tests::Number;

namespace {

/// picks() of a word that was moved below zero; its arithmetic is modulo 2^64.
std::int64_t signed_picks(InFlight const& word) { return static_cast<std::int64_t>(word.picks()); }

struct Picker {
  explicit Picker(InFlight& shared) : word{shared} {}
  void work() {
    word.claim();
    ++made;
    if (made % 3 == 0) {
      (void)word.undo();
      ++undone;
    } else {
      if (word.release() == InFlight::End::free) ++freed;
    }
  }
  InFlight& word;
  std::int64_t made = 0;
  std::int64_t undone = 0;
  int freed = 0;
};

/// Goes over the boundary and back.
struct Waverer {
  explicit Waverer(InFlight& shared) : word{shared} {}
  void work() {
    word.claim();
    (void)word.undo();
  }
  InFlight& word;
};

}  // namespace

TEST_CASE(
    "what is in flight returns to zero, and picks are counted once, whatever the threads do") {
  InFlight word;
  std::int64_t picks = 0;
  {
    tests::Team<Picker> pickers{3, word};
    for (tests::Rounds rounds{1000}; rounds.next();) (void)word.picks();
    for (auto const& picker : pickers.stop()) {
      picks += picker.made - picker.undone;
      CHECK(picker.freed == 0);  // pinned all the time
    }
  }
  CHECK(word.in_flight() == 0);
  CHECK(signed_picks(word) == picks);
  CHECK(word.unpin());
}

TEST_CASE("exactly one of the threads that release a backend frees it") {
  for (tests::Rounds rounds{300}; rounds.next();) {
    InFlight word;
    word.claim();
    word.claim();
    Number freed{0};
    tests::together(3, [&](unsigned number) {
      if (number == 0 ? word.unpin() : word.release() == InFlight::End::free) freed.add(1);
    });
    REQUIRE(freed.load() == 1);
    REQUIRE(word.in_flight() == 0);
  }
}

TEST_CASE("a count at its limit says so to every claim and never runs into the pin") {
  InFlight word;
  std::uint32_t before = 0;
  for (std::uint32_t i = 0; i < InFlight::limit; ++i) before = word.claim();
  CHECK(before == InFlight::limit - 1);
  for (int i = 0; i < 1000; ++i) {
    if (word.claim() < InFlight::limit) ++before;
    (void)word.undo();
  }
  CHECK(before == InFlight::limit - 1);
  CHECK(word.in_flight() == InFlight::limit);
  CHECK(word.picks() == InFlight::limit);
  bool freed = false;
  for (std::uint32_t i = 0; i < InFlight::limit; ++i)
    freed |= word.release() == InFlight::End::free;
  CHECK_FALSE(freed);
  CHECK(word.unpin());
}

// 2^32 picks take too long, so these two begin a few picks below zero, which is the same
// place modulo 2^32: the upper half of the word goes from ff...ff to 0 there. A claim taken back
// that was never made is the only way to get there; it also borrows from the pin, until the claims
// return it.

TEST_CASE("picks are counted right across the 32 bits that they have in the word") {
  constexpr std::int64_t below = 100'000;
  InFlight word;
  for (std::int64_t i = 0; i < below; ++i) (void)word.undo();
  CHECK(signed_picks(word) == -below);

  struct Claimer {
    explicit Claimer(InFlight& shared) : word{shared} {}
    void work() {
      if (made == below) return;
      word.claim();
      ++made;
    }
    InFlight& word;
    std::int64_t made = 0;
  };
  tests::Team<Claimer> claimers{2, word};
  int wrong = 0;
  std::int64_t last = -below;
  while (last < below) {
    auto const now = signed_picks(word);
    if (now < last || now > below) ++wrong;
    last = now;
  }
  claimers.stop();
  CHECK(wrong == 0);
  CHECK(signed_picks(word) == below);
}

TEST_CASE("claims that are taken back where the 32 bits end leave the count of picks right") {
  constexpr std::int64_t threads = 3;
  InFlight word;
  (void)word.undo();
  tests::Team<Waverer> waverers{threads, word};
  int wrong = 0;
  for (tests::Rounds rounds{100'000}; rounds.next();) {
    auto const now = signed_picks(word);
    if (now < -1 || now >= threads) ++wrong;
  }
  waverers.stop();
  CHECK(wrong == 0);
  CHECK(signed_picks(word) == -1);
}
