// SPDX-License-Identifier: MIT

// What it costs to watch, to limit and to wait: hooks beside the same cycle without them, and a
// request's end that serves a queue of 64 waiters beside one that serves none.

#include <array>
#include <cstddef>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <poise/compose/rate_limited.hpp>
#include <poise/observe/lease_watch.hpp>
#include <poise/poise.hpp>

#include "support/ratios.hpp"

namespace {

using namespace poise;

using Plain = Runtime<SteadyClock>;

constexpr int backends = 4;

std::vector<Endpoint> limited_to(std::uint32_t max) {
  std::vector<Endpoint> result;
  for (int i = 0; i < backends; ++i)
    result.push_back({.id = std::to_string(i), .max_in_flight = max});
  return result;
}
constexpr std::uint32_t no_limit = 1U << 20U;

template <class Body>
void enlist(std::string const& name, Body const& body) {
  benchmark::RegisterBenchmark((name + "/4").c_str(), body);
}

template <class P, class R>
void enlist_cycle(std::string const& name, P const& policy, R const& runtime,
                  Request const& request = any_request) {
  enlist(name,
         [balancer = std::make_shared<Balancer<P, void, R>>(limited_to(no_limit), policy, runtime),
          request](benchmark::State& state) {
           for (auto _ : state) {
             auto lease = balancer->pick(request);
             lease.finish();
           }
         });
}

/// An observer of events, which are rare.
struct Listens {
  void on_event(Event const&) const noexcept {}
};

Outcome judge(int const& status) { return outcome_of_http(status); }

template <class R>
void enlist_call(std::string const& name, R const& runtime) {
  enlist(name, [balancer = std::make_shared<Balancer<P2C, void, R>>(
                    limited_to(no_limit), P2C{}, runtime)](benchmark::State& state) {
    for (auto _ : state)
      if constexpr (std::is_same_v<R, Plain>)
        benchmark::DoNotOptimize(
            balancer->call(classified_by(judge, [](Backend&) { return 200; })));
      else benchmark::DoNotOptimize(balancer->call([](Backend&) { return 200; }));
  });
}

/// All places are taken, and so many waiters queue. Each round ends one request; its place goes to
/// the first waiter, which joins the queue again.
void serve_queue(benchmark::State& state, std::size_t waiters) {
  Balancer<P2C> const balancer{limited_to(2)};
  auto const core = detail::Inside::core(balancer);
  using Core = std::remove_cvref_t<decltype(*core)>;
  using Waiter = detail::Waiter<Core>;
  struct One : Waiter {
    bool* served = nullptr;
  };
  std::vector<Balancer<P2C>::Lease> held;
  while (auto lease = balancer.pick()) held.push_back(std::move(lease));
  std::vector<std::unique_ptr<One>> queue;
  for (std::size_t i = 0; i < waiters; ++i) {
    queue.push_back(std::make_unique<One>(One{{.request = &any_request,
                                               .ready = [](Waiter&) noexcept {},
                                               .look_after = [](Waiter&, Duration) noexcept {}}}));
    if (!core->room().wait(*queue.back())) state.SkipWithError("the queue is full");
  }
  std::size_t place = 0;
  std::size_t next = 0;
  for (auto _ : state) {
    held[place].finish();
    if (waiters == 0) {
      held[place] = balancer.pick();
    } else {
      auto& served = *queue[next++ % waiters];
      held[place] = std::move(served.lease);
      if (!core->room().wait(served)) state.SkipWithError("the queue is full");
    }
    place = (place + 1) % held.size();
  }
  for (auto const& each : queue) core->room().give_up(*each);
}

}  // namespace

int main(int argc, char** argv) {
  using bench::Comparison;
  enlist_cycle("p2c", P2C{}, Plain{});
  enlist_cycle("events", P2C{}, Runtime<SteadyClock, Listens>{});
  enlist_cycle("timed", P2C{}, Runtime<SteadyClock, MeasureLatency>{});
  enlist_cycle("lease_watch", P2C{}, Runtime<SteadyClock, observe::LeaseWatch>{});
  enlist_cycle("rate_backend",
               RateLimited<P2C>{{.backend = {.per_second = 1e6, .burst = 1'000'000}}}, Plain{});
  enlist_cycle("maglev", Maglev{}, Plain{}, {.route_key = "user-17"});
  enlist_call("classified_call", Plain{});
  enlist_call("classify_by", Runtime<SteadyClock, ClassifyBy<judge>>{});
  enlist("queue_of_0", [](benchmark::State& state) { serve_queue(state, 0); });
  enlist("queue_of_1", [](benchmark::State& state) { serve_queue(state, 1); });
  enlist("queue_of_64", [](benchmark::State& state) { serve_queue(state, 64); });
  return bench::run(argc, argv,
                    {{"events", "p2c", 1.03, 0, Comparison::ratio},
                     {"lease_watch", "timed", 0, 0, Comparison::least},
                     {"rate_backend", "timed", 0, 0, Comparison::least},
                     {"maglev", "p2c", 0, 0, Comparison::least},
                     {"classify_by", "classified_call", 1.03, 0, Comparison::ratio},
                     {"queue_of_1", "queue_of_0", 0, 0, Comparison::least},
                     {"queue_of_64", "queue_of_1", 0, 0, Comparison::ratio}});
}
