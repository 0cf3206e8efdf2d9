// SPDX-License-Identifier: MIT

// Compiled twice, as two shared libraries, with two versions of the headers. What it offers has the
// name that SIDE gives it.

#include <cstdint>

#include <poise/balancer.hpp>
#include <poise/policy/round_robin.hpp>
#include <poise/version.hpp>

/// Picks so often under changes, on its own balancer. Returns how many picks found a backend.
extern "C" int SIDE(int picks) {
  if (poise::version != poise::Version EXPECTED) return -1;
  poise::Balancer<poise::RoundRobin> servers{poise::endpoints({"a", "b"})};
  int found = 0;
  for (int i = 0; i < picks; ++i) {
    servers.add({.id = "c", .address = "c"});
    auto lease = servers.pick();
    if (lease && lease->address().size() == 1) ++found;
    lease.finish();
    servers.remove("c");
  }
  std::uint64_t total = 0;
  for (auto const& backend : servers.stats().backends) total += backend.total;
  return total <= static_cast<std::uint64_t>(picks) ? found : -2;
}
