// SPDX-License-Identifier: MIT

// What does it cost to choose the policy while the program runs? Pick and finish through AnyPolicy,
// beside the same policy as a type, in the same run.

#include <cstddef>
#include <string>
#include <vector>

#include <poise/compose/any_policy.hpp>
#include <poise/poise.hpp>

#include "support/ratios.hpp"

namespace {

using namespace poise;

template <class B>
void cycle(benchmark::State& state, B& balancer) {
  for (auto _ : state) {
    auto lease = balancer.pick();
    lease.finish();
  }
}

/// As a type ("plain/NAME") and erased ("any/NAME"), with 10, 100 and 1000 backends.
template <class P>
void enlist(std::string const& name) {
  for (int const count : {10, 100, 1000}) {
    std::vector<Endpoint> backends;
    for (int i = 0; i < count; ++i) backends.push_back({.id = std::to_string(i)});
    auto const suffix = name + "/" + std::to_string(count);
    benchmark::RegisterBenchmark(("plain/" + suffix).c_str(),
                                 [balancer = std::make_shared<Balancer<P>>(backends)](
                                     benchmark::State& state) { cycle(state, *balancer); });
    benchmark::RegisterBenchmark(
        ("any/" + suffix).c_str(),
        [balancer = std::make_shared<Balancer<AnyPolicy>>(backends, AnyPolicy{P{}})](
            benchmark::State& state) { cycle(state, *balancer); });
  }
}

bench::Comparison one_nanosecond(std::string const& name) {
  return {"any/" + name, "plain/" + name, 1.0, 10, bench::Comparison::difference};
}

}  // namespace

int main(int argc, char** argv) {
  enlist<RoundRobin>("round_robin");
  enlist<SmoothWeighted>("smooth_weighted");
  enlist<P2C>("p2c");
  enlist<LeastConnections>("least_connections");
  return bench::run(argc, argv,
                    {one_nanosecond("round_robin"), one_nanosecond("smooth_weighted"),
                     one_nanosecond("p2c"), one_nanosecond("least_connections")});
}
