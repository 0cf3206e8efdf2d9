// SPDX-License-Identifier: MIT
#pragma once

// What programs share that ask what an extra costs: the same cycle with it and without it.

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>
#include <poise/endpoint.hpp>

#include "ratios.hpp"

namespace bench {

inline std::vector<poise::Endpoint> hosts(std::size_t count) {
  std::vector<poise::Endpoint> result;
  result.reserve(count);
  for (std::size_t i = 0; i < count; ++i)
    result.push_back({.id = "10.0.0." + std::to_string(i) + ":8080"});
  return result;
}

inline constexpr auto without_key = [](auto& servers) { servers.pick().finish(); };
inline constexpr auto with_key = [](auto& servers) {
  servers.pick({.route_key = "a key of a usual size"}).finish();
};

/// Calls once(servers) over and over, on a balancer of this type that all threads share.
template <class Balancer, auto Once>
void cycle(benchmark::State& state) {
  static Balancer* servers = nullptr;
  if (state.thread_index() == 0) {
    servers = new Balancer{hosts(static_cast<std::size_t>(state.range(0)))};
    for (int i = 0; i < 10'000; ++i) servers->pick().finish();
  }
  for (auto _ : state) Once(*servers);
  if (state.thread_index() == 0) delete servers;
}

/// A cycle, and what it is called before the name of the policy.
struct Kind {
  char const* name;
  void (*run)(benchmark::State&);
};

/// With ten backends, on one thread and on two.
inline void enlist(std::string const& name, std::initializer_list<Kind> kinds,
                   std::int64_t iterations) {
  for (auto const& kind : kinds)
    for (auto const threads : {1, 2})
      benchmark::RegisterBenchmark((std::string{kind.name} + '/' + name).c_str(), kind.run)
          ->Arg(10)
          ->Iterations(iterations)
          ->Threads(threads)
          ->UseRealTime();
}

/// Of the kinds "none", "seldom", "usual" and "each": what is added in ns (at most `each_ns` if
/// every pick is sampled; 0: nothing is claimed), and the ratios.
inline void compare_sampling(std::vector<Comparison>& comparisons, std::string const& name,
                             double each_ns) {
  auto const floor = "none/" + name;
  comparisons.push_back({"seldom/" + name, floor, 1, 0, Comparison::least});
  comparisons.push_back({"usual/" + name, floor, 0, 0, Comparison::least});
  comparisons.push_back({"each/" + name, floor, each_ns, 0, Comparison::least});
  comparisons.push_back({"seldom/" + name, floor, 0, 0, Comparison::ratio});
  comparisons.push_back({"each/" + name, floor, 0, 0, Comparison::ratio});
}

}  // namespace bench
