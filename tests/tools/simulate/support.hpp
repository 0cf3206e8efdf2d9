// SPDX-License-Identifier: MIT
#pragma once

// Runs a scenario's text with a policy or a bound, and reads off the numbers that tests compare.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "simulate/bounds.hpp"
#include "simulate/clients.hpp"
#include "simulate/engine.hpp"
#include "simulate/scenario.hpp"
#include "support/policies.hpp"

namespace tests {

inline simulate::Result run(simulate::Scenario const& scenario, std::string const& policy,
                            std::uint64_t seed = 1, simulate::Reports const& reports = {}) {
  simulate::Clients clients{scenario.clients, [&](std::size_t) { return tests::policy(policy); },
                            seed, reports};
  return simulate::Engine{scenario, seed, clients}.run();
}
inline simulate::Result run(std::string const& text, std::string const& policy = "random",
                            std::uint64_t seed = 1) {
  return run(simulate::read_scenario(text), policy, seed);
}
template <class Bound>
simulate::Result run_bound(std::string const& text, std::uint64_t seed = 1) {
  auto const scenario = simulate::read_scenario(text);
  Bound bound{seed};
  return simulate::Engine{scenario, seed, bound}.run();
}

/// In ms.
inline double mean(simulate::Result const& result) {
  double sum = 0;
  for (auto const& each : result.samples) sum += static_cast<double>(each.latency);
  return sum / static_cast<double>(result.samples.size()) / 1e6;
}
inline double quantile(simulate::Result const& result, double q) {
  std::vector<float> all;
  for (auto const& each : result.samples) all.push_back(each.latency);
  auto const rank = static_cast<std::ptrdiff_t>(q * static_cast<double>(all.size()));
  std::nth_element(all.begin(), all.begin() + rank, all.end());
  return static_cast<double>(all[static_cast<std::size_t>(rank)]) / 1e6;
}
/// The share of all tries in some slices of the window.
inline double share(simulate::Result const& result, std::size_t host, std::size_t from = 0,
                    std::size_t until = simulate::slices) {
  double all = 0;
  double own = 0;
  for (std::size_t i = 0; i < result.picks.size(); ++i)
    for (auto slice = from; slice < until; ++slice) {
      all += result.picks[i][slice];
      if (i == host) own += result.picks[i][slice];
    }
  return own / all;
}

}  // namespace tests
