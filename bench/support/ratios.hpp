// SPDX-License-Identifier: MIT
#pragma once

// Runs the registered benchmarks interleaved, several times, and prints each one's median as a
// ratio to floors that were measured in the same run. A machine that is busy slows both, and the
// ratio stays.

#include <algorithm>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <benchmark/benchmark.h>
#include <fmt/core.h>

namespace bench {

/// A floor for a benchmark: names are compared after cutting the prefix up to the first '/'.
struct Comparison {
  std::string what;    // prefix of the measured benchmark, "cycle/round_robin"
  std::string floor;   // prefix of what it is measured against, "leaking/round_robin"
  double at_most = 0;  // the ratio we claim, 0 if none; printed, never asserted
  int from = 0;        // ... for this many backends and more
  enum Kind { ratio, difference, least } kind = ratio;  // differences are in ns; least: of minima
};

class Ratios : public benchmark::BenchmarkReporter {
 public:
  bool ReportContext(Context const&) override { return true; }
  void ReportRuns(std::vector<Run> const& runs) override {
    for (auto const& run : runs)
      if (run.run_type == Run::RT_Iteration && !run.error_occurred) {
        times_[run.benchmark_name()].push_back(run.GetAdjustedRealTime());
        if (++seen_ % 25 == 0) fmt::print(stderr, "\r{} measurements", seen_);
      }
  }

  void print(std::vector<Comparison> const& comparisons) const {
    fmt::print(stderr, "\r");
    fmt::print("{:<58} {:>9} {:>9} {:>9}\n", "benchmark (ns per operation and thread)", "median",
               "min", "max");
    for (auto const& [name, times] : times_) {
      auto const [low, high] = std::minmax_element(times.begin(), times.end());
      auto const threads = threads_of(name);
      fmt::print("{:<58} {:>9.2f} {:>9.2f} {:>9.2f}\n", shown(name), median(times) * threads,
                 *low * threads, *high * threads);
    }
    fmt::print("\n{:<58} {:>9} {:>9}   against\n", "ratio of medians, or difference", "",
               "claimed");
    for (auto const& comparison : comparisons) print(comparison);
  }

 private:
  void print(Comparison const& comparison) const {
    for (auto const& [name, times] : times_) {
      if (!name.starts_with(comparison.what + "/")) continue;
      auto const other = times_.find(comparison.floor + name.substr(comparison.what.size()));
      if (other == times_.end()) continue;
      auto const claim = comparison.at_most > 0 && size_of(name, comparison) >= comparison.from
                             ? fmt::format("<= {:.2f}", comparison.at_most)
                             : "";
      fmt::print("{:<58} {:>9} {:>9}   {}\n", shown(name),
                 compared(comparison, name, other->second), claim, comparison.floor);
    }
  }

  [[nodiscard]] std::string compared(Comparison const& comparison, std::string const& name,
                                     std::vector<double> const& floor) const {
    auto const time = median(times_.at(name));
    if (comparison.kind == Comparison::ratio) return fmt::format("{:.2f}", time / median(floor));
    if (comparison.kind == Comparison::least)
      return fmt::format(
          "{:.1f} ns",
          (std::ranges::min(times_.at(name)) - std::ranges::min(floor)) * threads_of(name));
    return fmt::format("{:.1f} ns", (time - median(floor)) * threads_of(name));
  }

  static int size_of(std::string const& name, Comparison const& comparison) {
    return std::stoi(name.substr(comparison.what.size() + 1));
  }

  static double median(std::vector<double> times) {
    auto const middle = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2);
    std::nth_element(times.begin(), middle, times.end());
    return *middle;
  }
  static std::string shown(std::string name) {
    for (std::string_view const noise : {"/real_time", "/manual_time"})
      if (auto const at = name.find(noise); at != std::string::npos) name.erase(at, noise.size());
    if (auto const at = name.find("/repeats:"); at != std::string::npos)
      name.erase(at, name.find('/', at + 1) - at);
    return name;
  }
  static double threads_of(std::string const& name) {
    auto const at = name.find("/threads:");
    return at == std::string::npos ? 1 : std::stod(name.substr(at + 9));
  }

  std::map<std::string, std::vector<double>> times_;
  std::size_t seen_ = 0;
};

/// Runs everything: `repetitions` rounds in random order, so that drift hits all alike.
inline int run(int argc, char** argv, std::vector<Comparison> const& comparisons,
               int repetitions = 9, double seconds = 0.005) {
  std::vector<std::string> arguments{argv, argv + argc};
  auto const add = [&](std::string_view name, std::string value) {
    auto const given = std::any_of(arguments.begin(), arguments.end(),
                                   [&](auto const& each) { return each.starts_with(name); });
    if (!given) arguments.push_back(std::string{name} + std::move(value));
  };
  add("--benchmark_enable_random_interleaving=", "true");
  add("--benchmark_repetitions=", std::to_string(repetitions));
  add("--benchmark_min_time=", std::to_string(seconds));
  std::vector<char*> pointers;
  for (auto& each : arguments) pointers.push_back(each.data());
  int count = static_cast<int>(pointers.size());
  benchmark::Initialize(&count, pointers.data());
  if (benchmark::ReportUnrecognizedArguments(count, pointers.data())) return 1;
  Ratios ratios;
  benchmark::RunSpecifiedBenchmarks(&ratios);
  ratios.print(comparisons);
  return 0;
}

}  // namespace bench
