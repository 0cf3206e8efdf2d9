// SPDX-License-Identifier: MIT
// What an answer of a source costs: one that changes nothing, one that changes an endpoint, lines
// of a file.

#include <benchmark/benchmark.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <variant>

#include <poise/discovery/follower.hpp>
#include <poise/discovery/lines.hpp>
#include <poise/discovery/normalize.hpp>

namespace {

using namespace poise::discovery;

Found list(std::size_t count) {
  Found found;
  for (std::size_t i = 0; i < count; ++i) {
    auto const address =
        "10.0." + std::to_string(i / 256) + "." + std::to_string(i % 256) + ":8080";
    found.endpoints.push_back({.id = address, .address = address, .zone = "eu-1a"});
  }
  found.endpoints = std::get<Found>(normalize(found)).endpoints;
  return found;
}

/// The copy that a source would make is part of it.
void unchanged(benchmark::State& state) {
  auto const answer = list(static_cast<std::size_t>(state.range(0)));
  Follower follower{{}, 1};
  poise::Time now{std::chrono::hours{1}};
  follower.take(answer, now);
  for (auto each : state) {
    now += std::chrono::seconds{1};
    follower.take(answer, now);
  }
  if (follower.revision() != 1) state.SkipWithError("it was published");
}
BENCHMARK(unchanged)->Arg(10)->Arg(1000)->Arg(100'000)->Unit(benchmark::kMicrosecond);

void changed(benchmark::State& state) {
  auto answer = list(static_cast<std::size_t>(state.range(0)));
  Follower follower{{}, 1};
  poise::Time now{std::chrono::hours{1}};
  for (auto each : state) {
    now += std::chrono::seconds{1};
    ++answer.endpoints[0].weight;
    follower.take(answer, now);
    (void)follower.take_events();
  }
}
BENCHMARK(changed)->Arg(10)->Arg(1000)->Arg(100'000)->Unit(benchmark::kMicrosecond);

void lines(benchmark::State& state) {
  std::string text;
  for (auto const& each : list(static_cast<std::size_t>(state.range(0))).endpoints)
    text += to_line(each) + "\n";
  for (auto each : state) benchmark::DoNotOptimize(parse_lines(text));
}
BENCHMARK(lines)->Arg(1000)->Unit(benchmark::kMicrosecond);

}  // namespace

BENCHMARK_MAIN();
