// SPDX-License-Identifier: MIT
// Handles while backends come and go: each keeps its backend, and the last holder frees it once.

#include <cstddef>
#include <string>
#include <vector>

#include <poise/balancer.hpp>
#include <poise/policy/round_robin.hpp>

#include "stress/team.hpp"
#include "support/catch.hpp"

namespace {

struct Pool {
  tests::Mortal life;
  std::string name;
};
using Servers = poise::Balancer<poise::RoundRobin, Pool>;

bool is_right(Servers::Backend const& backend) {
  return backend.payload().life.alive() && backend.payload().name == backend.id();
}

/// Those of 4 backends whose bits are set.
std::vector<poise::Endpoint> some(unsigned bits) {
  std::vector<poise::Endpoint> result;
  for (unsigned i = 0; i < 4; ++i)
    if ((bits >> i & 1U) != 0) result.push_back({.id = std::to_string(i), .address = "x"});
  return result;
}

/// Finds backends, and keeps the last five of them.
struct Holder {
  Servers const& balancer;
  std::vector<Servers::Handle> kept = std::vector<Servers::Handle>(5);
  std::size_t turn = 0;
  std::size_t wrong = 0;

  explicit Holder(Servers const& of) : balancer{of} {}
  void work() {
    auto const& before = kept[(++turn + 2) % kept.size()];
    if (before && !is_right(*before)) ++wrong;
    auto const handle = balancer.find(std::to_string(turn % 4));
    if (handle && !is_right(*handle)) ++wrong;
    kept[turn % kept.size()] = handle;
  }
};

/// Visits all backends, and picks two of them at once.
struct Visitor {
  Servers const& balancer;
  std::size_t wrong = 0;

  explicit Visitor(Servers const& of) : balancer{of} {}
  void work() {
    balancer.for_each([&](auto const& backend) { wrong += is_right(backend) ? 0U : 1U; });
    auto const leases = balancer.pick_many(2);
    for (auto const& lease : leases) wrong += is_right(*lease) ? 0U : 1U;
    if (leases.size() == 2 && leases[0]->id() == leases[1]->id()) ++wrong;
  }
};

}  // namespace

TEST_CASE("handles, visits and quorums keep what they hold alive while the set changes") {
  tests::Census census;
  {
    Servers balancer{some(15), [&](poise::Endpoint const& endpoint) {
                       return Pool{tests::Mortal{census}, endpoint.id};
                     }};
    tests::Team<Holder> holders{2, balancer};
    tests::Team<Visitor> visitors{1, balancer};
    tests::Rounds rounds{100};
    for (unsigned bits = 1; rounds.next(); bits = bits % 15 + 1) balancer.update(some(bits));
    for (auto const& each : holders.stop()) CHECK(each.wrong == 0);
    for (auto const& each : visitors.stop()) CHECK(each.wrong == 0);
  }
  CHECK(census.alive() == 0);
}
