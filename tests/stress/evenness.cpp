// SPDX-License-Identifier: MIT

// How even rotations are when threads take turns at the same time, and where in-flight counts end.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <poise/balancer.hpp>
#include <poise/policy/round_robin.hpp>
#include <poise/policy/smooth_weighted.hpp>

#include "stress/team.hpp"
#include "support/catch.hpp"

namespace {

std::vector<poise::Endpoint> hosts(std::size_t count) {
  std::vector<poise::Endpoint> result;
  for (std::size_t i = 0; i < count; ++i) {
    auto const id = std::to_string(i);
    result.push_back({.id = id, .address = id});
  }
  return result;
}

struct Totals {
  std::uint64_t sum = 0;
  std::uint64_t least = ~std::uint64_t{0};
  std::uint64_t most = 0;
};

template <class Servers>
Totals totals(Servers& servers) {
  Totals result;
  for (auto const& backend : servers.stats().backends) {
    result.sum += backend.total;
    result.least = std::min(result.least, backend.total);
    result.most = std::max(result.most, backend.total);
  }
  return result;
}

template <class Servers>
struct Client {
  explicit Client(Servers& balancer) : servers{balancer} {}
  void work() {
    servers.pick().finish();
    ++picks;
  }
  Servers& servers;
  std::uint64_t picks = 0;
};

/// Picks on so many threads at once; returns the backends' totals. None may be lost.
template <class P>
Totals take_turns(unsigned threads, std::size_t backends) {
  using Servers = poise::Balancer<P>;
  Servers servers{hosts(backends)};
  std::uint64_t picks = 0;
  {
    tests::Team<Client<Servers>> clients{threads, servers};
    for (tests::Rounds rounds{10}; rounds.next();) std::this_thread::yield();
    for (auto const& client : clients.stop()) picks += client.picks;
  }
  auto const result = totals(servers);
  CHECK(result.sum == picks);
  CHECK(result.least > 0);
  return result;
}

}  // namespace

TEST_CASE("round robin differs by at most one pick per thread between two backends") {
  auto const threads = GENERATE(1U, 2U, 8U);
  auto const result = take_turns<poise::RoundRobin>(threads, 10);
  CHECK(result.most - result.least <= threads);
}

TEST_CASE("smooth weighted with equal weights is as even as round robin") {
  constexpr unsigned threads = 8;
  auto const result = take_turns<poise::SmoothWeighted>(threads, 7);
  CHECK(result.most - result.least <= threads);
}

TEST_CASE("exact round robin differs by at most one pick, on any number of threads") {
  auto const threads = GENERATE(2U, 8U);
  auto const result = take_turns<poise::ExactRoundRobin>(threads, 10);
  CHECK(result.most - result.least <= 1);
}

TEST_CASE("smooth weighted gives each thread exact shares") {
  using Servers = poise::Balancer<poise::SmoothWeighted>;
  auto endpoints = hosts(3);
  endpoints[0].weight = 5;
  Servers servers{endpoints};
  constexpr std::uint64_t periods = 200;
  tests::together(4, [&](unsigned) {
    for (std::uint64_t pick = 0; pick < 7 * periods; ++pick) servers.pick().finish();
  });
  auto const stats = servers.stats();
  CHECK(stats.backends[0].total == 4 * periods * 5);
  CHECK(stats.backends[1].total == 4 * periods);
  CHECK(stats.backends[2].total == 4 * periods);
}

TEST_CASE("a limit holds on any number of threads: it is never exceeded, and no slot is lost") {
  using Servers = poise::Balancer<poise::RoundRobin>;
  Servers servers{hosts(2)};
  constexpr std::uint32_t limit = 3;
  for (auto const* id : {"0", "1"}) servers.set_admission(id, {.max_in_flight = limit});

  struct Holder {
    explicit Holder(Servers& balancer) : servers{balancer} {}
    void work() {
      auto& lease = leases[picks++ % leases.size()];
      lease = {};
      lease = servers.pick();
      if (!lease) return;
      ++picked;
      // Others may be between their claim and taking it back; each of two threads holds up to four.
      if (lease->in_flight() > limit + 1) ++beyond;
    }
    Servers& servers;
    std::vector<Servers::Lease> leases = std::vector<Servers::Lease>(4);
    std::size_t picks = 0;
    std::uint64_t picked = 0;
    int beyond = 0;
  };
  std::uint64_t picked = 0;
  {
    tests::Team<Holder> holders{2, servers};
    for (tests::Rounds rounds{10}; rounds.next();) std::this_thread::yield();
    for (auto& holder : holders.stop()) {
      CHECK(holder.beyond == 0);
      picked += holder.picked;
      holder.leases.clear();
    }
  }
  CHECK(totals(servers).sum == picked);
  for (auto const& backend : servers.stats().backends) CHECK(backend.in_flight == 0);
  std::vector<Servers::Lease> leases;
  while (auto lease = servers.pick()) leases.push_back(std::move(lease));
  CHECK(leases.size() == 2 * limit);
}

TEST_CASE("a backend with 2^23 requests in flight takes no more, and says why") {
  if (tests::under_thread_sanitizer) return;  // one thread, and 2^24 steps: it would take long
  using Servers = poise::Balancer<poise::RoundRobin>;
  constexpr std::uint32_t limit = 1U << 23U;
  Servers servers{hosts(1)};
  auto const token = servers.pick().release();  // all leases of one backend are the same words
  for (std::uint32_t i = 1; i < limit; ++i) (void)servers.pick().release();

  auto const refused = servers.pick();
  CHECK_FALSE(refused);
  CHECK(refused.error().refused == 1);
  CHECK(message(refused.error()) == "1 backend: 1 at a limit or filtered out");
  CHECK(servers.stats().backends[0].in_flight == limit);
  CHECK(servers.stats().backends[0].total == limit);

  Servers::Lease::adopt(token).finish();
  CHECK(servers.pick());
  for (std::uint32_t i = 1; i < limit; ++i) Servers::Lease::adopt(token).finish();
  CHECK(servers.stats().backends[0].in_flight == 0);
  CHECK(servers.stats().backends[0].total == limit + 1);
}
