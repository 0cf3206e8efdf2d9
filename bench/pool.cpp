// SPDX-License-Identifier: MIT

// What a connection costs over the pick alone: pool::acquire and finish against pick and finish of
// the same balancer, and the pool alone against a mutex that is locked twice.

#include <chrono>
#include <cstddef>
#include <mutex>
#include <string>
#include <vector>

#include <poise/poise.hpp>
#include <poise/pool/acquire.hpp>
#include <poise/pool/pool.hpp>

#include "support/ratios.hpp"

namespace {

using namespace poise;

using Connections = pool::Pool<int>;
using Servers = Balancer<P2C, Connections>;

Connections connections() {
  return Connections{{.open = [](Duration) { return 1; }, .check = {}, .reset = {}, .close = {}},
                     {.max = 8, .check_after = std::chrono::hours{1}}};
}

Servers& servers() {
  static Servers all{endpoints({"10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80", "10.0.0.4:80"}),
                     [](Endpoint const&) { return connections(); }};
  return all;
}

void acquired(benchmark::State& state) {
  for (auto _ : state) pool::acquire(servers()).finish();
}
void picked(benchmark::State& state) {
  for (auto _ : state) servers().pick().finish();
}

void taken(benchmark::State& state) {
  static auto alone = connections();
  for (auto _ : state) alone.acquire().give_back();
}
void locked_twice(benchmark::State& state) {
  static std::mutex mutex;
  for (auto _ : state)
    for (int i = 0; i < 2; ++i) std::scoped_lock const lock{mutex};
}

}  // namespace

int main(int argc, char** argv) {
  auto const add = [](char const* name, auto* run) {
    for (auto const threads : {1, 2})
      benchmark::RegisterBenchmark(name, run)
          ->Arg(4)
          ->Iterations(100'000)
          ->Threads(threads)
          ->UseRealTime();
  };
  add("acquire", acquired);
  add("pick", picked);
  add("take", taken);
  add("locks", locked_twice);
  return bench::run(
      argc, argv,
      {{.what = "acquire", .floor = "pick", .at_most = 150, .kind = bench::Comparison::difference},
       {.what = "take", .floor = "locks"}});
}
