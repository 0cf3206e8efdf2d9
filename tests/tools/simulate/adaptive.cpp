// SPDX-License-Identifier: MIT
// What docs/adaptive.md says of Adaptive, on scenarios like those in examples/scenarios.

#include <algorithm>
#include <string>
#include <vector>

#include "support.hpp"
#include "support/catch.hpp"

namespace tools_simulate_adaptive {

namespace {

std::string const servers = R"(
clients     10
servers     20 cores=1 discipline=ps speed=1
work        exponential mean=10ms
utilisation 0.7
network     0.25ms
timeout     1s
warmup      5s
window      20s
)";

/// The median over three seeds.
template <class Of>
double median(Of const& of) {
  std::vector<double> values{of(1U), of(2U), of(3U)};
  std::sort(values.begin(), values.end());
  return values[1];
}

double p99_over_bound(simulate::Scenario const& scenario, std::string const& policy) {
  return median([&](unsigned seed) {
    simulate::GlobalQueue bound{seed};
    auto const best = simulate::Engine{scenario, seed, bound}.run();
    return tests::quantile(tests::run(scenario, policy, seed), 0.99) / tests::quantile(best, 0.99);
  });
}

}  // namespace

TEST_CASE("a black hole gets next to nothing from adaptive") {
  auto const scenario = simulate::read_scenario(servers + "at 5s server 3 errors=1 after=0.1ms\n");
  // A twentieth would be its share.
  CHECK(median([&](unsigned seed) {
          return tests::share(tests::run(scenario, "adaptive", seed), 3);
        }) <= 0.0012);
}

TEST_CASE("a server that healed has its share again from adaptive") {
  auto const scenario =
      simulate::read_scenario(servers + "at 5s server 3 speed=0.1\nat 10s server 3 speed=1\n");
  constexpr unsigned seeds = 9;  // single ones have 0.7 to 1.3
  double share = 0;
  for (unsigned seed = 1; seed <= seeds; ++seed)
    share += 20 / double{seeds} *
             tests::share(tests::run(scenario, "adaptive", seed), 3, simulate::slices * 3 / 4);
  CHECK(share >= 0.85);
  CHECK(share <= 1.1);
}

TEST_CASE("adaptive is ahead of a full scan by latency, and of two choices") {
  auto const scenario = simulate::read_scenario(servers);
  auto const adaptive = p99_over_bound(scenario, "adaptive");
  CHECK(adaptive < 1.9);
  CHECK(adaptive < 0.8 * p99_over_bound(scenario, "least_latency"));
  CHECK(adaptive < 0.7 * p99_over_bound(scenario, "p2c"));
}

TEST_CASE("adaptive does the same at 100 us, 10 ms and 1 s") {
  auto const scenario = simulate::read_scenario(servers);
  auto const middle = p99_over_bound(scenario, "adaptive");
  for (auto const factor : {0.01, 100.0})
    CHECK(p99_over_bound(scenario.scaled(factor), "adaptive") == Approx(middle).epsilon(0.03));
}

}  // namespace tools_simulate_adaptive
