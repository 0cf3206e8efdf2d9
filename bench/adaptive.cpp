// SPDX-License-Identifier: MIT

// What does Adaptive cost? Pick and finish, beside what nobody who measures latency can save, and
// against the same rule behind a mutex, in the same run:
//
//   clocks    two readings of the clock
//   locked    the same policy, with one mutex around pick and on_finish
//
// Requests end at once, but report 8 to 12 ms, as in bench/latency.cpp. Two threads that do nothing
// else are the worst case: they write the same board all the time.

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <poise/balancer.hpp>
#include <poise/policy/adaptive.hpp>

#include "support/ratios.hpp"

namespace {

using namespace poise;

/// The latency of the next request.
class Latencies {
 public:
  Duration next() noexcept {
    state_ = state_ * 1664525 + 1013904223;
    return Duration{8'000'000 + state_ % 4'000'000};
  }

 private:
  std::uint32_t state_ = 1;
};

/// How one would protect the rule without poise.
template <class P>
struct Locked {
  using State = typename P::State;
  using Plan = typename P::Plan;
  static constexpr bool uses_time = true;

  [[nodiscard]] Plan plan(Candidates const& candidates, Plan const* before) const {
    return policy.plan(candidates, before);
  }
  std::size_t pick(Plan const& plan, Candidates const& candidates, Context& context) const {
    std::scoped_lock const lock{*mutex};
    return policy.pick(plan, candidates, context);
  }
  void on_finish(Finish& finish) const {
    std::scoped_lock const lock{*mutex};
    policy.on_finish(finish);
  }

  P policy{};
  std::shared_ptr<std::mutex> mutex = std::make_shared<std::mutex>();
};

template <class P>
Balancer<P>& balancer(std::size_t count) {
  static std::mutex mutex;
  static std::map<std::size_t, std::unique_ptr<Balancer<P>>> all;
  std::scoped_lock const lock{mutex};
  auto& found = all[count];
  if (!found) {
    std::vector<Endpoint> backends;
    for (std::size_t i = 0; i < count; ++i)
      backends.push_back({.id = "backend-" + std::to_string(i)});
    found = std::make_unique<Balancer<P>>(std::move(backends));
  }
  return *found;
}

template <class P>
void cycle(benchmark::State& state) {
  auto& it = balancer<P>(static_cast<std::size_t>(state.range(0)));
  Latencies latencies;
  for (auto _ : state) {
    auto lease = it.pick();
    lease.finish(Ending::success, latencies.next());
  }
}

void clocks(benchmark::State& state) {
  SteadyClock const clock;
  Latencies latencies;
  for (auto _ : state) {
    benchmark::DoNotOptimize(clock.now());
    benchmark::DoNotOptimize(latencies.next());
    benchmark::DoNotOptimize(clock.now());
  }
}

void sizes(benchmark::internal::Benchmark* it) {
  for (auto const count : {10, 100, 1000})
    for (auto const threads : {1, 2}) it->Arg(count)->Threads(threads);
  it->UseRealTime();
}

template <class P>
void enlist(std::string const& name) {
  sizes(benchmark::RegisterBenchmark(("cycle/" + name).c_str(), cycle<P>));
  sizes(benchmark::RegisterBenchmark(("locked/" + name).c_str(), cycle<Locked<P>>));
}

}  // namespace

int main(int argc, char** argv) {
  enlist<Adaptive>("adaptive");
  enlist<WideAdaptive>("wide");
  sizes(benchmark::RegisterBenchmark("clocks", clocks));

  return bench::run(argc, argv,
                    {{"cycle/adaptive", "clocks", 80, 100, bench::Comparison::difference},
                     {"cycle/wide", "clocks", 0, 0, bench::Comparison::difference},
                     {"cycle/adaptive", "locked/adaptive", 1.0, 100},
                     {"cycle/wide", "locked/wide"}});
}
