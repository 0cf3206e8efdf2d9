// SPDX-License-Identifier: MIT

// The cost of call() when the first attempt succeeds, compared with pick and finish by hand: with a
// policy that never retries, with one that may, with timeouts, and with a report. Timeouts read the
// clock once, and so does their comparison.

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include <poise/poise.hpp>

#include "support/ratios.hpp"

namespace {

using namespace poise;
using namespace std::chrono_literals;

std::vector<Endpoint> backends(std::size_t count) {
  std::vector<Endpoint> result;
  for (std::size_t i = 0; i < count; ++i) result.push_back({.id = std::to_string(i)});
  return result;
}

/// A policy with timeouts that never passes them.
template <class P>
struct Timed : P {
  [[nodiscard]] CallTimeouts timeouts(Request const&) const {
    return {.timeout = 1h, .attempt_timeout = 1h};
  }
};

struct Reply {
  int value;
};

Reply answer(Backend& backend) {
  benchmark::DoNotOptimize(&backend);
  return {7};
}

template <class P>
void by_hand(benchmark::State& state) {
  Balancer<P> balancer{backends(static_cast<std::size_t>(state.range(0)))};
  for (auto _ : state) {
    auto lease = balancer.pick();
    benchmark::DoNotOptimize(answer(*lease));
    lease.finish();
  }
}

template <class P>
void by_hand_and_clock(benchmark::State& state) {
  Balancer<P> balancer{backends(static_cast<std::size_t>(state.range(0)))};
  for (auto _ : state) {
    benchmark::DoNotOptimize(SteadyClock{}.now());
    auto lease = balancer.pick();
    benchmark::DoNotOptimize(answer(*lease));
    lease.finish();
  }
}

template <class P>
void call(benchmark::State& state, P policy = {}) {
  Balancer<P> balancer{backends(static_cast<std::size_t>(state.range(0))), std::move(policy)};
  for (auto _ : state) benchmark::DoNotOptimize(balancer.call(answer));
}

template <class P>
void call_with_report(benchmark::State& state) {
  Balancer<P> balancer{backends(static_cast<std::size_t>(state.range(0)))};
  CallReport report;
  for (auto _ : state)
    benchmark::DoNotOptimize(balancer.call(any_request, answer, {.report = &report}));
}

template <class P>
void enlist(std::string const& name) {
  auto const add = [&](std::string const& kind, auto run) {
    benchmark::RegisterBenchmark((kind + "/" + name).c_str(), run)->Arg(10);
  };
  add("by_hand", by_hand<P>);
  add("by_hand_and_clock", by_hand_and_clock<P>);
  add("call", [](benchmark::State& state) { call<P>(state); });
  add("call_that_may_retry", [](benchmark::State& state) { call<Retry<P>>(state); });
  add("call_of_any_policy",
      [](benchmark::State& state) { call<AnyPolicy>(state, AnyPolicy{Retry<P>{}}); });
  add("call_with_timeouts", [](benchmark::State& state) { call<Timed<P>>(state); });
  add("call_with_report", call_with_report<P>);
}

}  // namespace

int main(int argc, char** argv) {
  enlist<RoundRobin>("round_robin");
  enlist<P2C>("p2c");
  std::vector<bench::Comparison> comparisons;
  auto const beside = [&](std::string const& what, std::string const& floor, double at_most) {
    for (auto const* policy : {"/round_robin", "/p2c"})
      comparisons.push_back(
          {what + policy, floor + policy, at_most, 10, bench::Comparison::difference});
  };
  beside("call", "by_hand", 15);
  beside("call_that_may_retry", "by_hand", 15);
  beside("call_of_any_policy", "by_hand", 0);
  beside("call_with_timeouts", "by_hand_and_clock", 15);
  beside("call_with_report", "by_hand", 0);
  return bench::run(argc, argv, comparisons);
}
