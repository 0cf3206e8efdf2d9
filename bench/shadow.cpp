// SPDX-License-Identifier: MIT

// What does a shadow policy cost? Pick and finish with one compared pick in 2^20, in 1024, and with
// every pick compared, against the same balancer without a shadow. The shadow needs no time and no
// ends of requests, so that nothing but picks differs.

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <poise/analysis/shadow.hpp>
#include <poise/poise.hpp>

#include "support/ratios.hpp"

namespace {

using namespace poise;
using analysis::Shadow;
using analysis::ShadowOptions;

template <class P>
void cycle(benchmark::State& state) {
  static Balancer<P>* servers = nullptr;
  if (state.thread_index() == 0) {
    std::vector<Endpoint> backends;
    for (std::int64_t i = 0; i < state.range(0); ++i)
      backends.push_back({.id = "10.0.0." + std::to_string(i) + ":8080"});
    servers = new Balancer<P>{std::move(backends)};
    for (int i = 0; i < 10'000; ++i) servers->pick().finish();
  }
  for (auto _ : state) servers->pick({.route_key = "a key of a usual size"}).finish();
  if (state.thread_index() == 0) delete servers;
}

template <class Live, class Other>
void enlist(std::string const& name) {
  auto const add = [&](std::string const& kind, auto* run) {
    for (auto const threads : {1, 2})
      benchmark::RegisterBenchmark((kind + "/" + name).c_str(), run)
          ->Arg(10)
          ->Iterations(2'000)
          ->Threads(threads)
          ->UseRealTime();
  };
  add("none", cycle<Live>);
  add("seldom", cycle<Shadow<Live, Other, ShadowOptions{.sampling = 20}>>);
  add("usual", cycle<Shadow<Live, Other>>);
  add("each", cycle<Shadow<Live, Other, ShadowOptions{.sampling = 0}>>);
}

}  // namespace

int main(int argc, char** argv) {
  enlist<RoundRobin, HashRing<>>("round_robin_beside_ring");
  enlist<P2C, LeastConnections>("p2c_beside_least");
  enlist<LeastConnections, P2C>("least_beside_p2c");
  enlist<HashRing<>, Maglev>("ring_beside_maglev");
  std::vector<bench::Comparison> comparisons;
  for (std::string const pair :
       {"round_robin_beside_ring", "p2c_beside_least", "least_beside_p2c", "ring_beside_maglev"}) {
    auto const floor = "none/" + pair;
    comparisons.push_back({"seldom/" + pair, floor, 1, 0, bench::Comparison::least});
    comparisons.push_back({"usual/" + pair, floor, 0, 0, bench::Comparison::least});
    comparisons.push_back({"each/" + pair, floor, 0, 0, bench::Comparison::least});
    comparisons.push_back({"seldom/" + pair, floor, 0, 0, bench::Comparison::ratio});
    comparisons.push_back({"each/" + pair, floor, 0, 0, bench::Comparison::ratio});
  }
  return bench::run(argc, argv, comparisons, 300);
}
