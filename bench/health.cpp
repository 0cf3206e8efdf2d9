// SPDX-License-Identifier: MIT

// The cost of health rules per request in a healthy pool, without the clock. Pick and finish with
// all rules are compared with the same balancer without rules. Both use a clock that only counts,
// since on a busy machine two reads of the real clock vary by more than the measured cost; the cost
// of these reads is printed too. The least times of many short, interleaved turns are compared:
// other work of the machine makes a turn longer, never shorter.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <poise/compose/shed.hpp>
#include <poise/health/limit.hpp>
#include <poise/health/monitor.hpp>
#include <poise/poise.hpp>

#include "support/ratios.hpp"

namespace {

using namespace poise;

std::vector<Endpoint> backends(std::size_t count) {
  std::vector<Endpoint> result;
  for (std::size_t i = 0; i < count; ++i) result.push_back({.id = std::to_string(i)});
  return result;
}

/// A microsecond later at each call.
struct CheapClock {
  Time now() const noexcept { return Time{Duration{*ns += 1000}}; }
  void sleep(Duration) const {}
  std::int64_t* ns = &shared;
  static inline std::int64_t shared = 0;
};

using AllRules = Runtime<CheapClock, health::Standard, health::FixedLimit, health::AdaptiveLimit>;
using OnlyLatency = Runtime<CheapClock, MeasureLatency>;
using OnlyClock = Runtime<CheapClock>;
using RealClock = Runtime<CycleClock, health::Standard>;

/// As in services, where a request does not end in the function that picked: each by itself, so
/// that the compiler's luck with registers in one large loop is not what is compared.
template <bool ReadsClock, class Servers>
[[gnu::noinline]] auto pick(Servers& servers) {
  if constexpr (ReadsClock) benchmark::DoNotOptimize(CheapClock{}.now());
  return servers.pick();
}
template <bool ReadsClock, class Lease>
[[gnu::noinline]] void finish(Lease lease) {
  if constexpr (ReadsClock) benchmark::DoNotOptimize(CheapClock{}.now());
  lease.finish();
}

/// One thread; the balancer is warm: every backend has been asked, and ticked.
template <class P, class R, bool ReadsClock>
void cycle(benchmark::State& state) {
  Balancer<P, void, R> servers{backends(static_cast<std::size_t>(state.range(0)))};
  for (int i = 0; i < 10'000; ++i) servers.pick().finish();
  servers.tick();
  for (auto _ : state) finish<ReadsClock>(pick<ReadsClock>(servers));
}

/// A tick with all rules, at an interval's end or between.
void tick(benchmark::State& state) {
  Balancer<RoundRobin, void, AllRules> balancer{backends(static_cast<std::size_t>(state.range(0)))};
  for (int i = 0; i < 10'000; ++i) balancer.pick().finish();
  Time now = CheapClock{}.now();
  for (auto _ : state) balancer.tick(now += std::chrono::seconds{1});
}

void sizes(benchmark::internal::Benchmark* it) {
  constexpr int turn = 20'000;  // fixed: an estimate that something interrupts is off for good
  for (auto const count : {3, 10, 100}) it->Arg(count)->Iterations(turn);
}

template <class P>
void enlist(std::string const& name) {
  auto const add = [&](std::string const& kind, auto* run) {
    sizes(benchmark::RegisterBenchmark((kind + "/" + name).c_str(), run));
  };
  add("all_rules", cycle<P, AllRules, false>);
  add("measured", cycle<P, OnlyLatency, false>);
  add("no_rules", cycle<P, OnlyClock, true>);
  add("real_clock", cycle<P, RealClock, false>);
}

}  // namespace

int main(int argc, char** argv) {
  enlist<RoundRobin>("round_robin");
  enlist<P2C>("p2c");
  for (auto const count : {10, 100, 1000})
    benchmark::RegisterBenchmark("tick/all_rules", tick)->Arg(count);
  auto const least = bench::Comparison::least;
  return bench::run(argc, argv,
                    {{"all_rules/round_robin", "no_rules/round_robin", 5, 3, least},
                     {"all_rules/p2c", "no_rules/p2c", 5, 3, least},
                     {"measured/round_robin", "no_rules/round_robin", 0, 3, least},
                     {"measured/p2c", "no_rules/p2c", 0, 3, least}},
                    60);
}
