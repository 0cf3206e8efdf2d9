// SPDX-License-Identifier: MIT

// What does a request cost? Pick and finish, for every policy, against floors in the same run:
//
//   leaking     the same policy, records and cursors behind a raw pointer that is never freed: what
//               is left when only the protection is removed
//
//   scan        the plain loop for the fewest requests in flight, first index wins, over the same
//               records
//
//   next++      one shared counter modulo n, with the same statistics
//
//   textbook    a shared_mutex, healthy backends filtered into a vector, the chosen one copied out
//
// What the policies cost that look at latency is in latency.cpp.

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <vector>

#include <poise/poise.hpp>

#include "support/ratios.hpp"

namespace {

using namespace poise;

std::vector<Endpoint> backends(std::size_t count, bool weighted) {
  std::vector<Endpoint> result;
  for (std::size_t i = 0; i < count; ++i)
    result.push_back({.id = "backend-" + std::to_string(i),
                      .address = "10.0.0.1:" + std::to_string(1000 + i),
                      .weight = weighted ? static_cast<std::uint32_t>(1 + i % 3) : 1});
  return result;
}

/// A record as poise has it, without an owner.
struct Loose : Backend {
  explicit Loose(Endpoint endpoint) : Backend{std::move(endpoint), 1} {}
  std::uint32_t claim() noexcept { return word_.claim(); }
  void end() noexcept {
    count(Ending::success, detail::unmeasured, {});
    benchmark::DoNotOptimize(word_.release());
  }
};

/// What the benchmarks share between threads: built once per size, kept for the whole run.
template <class P>
struct Subject {
  Subject(std::size_t count, bool weighted) : balancer{backends(count, weighted)} {
    for (auto const& endpoint : backends(count, weighted))
      loose.push_back(std::make_unique<Loose>(endpoint));
    auto* roster = new Roster{Roster::of(count, 1, [&](std::size_t i) {
      return Roster::Member{loose[i].get(), loose[i]->weight(), true};
    })};
    plan.emplace(hooks::plan(policy, Candidates{*roster}, nullptr));
    leaked = roster;
  }

  Balancer<P> balancer;
  P policy{};
  std::optional<hooks::PlanOf<P>> plan;
  std::vector<std::unique_ptr<Loose>> loose;
  std::atomic<Roster const*> leaked{nullptr};
  Chance chance{1, &detail::mix};
  alignas(64) std::atomic<std::size_t> next{0};
};

template <class P, bool Weighted>
Subject<P>& subject(std::size_t count) {
  static std::mutex mutex;
  static std::map<std::size_t, std::unique_ptr<Subject<P>>> all;
  std::scoped_lock const lock{mutex};
  auto& found = all[count];
  if (!found) found = std::make_unique<Subject<P>>(count, Weighted);
  return *found;
}

template <class P, bool Weighted>
void cycle(benchmark::State& state) {
  auto& balancer = subject<P, Weighted>(static_cast<std::size_t>(state.range(0))).balancer;
  for (auto _ : state) {
    auto lease = balancer.pick();
    lease.finish();
  }
}

template <class P, bool Weighted>
void bare(benchmark::State& state) {
  auto& balancer = subject<P, Weighted>(static_cast<std::size_t>(state.range(0))).balancer;
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
  auto& it = subject<P, Weighted>(static_cast<std::size_t>(state.range(0)));
  sync::Lane const lane{static_cast<std::uint32_t>(state.thread_index()) + 1};
  for (auto _ : state) {
    Candidates const candidates{*it.leaked.load(std::memory_order_acquire)};
    Context context{any_request, it.chance, lane};
    auto const i = hooks::pick(it.policy, *it.plan, candidates, context);
    auto& record = const_cast<Loose&>(static_cast<Loose const&>(candidates[i]));
    benchmark::DoNotOptimize(record.claim());
    record.end();
  }
}

void scan(benchmark::State& state) {
  auto& it = subject<LeastConnections, false>(static_cast<std::size_t>(state.range(0)));
  for (auto _ : state) {
    Candidates const candidates{*it.leaked.load(std::memory_order_acquire)};
    std::size_t best = 0;
    auto fewest = candidates.in_flight(0);
    for (std::size_t i = 1; i < candidates.size(); ++i)
      if (auto const count = candidates.in_flight(i); count < fewest) {
        fewest = count;
        best = i;
      }
    it.loose[best]->claim();
    it.loose[best]->end();
  }
}

void shared_counter(benchmark::State& state) {
  auto& it = subject<RoundRobin, false>(static_cast<std::size_t>(state.range(0)));
  auto const size = it.loose.size();
  for (auto _ : state) {
    auto& record = *it.loose[it.next.fetch_add(1, std::memory_order_relaxed) % size];
    benchmark::DoNotOptimize(record.claim());
    record.end();
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
      for (auto const& endpoint : backends(static_cast<std::size_t>(state.range(0)), false))
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
