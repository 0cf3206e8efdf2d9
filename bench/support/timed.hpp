// SPDX-License-Identifier: MIT
#pragma once

// What programs share that ask what it costs to look at latency: the cycle, and the floor that
// every measurement of latency needs.

#include <string>

#include <benchmark/benchmark.h>
#include <poise/time.hpp>

#include "subject.hpp"

namespace bench {

/// Pick and finish, with a latency that is reported.
template <class P>
void timed_cycle(benchmark::State& state) {
  auto& balancer = Subject<P>::of(state).balancer;
  Latencies latencies;
  for (auto _ : state) {
    auto lease = balancer.pick();
    lease.finish(poise::Result::success, latencies.next());
  }
}

/// Two readings of a clock.
template <class Clock = poise::CycleClock>
void clocks(benchmark::State& state) {
  Clock const clock;
  Latencies latencies;
  for (auto _ : state) {
    benchmark::DoNotOptimize(clock.now());
    benchmark::DoNotOptimize(latencies.next());
    benchmark::DoNotOptimize(clock.now());
  }
}

/// Registers it for 10, 100 and 1000 backends, each on one thread and on two.
template <class Run>
void enlist(std::string const& name, Run run) {
  auto* const it = benchmark::RegisterBenchmark(name.c_str(), run);
  for (auto const count : {10, 100, 1000})
    for (auto const threads : {1, 2}) it->Arg(count)->Threads(threads);
  it->UseRealTime();
}

}  // namespace bench
