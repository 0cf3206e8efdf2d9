// SPDX-License-Identifier: MIT
#pragma once

// Simulates many things at once: every policy, and every bound, in every scenario with every seed.
//
// Each simulation runs on one thread, with a random source of its own: the results don't depend on
// the number of threads.

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "scenario.hpp"

namespace simulate {

/// What became of a host, as a share of what all got.
struct Monitored {
  std::size_t host = 0;
  double share = 0;         // of all tries in the window
  double last_quarter = 0;  // ... in its last quarter
  double p99 = 0;           // ns, of the requests that ended there
};

/// One simulation in numbers. Times are in nanoseconds.
struct Summary {
  std::size_t requests = 0;
  double mean = 0;
  double p50 = 0;
  double p90 = 0;
  double p99 = 0;
  double p999 = 0;
  double max = 0;
  double error_share = 0;
  double imbalance = 0;  // most tries per capacity of any host, over the mean; 1 is even
  std::vector<Monitored> watched{};
  std::vector<double> in_system{};            // at the end of each tenth of the window
  std::vector<std::vector<double>> shares{};  // by watched host, over time
  std::vector<double> p99s{};                 // over time; 0 where no request began
};

/// A scenario as the user named it.
struct Case {
  std::string name;
  Scenario scenario;
};

/// A line of the table: all seeds of one policy in one scenario.
struct Line {
  std::string policy;
  std::vector<Summary> seeds{};
  std::vector<double> over_bound{};  // p99 / bound, by seed
};

struct Table {
  Case const* its_case = nullptr;
  std::vector<Line> bounds{};
  std::vector<Line> policies{};
  std::vector<double> bound_p99{};  // by seed
};

struct Plan {
  std::vector<Case> cases{};
  std::vector<std::string> policies{};
  std::vector<std::uint64_t> seeds{};
  unsigned threads = 0;  // 0: all there are
};

/// The hosts of a scenario that something happens to, unless it happens to most.
[[nodiscard]] std::vector<std::size_t> watched_hosts(Scenario const& scenario);

/// *Errors* ConfigError if there is no such policy.
[[nodiscard]] Summary simulate_policy(Scenario const& scenario, std::string const& policy,
                                      std::uint64_t seed);

/// Calls progress(done, all) from time to time, on the calling thread.
[[nodiscard]] std::vector<Table> run(Plan const& plan,
                                     std::function<void(std::size_t, std::size_t)> const& progress);

/// The median of some number of each seed.
template <class Of>
[[nodiscard]] double median(Line const& line, Of const& of) {
  std::vector<double> values;
  for (auto const& each : line.seeds) values.push_back(of(each));
  auto const middle = values.begin() + static_cast<std::ptrdiff_t>((values.size() - 1) / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}
[[nodiscard]] double median_over_bound(Line const& line);

}  // namespace simulate
