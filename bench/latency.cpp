// SPDX-License-Identifier: MIT

// What does it cost to look at latency? Pick and finish of the policies that do, against floors in
// the same run:
//
// The requests end at once, but report 8 to 12 ms: an estimate's age would otherwise be that of a
// service which answers in 50 ns.
//
//   clocks    two readings of the clock, which nobody who measures latency can save
//   leaking   the same policy and statistics, without what keeps backends and snapshots alive

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <poise/poise.hpp>

#include "support/ratios.hpp"

namespace {

using namespace poise;

std::vector<Endpoint> backends(std::size_t count) {
  std::vector<Endpoint> result;
  for (std::size_t i = 0; i < count; ++i)
    result.push_back(
        {.id = "backend-" + std::to_string(i), .address = "10.0.0.1:" + std::to_string(1000 + i)});
  return result;
}

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

/// A record as poise has it, with its policy's state and without an owner.
template <class P>
struct Loose : Backend {
  explicit Loose(Endpoint endpoint) : Backend{std::move(endpoint), 1} {}
  void claim() noexcept { benchmark::DoNotOptimize(word_.claim()); }
  void end(P const& policy, Duration latency, Time now) noexcept {
    count(Ending::success, latency, now);
    Finish finish{*this, Ending::success, latency, now, Path{}, state.get()};
    hooks::on_finish(policy, finish);
    benchmark::DoNotOptimize(word_.release());
  }
  std::shared_ptr<void> state = hooks::make_state(P{});
};

/// What the threads of a benchmark share: built once per size, kept for the whole run.
template <class P>
struct Subject {
  explicit Subject(std::size_t count) : balancer{backends(count)} {
    for (auto const& endpoint : backends(count))
      loose.push_back(std::make_unique<Loose<P>>(endpoint));
    auto* roster = new Roster{Roster::of(
        count, 1, [&](std::size_t i) { return Roster::Member{loose[i].get(), 1, true}; })};
    for (auto const& each : loose) roster->states.push_back(each->state.get());
    plan.emplace(hooks::plan(policy, Candidates{*roster}, nullptr));
    leaked = roster;
  }

  Balancer<P> balancer;
  P policy{};
  std::optional<hooks::PlanOf<P>> plan;
  std::vector<std::unique_ptr<Loose<P>>> loose;
  std::atomic<Roster const*> leaked{nullptr};
  Chance chance{1, &detail::mix};
};

template <class P>
Subject<P>& subject(std::size_t count) {
  static std::mutex mutex;
  static std::map<std::size_t, std::unique_ptr<Subject<P>>> all;
  std::scoped_lock const lock{mutex};
  auto& found = all[count];
  if (!found) found = std::make_unique<Subject<P>>(count);
  return *found;
}

template <class P>
void cycle(benchmark::State& state) {
  auto& balancer = subject<P>(static_cast<std::size_t>(state.range(0))).balancer;
  Latencies latencies;
  for (auto _ : state) {
    auto lease = balancer.pick();
    lease.finish(Ending::success, latencies.next());
  }
}

template <class P>
void leaking(benchmark::State& state) {
  auto& it = subject<P>(static_cast<std::size_t>(state.range(0)));
  sync::Lane const lane{static_cast<std::uint32_t>(state.thread_index()) + 1};
  SteadyClock const clock;
  Latencies latencies;
  for (auto _ : state) {
    Candidates const candidates{*it.leaked.load(std::memory_order_acquire)};
    Context context{any_request, it.chance, lane};
    context.now = clock.now();
    auto const i = hooks::pick(it.policy, *it.plan, candidates, context);
    auto& record = const_cast<Loose<P>&>(static_cast<Loose<P> const&>(candidates[i]));
    record.claim();
    record.end(it.policy, latencies.next(), clock.now());
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
  sizes(benchmark::RegisterBenchmark(("leaking/" + name).c_str(), leaking<P>));
}

}  // namespace

int main(int argc, char** argv) {
  enlist<PowerOfTwo<PeakEwma>>("p2c_peak_ewma");
  enlist<PowerOfTwo<Ewma>>("p2c_ewma");
  enlist<PowerOfTwo<Score>>("p2c_score");
  enlist<LeastLatency>("least_latency");
  enlist<P2C>("p2c");
  sizes(benchmark::RegisterBenchmark("clocks", clocks));

  return bench::run(argc, argv,
                    {{"cycle/p2c_peak_ewma", "clocks", 15, 10, bench::Comparison::difference},
                     {"cycle/p2c_ewma", "clocks", 0, 0, bench::Comparison::difference},
                     {"cycle/p2c_score", "clocks", 0, 0, bench::Comparison::difference},
                     {"cycle/least_latency", "clocks", 0, 0, bench::Comparison::difference},
                     {"cycle/p2c_peak_ewma", "leaking/p2c_peak_ewma", 1.5, 10},
                     {"cycle/p2c_ewma", "leaking/p2c_ewma"},
                     {"cycle/p2c_score", "leaking/p2c_score"},
                     {"cycle/least_latency", "leaking/least_latency"}});
}
