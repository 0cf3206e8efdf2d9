// SPDX-License-Identifier: MIT
// The indexed ring gives what a binary search over the same points gives, wherever they lie.

#include <poise/hashing/ring.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <poise/random.hpp>

#include "support/catch.hpp"
#include "support/text.hpp"

namespace unit_hashing_ring {

namespace {

template <class Hash>
using Points = std::vector<typename poise::Ring<Hash>::Point>;

std::uint64_t random(std::uint64_t& state) {
  state += poise::detail::wyrand_step;
  return poise::detail::wyrand(state);
}

/// Compares with a search by halves for every hash that could make a difference, and many others.
template <class Hash>
void compare(Points<Hash> points) {
  poise::Ring<Hash> const ring{points};
  std::stable_sort(points.begin(), points.end(),
                   [](auto const& a, auto const& b) { return a.hash < b.hash; });
  REQUIRE(ring.size() == points.size());
  for (std::size_t at = 0; at < points.size(); ++at) REQUIRE(ring[at] == points[at]);
  auto const check = [&](Hash hash) {
    auto const found =
        std::lower_bound(points.begin(), points.end(), hash,
                         [](auto const& point, Hash wanted) { return point.hash < wanted; });
    auto const next = static_cast<std::size_t>(found - points.begin()) % points.size();
    REQUIRE(ring.next(hash) == next);
    auto const before = (next == 0 ? points.size() : next) - 1;
    auto const back = static_cast<Hash>(hash - points[before].hash);
    auto const ahead = static_cast<Hash>(points[next].hash - hash);
    REQUIRE(ring.nearest(hash) == (back <= ahead ? before : next));
  };
  for (auto const& point : points)
    for (int step = -1; step <= 1; ++step)
      check(static_cast<Hash>(point.hash + static_cast<Hash>(step)));
  check(0);
  check(std::numeric_limits<Hash>::max());
  std::uint64_t state = 7;
  for (int i = 0; i < 20'000; ++i) check(static_cast<Hash>(random(state)));
}

template <class Hash>
void compare_sizes() {
  std::uint64_t state = 1;
  for (std::size_t const size : {1U, 2U, 3U, 4U, 5U, 63U, 64U, 65U, 1000U, 4097U}) {
    CAPTURE(size);
    Points<Hash> spread(size);
    Points<Hash> bunched(size);
    for (std::uint32_t i = 0; i < size; ++i) {
      spread[i] = {static_cast<Hash>(random(state)), i};
      // Thousands in one arc, a fifth of them equal, at either end of the circle.
      bunched[i] = {static_cast<Hash>(random(state) % (size * 5) - size), i};
    }
    compare<Hash>(spread);
    compare<Hash>(bunched);
  }
}

}  // namespace

TEST_CASE("a ring of 32 bits finds what a binary search finds") { compare_sizes<std::uint32_t>(); }
TEST_CASE("a ring of 64 bits finds what a binary search finds") { compare_sizes<std::uint64_t>(); }

TEST_CASE("points with the same hash stay in order, or only the first stays") {
  Points<std::uint32_t> const points{{5, 0}, {7, 1}, {5, 2}, {7, 3}, {9, 4}};
  poise::Ring<std::uint32_t> const all{points};
  CHECK(all[0].owner == 0);
  CHECK(all[1].owner == 2);
  CHECK(all.next(6) == 2);
  poise::Ring<std::uint32_t> const some{points, true};
  CHECK(some.size() == 3);
  CHECK(some[some.next(5)].owner == 0);
  CHECK(some[some.next(6)].owner == 1);
  CHECK(some[some.next(8)].owner == 4);
  CHECK(some[some.next(10)].owner == 0);
}

TEST_CASE("an empty ring is empty") { CHECK(poise::Ring<std::uint32_t>{{}}.empty()); }

TEST_CASE("a ring that would not fit is refused before memory is asked for") {
  Points<std::uint32_t> points;
  CHECK(tests::mentions(tests::thrown<poise::ConfigError>([&] {
                          poise::detail::reserve_points(points, std::uint64_t{1} << 40U);
                        }),
                        "1099511627776 points, more than 67108864"));
}

}  // namespace unit_hashing_ring
