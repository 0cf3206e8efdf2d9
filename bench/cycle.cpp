// SPDX-License-Identifier: MIT

// The cost of a request: pick and finish, for every policy, against floors in the same run:
//
//   leaking     the same policy, records and cursors behind a raw pointer that is never freed: the
//               same work without the protection
//
//   scan        the plain loop for the fewest requests in flight, first index wins, over the same
//               records
//
//   next++      one shared counter modulo n, with the same statistics
//
//   textbook    a shared_mutex, healthy backends filtered into a vector, the chosen one copied out
//
// latency.cpp measures the policies that use latency.

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <vector>

#include <poise/poise.hpp>

#include "support/ratios.hpp"
#include "support/subject.hpp"

namespace {

using namespace poise;

using bench::Subject;

template <class P, bool Weighted>
void cycle(benchmark::State& state) {
  auto& balancer = Subject<P, Weighted>::of(state).balancer;
  for (auto _ : state) {
    auto lease = balancer.pick();
    lease.finish();
  }
}

template <class P, bool Weighted>
void bare(benchmark::State& state) {
  auto& balancer = Subject<P, Weighted>::of(state).balancer;
  // A pick can't be had without its end: the lease is released into a token, and ended unmeasured.
  constexpr std::size_t batch = 64;
  std::vector<typename Balancer<P>::Lease::Token> tokens(batch);
  while (state.KeepRunningBatch(batch)) {
    for (auto& token : tokens) token = balancer.pick().release();
    state.PauseTiming();
    for (auto const& token : tokens) Balancer<P>::Lease::adopt(token).finish();
    state.ResumeTiming();
  }
}

template <class P, bool Weighted>
void leaking(benchmark::State& state) {
  auto& it = Subject<P, Weighted>::of(state);
  for (auto _ : state) {
    auto context = it.context(state);
    it.pick(context).end(it.policy);
  }
}

void scan(benchmark::State& state) {
  auto& it = Subject<LeastConnections>::of(state);
  for (auto _ : state) {
    auto const candidates = it.candidates();
    std::size_t best = 0;
    auto fewest = candidates.in_flight(0);
    for (std::size_t i = 1; i < candidates.size(); ++i)
      if (auto const count = candidates.in_flight(i); count < fewest) {
        fewest = count;
        best = i;
      }
    it.loose[best]->claim();
    it.loose[best]->end(it.policy);
  }
}

void shared_counter(benchmark::State& state) {
  alignas(64) static std::atomic<std::size_t> next{0};
  auto& it = Subject<RoundRobin>::of(state);
  auto const size = it.loose.size();
  for (auto _ : state) {
    auto& record = *it.loose[next.fetch_add(1, std::memory_order_relaxed) % size];
    record.claim();
    record.end(it.policy);
  }
}

/// The balancer of many a tutorial.
struct Textbook {
  struct Server {
    std::string id;
    std::string address;
    bool healthy = true;
    std::size_t active = 0;
    std::size_t total = 0;
  };
  std::shared_mutex mutex;
  std::vector<Server> servers;
  std::atomic<std::size_t> next{0};

  Server pick() {
    std::shared_lock const lock{mutex};
    std::vector<std::size_t> healthy;
    for (std::size_t i = 0; i < servers.size(); ++i)
      if (servers[i].healthy) healthy.push_back(i);
    auto& chosen = servers[healthy[next++ % healthy.size()]];
    std::atomic_ref{chosen.active}.fetch_add(1);
    std::atomic_ref{chosen.total}.fetch_add(1);
    return chosen;
  }
  void finish(Server const& server) {
    std::shared_lock const lock{mutex};
    for (auto& each : servers)
      if (each.id == server.id) std::atomic_ref{each.active}.fetch_sub(1);
  }
};

void textbook(benchmark::State& state) {
  static std::mutex mutex;
  static std::map<std::int64_t, std::unique_ptr<Textbook>> all;
  Textbook* book = nullptr;
  {
    std::scoped_lock const lock{mutex};
    auto& found = all[state.range(0)];
    if (!found) {
      found = std::make_unique<Textbook>();
      for (auto const& endpoint : bench::backends(static_cast<std::size_t>(state.range(0)), false))
        found->servers.push_back({endpoint.id, endpoint.address});
    }
    book = found.get();
  }
  for (auto _ : state) book->finish(book->pick());
}

void sizes(benchmark::internal::Benchmark* it) {
  for (auto const count : {3, 10, 100, 1000})
    for (auto const threads : {1, 2}) it->Arg(count)->Threads(threads);
  it->UseRealTime();
}

void sizes_alone(benchmark::internal::Benchmark* it) {
  for (auto const count : {3, 10, 100, 1000}) it->Arg(count);
}

template <class P, bool Weighted = false>
void enlist(std::string const& name) {
  sizes(benchmark::RegisterBenchmark(("cycle/" + name).c_str(), cycle<P, Weighted>));
  sizes(benchmark::RegisterBenchmark(("leaking/" + name).c_str(), leaking<P, Weighted>));
  sizes_alone(benchmark::RegisterBenchmark(("pick/" + name).c_str(), bare<P, Weighted>));
}

}  // namespace

int main(int argc, char** argv) {
  enlist<RoundRobin>("round_robin");
  enlist<ExactRoundRobin>("exact_round_robin");
  enlist<SmoothWeighted, true>("smooth_weighted");
  enlist<Random>("random");
  enlist<WeightedRandom, true>("weighted_random");
  enlist<LeastConnections>("least_connections");
  enlist<P2C>("p2c");
  enlist<P2C, true>("p2c_weighted");
  sizes(benchmark::RegisterBenchmark("scan", scan));
  sizes(benchmark::RegisterBenchmark("next++", shared_counter));
  sizes(benchmark::RegisterBenchmark("textbook", textbook));

  return bench::run(argc, argv,
                    {{"cycle/round_robin", "leaking/round_robin", 1.3, 10},
                     {"cycle/smooth_weighted", "leaking/round_robin", 1.8, 10},
                     {"cycle/random", "leaking/round_robin", 3.0, 10},
                     {"cycle/weighted_random", "leaking/round_robin", 3.0, 10},
                     {"cycle/p2c", "leaking/round_robin", 3.0, 10},
                     {"cycle/p2c_weighted", "leaking/round_robin"},
                     {"cycle/least_connections", "scan", 1.3, 100},
                     {"cycle/exact_round_robin", "leaking/exact_round_robin"},
                     {"cycle/smooth_weighted", "leaking/smooth_weighted"},
                     {"cycle/p2c", "leaking/p2c"},
                     {"cycle/least_connections", "leaking/least_connections"},
                     {"cycle/round_robin", "next++", 1.0, 10},
                     {"textbook", "cycle/round_robin"}});
}
