// SPDX-License-Identifier: MIT

// A histogram that threads fill while another one reads it: no count is lost, and no reading falls.

#include <chrono>
#include <cstdint>

#include <poise/observe/histogram.hpp>

#include "stress/team.hpp"
#include "support/catch.hpp"

using poise::observe::BucketCounts;
using poise::observe::Histogram;
using poise::observe::Scale;

namespace {

/// All write the same few buckets, and now and then the first value of an octave.
struct Adder {
  explicit Adder(Histogram& shared) : histogram{shared} {}
  void work() {
    histogram.add(std::chrono::microseconds{100 + made % 5});
    if (made % 1000 == 0) histogram.add(std::chrono::microseconds{4 << (made / 1000 % 20)});
    added += made % 1000 == 0 ? 2 : 1;
    ++made;
  }
  Histogram& histogram;
  std::int64_t made = 0;
  std::uint64_t added = 0;
};

BucketCounts read(Histogram const& histogram) {
  BucketCounts counts;
  counts.add(histogram);
  return counts;
}

}  // namespace

TEST_CASE("a histogram loses no latency, and none of its counts ever falls") {
  Histogram histogram;
  std::uint64_t added = 0;
  bool fell = false;
  {
    tests::Team<Adder> adders{3, histogram};
    auto before = read(histogram);
    for (tests::Rounds rounds{300}; rounds.next();) {
      auto now = read(histogram);
      for (std::size_t i = 0; i < Scale::buckets; ++i) fell = fell || now[i] < before[i];
      before = std::move(now);
    }
    for (auto const& adder : adders.stop()) added += adder.added;
  }
  CHECK_FALSE(fell);
  CHECK(read(histogram).total() == added);
}
