// SPDX-License-Identifier: MIT

// What does it cost to be watched? Pick and finish with a meter, against the same balancer that
// measures latencies for its statistics only; both on a clock that costs its two calls, since two
// reads of the real one vary by more than what is measured. Then what readings and scrapes cost.

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <vector>

#include <fmt/core.h>
#include <poise/observe/json.hpp>
#include <poise/observe/meter.hpp>
#include <poise/observe/prometheus.hpp>
#include <poise/observe/reader.hpp>
#include <poise/poise.hpp>

#include "support/beside.hpp"
#include "support/ratios.hpp"

namespace {

using namespace poise;

/// Later at each call: latencies that spread over some octaves, as real ones do.
struct CheapClock {
  Time now() const noexcept {
    thread_local std::int64_t ns = 0;
    thread_local std::uint32_t turn = 0;
    return Time{Duration{ns += 1'000 << (++turn * 0x9e3779b9U >> 29U)}};
  }
  void sleep(Duration) const {}
};

using Off = Runtime<CheapClock, MeasureLatency>;
using On = Runtime<CheapClock, MeasureLatency, observe::Meter<>>;
using Sampled =
    Runtime<CheapClock, MeasureLatency, observe::Meter<observe::MeterOptions{.sampling = 4}>>;
using Counting =
    Runtime<CheapClock, MeasureLatency, observe::Meter<observe::MeterOptions{.latency = false}>>;

template <class P, class R>
inline constexpr auto of = bench::cycle<Balancer<P, void, R>, bench::without_key>;

template <class P>
void enlist(std::string const& name) {
  bench::enlist(name,
                {{"on", of<P, On>},
                 {"sampled", of<P, Sampled>},
                 {"counting", of<P, Counting>},
                 {"off", of<P, Off>}},
                20'000);
}

/// The median and the least of some runs, in milliseconds.
template <class Run>
void print(std::string const& what, double at_most_ms, Run const& run) {
  std::vector<double> times;
  for (int i = 0; i < 21; ++i) {
    auto const begin = std::chrono::steady_clock::now();
    run();
    times.push_back(
        std::chrono::duration<double, std::milli>{std::chrono::steady_clock::now() - begin}
            .count());
  }
  std::ranges::sort(times);
  fmt::print("{:<58} {:>9.2f} {:>9.2f} {:>9}\n", what, times[times.size() / 2], times[0],
             fmt::format("<= {:.1f}", at_most_ms));
}

template <class R>
void print_readings(std::size_t count, std::size_t cap, double read_ms, double scrape_ms) {
  Balancer<Random, void, R> servers{bench::hosts(count)};
  observe::Reader const reader{"bench", servers, {.cap = cap}};
  std::mt19937_64 random{1};
  std::lognormal_distribution latency{std::log(2e6), 0.8};
  auto const work = [&] {
    for (int i = 0; i < 200'000; ++i)
      servers.pick().finish({}, std::chrono::nanoseconds{std::llround(latency(random))});
  };
  work();
  (void)reader.read();
  work();
  auto const name = fmt::format("{} backends, {} by name{}", count, std::min(cap, count),
                                std::is_same_v<R, Counting> ? ", no latencies" : "");
  print("read/" + name, read_ms, [&] { benchmark::DoNotOptimize(reader.read()); });
  std::size_t size = 0;
  std::size_t lines = 0;
  print("scrape/" + name, scrape_ms, [&] {
    auto const snapshot = reader.read();
    auto const text = observe::metrics_text(std::span{&snapshot, 1});
    size = text.size();
    lines = static_cast<std::size_t>(std::ranges::count(text, '\n'));
  });
  fmt::print("{:<58} {:>9} lines, {} kB\n", "", lines, size / 1000);
}

}  // namespace

int main(int argc, char** argv) {
  enlist<RoundRobin>("round_robin");
  enlist<P2C>("p2c");
  auto const least = bench::Comparison::least;
  auto const result = bench::run(argc, argv,
                                 {{"on/round_robin", "off/round_robin", 6, 0, least},
                                  {"on/p2c", "off/p2c", 6, 0, least},
                                  {"on/round_robin", "off/round_robin", 1.5},
                                  {"on/p2c", "off/p2c", 1.5},
                                  {"sampled/round_robin", "off/round_robin", 0, 0, least},
                                  {"counting/round_robin", "off/round_robin", 0, 0, least}},
                                 40);
  fmt::print("\n{:<58} {:>9} {:>9} {:>9}\n", "readings (ms)", "median", "min", "claimed");
  print_readings<Counting>(1000, 100, 0.2, 5);
  print_readings<On>(1000, 100, 1.5, 5);
  print_readings<On>(1000, 1000, 1.5, 50);
  print_readings<Counting>(100'000, 100, 20, 20);
  return result;
}
