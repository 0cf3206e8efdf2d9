// SPDX-License-Identifier: MIT
// What a connection of a pool costs: once it is open, no allocation and two locks.

#include <chrono>

#include <poise/poise.hpp>
#include <poise/pool/acquire.hpp>
#include <poise/pool/pool.hpp>

#include "hooks.hpp"
#include "support/catch.hpp"

#if POISE_COUNTS

namespace {

using Lines = poise::pool::Pool<int>;

Lines lines() {
  return Lines{{.open = [](poise::Duration) { return 1; }}, {.max = 4}};
}

/// What happened in 100 uses, after the first has opened what is needed.
template <class Use>
tests::Counts counts_of(Use const& use) {
  for (int i = 0; i < 10; ++i) use();
  auto const before = tests::counts();
  for (int i = 0; i < 100; ++i) use();
  auto const after = tests::counts();
  return {.allocations = after.allocations - before.allocations,
          .locks = after.locks - before.locks};
}

}  // namespace

TEST_CASE("a connection that is taken and given back allocates nothing and takes two locks") {
  auto pool = lines();
  auto const counts = counts_of([&] { pool.acquire().give_back(); });
  CHECK(counts.allocations == 0);
  CHECK(counts.locks == 200);
}

TEST_CASE("a pick with its connection allocates nothing and takes two locks") {
  poise::Balancer<poise::P2C, Lines> servers{poise::endpoints({"10.0.0.1:80", "10.0.0.2:80"}),
                                             [](poise::Endpoint const&) { return lines(); }};
  auto const counts = counts_of([&] { poise::pool::acquire(servers).finish(); });
  CHECK(counts.allocations == 0);
  CHECK(counts.locks == 200);
}

#endif
