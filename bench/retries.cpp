// SPDX-License-Identifier: MIT

// The cost of a retry budget: per request, when its first attempt is picked, and per retry, granted
// or refused, while other threads do the same. The floor of the former is one add to a number that
// no other thread writes. (wrapped.cpp measures the cost of Retry in a pick, calls.cpp in a call.)

#include <chrono>
#include <cstdint>
#include <memory>

#include <benchmark/benchmark.h>

#include <poise/compose/hedge.hpp>
#include <poise/compose/retry_budget.hpp>
#include <poise/sync/lanes.hpp>
#include <poise/sync/relaxed.hpp>
#include <poise/time.hpp>

#include "support/ratios.hpp"

namespace {

using namespace poise;

sync::Lane lane_of(benchmark::State const& state) {
  return sync::Lane{static_cast<std::uint32_t>(state.thread_index()) + 1};
}

void own_number(benchmark::State& state) {
  sync::Relaxed<std::uint64_t> number;
  for (auto _ : state) {
    number.store(number.load() + 1);
    benchmark::ClobberMemory();
  }
}

void count_request(benchmark::State& state) {
  static RetryBudget const budget;
  auto const lane = lane_of(state);
  for (auto _ : state) {
    budget.count_request(lane);
    benchmark::ClobberMemory();
  }
}

/// A request, and a retry of it; with this floor almost all are granted, or almost none.
template <std::uint32_t Floor>
void take(benchmark::State& state) {
  static RetryBudget const budget;
  auto const lane = lane_of(state);
  Time now{std::chrono::hours{1}};
  for (auto _ : state) {
    now += Duration{100};
    budget.count_request(lane);
    benchmark::DoNotOptimize(budget.take(RetryBudget::Extra::retry, 0, Floor, now));
  }
}

void learn_latency(benchmark::State& state) {
  static auto const histogram = std::make_unique<detail::LatencyHistogram>();
  Duration latency{1'000'000};
  for (auto _ : state) histogram->add(latency += Duration{1000});
}

}  // namespace

int main(int argc, char** argv) {
  for (int const threads : {1, 2}) {
    benchmark::RegisterBenchmark("own_number/1", own_number)->Threads(threads);
    benchmark::RegisterBenchmark("count_request/1", count_request)->Threads(threads);
    benchmark::RegisterBenchmark("retry_granted/1", take<4'000'000'000U>)->Threads(threads);
    benchmark::RegisterBenchmark("retry_refused/1", take<10>)->Threads(threads);
    benchmark::RegisterBenchmark("learn_latency/1", learn_latency)->Threads(threads);
  }
  return bench::run(argc, argv,
                    {{"count_request", "own_number", 2, 1, bench::Comparison::difference},
                     {"retry_granted", "own_number", 0, 1, bench::Comparison::difference},
                     {"retry_refused", "own_number", 0, 1, bench::Comparison::difference}});
}
