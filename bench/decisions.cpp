// SPDX-License-Identifier: MIT

// What does it cost to record decisions? Pick and finish with one recorded pick in 2^20, and with
// every pick recorded, against the same balancer that records none. Each reads the clock; it is a
// counter here, since two reads of the real one vary by more than what is measured.

#include <cstdint>
#include <string>
#include <vector>

#include <poise/analysis/decisions.hpp>
#include <poise/poise.hpp>

#include "support/ratios.hpp"

namespace {

using namespace poise;
using analysis::DecisionOptions;
using analysis::Decisions;

struct CheapClock {
  Time now() const noexcept {
    thread_local std::int64_t ns = 0;
    return Time{Duration{ns += 10'000}};
  }
  void sleep(Duration) const {}
};

using None = Runtime<CheapClock, MeasureLatency>;
using Seldom = Runtime<CheapClock, MeasureLatency, Decisions<DecisionOptions{.sampling = 20}>>;
using Usual = Runtime<CheapClock, MeasureLatency, Decisions<>>;
using Each = Runtime<CheapClock, MeasureLatency, Decisions<DecisionOptions{.sampling = 0}>>;

template <class P, class R>
void cycle(benchmark::State& state) {
  static Balancer<P, void, R>* servers = nullptr;
  if (state.thread_index() == 0) {
    std::vector<Endpoint> backends;
    for (std::int64_t i = 0; i < state.range(0); ++i)
      backends.push_back({.id = "10.0.0." + std::to_string(i) + ":8080"});
    servers = new Balancer<P, void, R>{std::move(backends)};
    for (int i = 0; i < 10'000; ++i) servers->pick().finish();
  }
  for (auto _ : state) servers->pick({.route_key = "a key of a usual size"}).finish();
  if (state.thread_index() == 0) delete servers;
}

template <class P>
void enlist(std::string const& name) {
  auto const add = [&](std::string const& kind, auto* run) {
    for (auto const threads : {1, 2})
      benchmark::RegisterBenchmark((kind + "/" + name).c_str(), run)
          ->Arg(10)
          ->Iterations(20'000)
          ->Threads(threads)
          ->UseRealTime();
  };
  add("none", cycle<P, None>);
  add("seldom", cycle<P, Seldom>);
  add("usual", cycle<P, Usual>);
  add("each", cycle<P, Each>);
}

}  // namespace

int main(int argc, char** argv) {
  enlist<RoundRobin>("round_robin");
  enlist<P2C>("p2c");
  enlist<LeastConnections>("least");
  enlist<Adaptive>("adaptive");
  std::vector<bench::Comparison> comparisons;
  for (std::string const policy : {"round_robin", "p2c", "least", "adaptive"}) {
    auto const floor = "none/" + policy;
    comparisons.push_back({"seldom/" + policy, floor, 1, 0, bench::Comparison::least});
    comparisons.push_back({"usual/" + policy, floor, 0, 0, bench::Comparison::least});
    comparisons.push_back({"each/" + policy, floor, 100, 0, bench::Comparison::least});
    comparisons.push_back({"seldom/" + policy, floor, 0, 0, bench::Comparison::ratio});
    comparisons.push_back({"each/" + policy, floor, 0, 0, bench::Comparison::ratio});
  }
  return bench::run(argc, argv, comparisons, 40);
}
