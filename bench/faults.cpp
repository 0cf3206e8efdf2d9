// SPDX-License-Identifier: MIT

// The cost of a fault, and its duration. Three servers at 200 calls a second in virtual time, so
// the figures are exact and the same on every machine. After 30 s one server, or two, have the
// fault for 60 s. Then they are healthy again, and are observed for 120 s.
//
//   failed      calls without an answer, of those during the fault
//   at rest     the same, of the fault's second half
//   left alone  from the fault until a faulty server gets less than 5 % of its share within a
//               second
//   back        from its end until each of them gets at least half of its share within 5 s
//
//   killed      its host is gone: no answers, connections time out after 250 ms
//   hung        accepts, and never answers: attempts time out after 1 s
//   refusing    its process is gone: connections are refused
//   failing     an error after 1 ms
//   rejecting   blames the caller after 1 ms; such calls count as failed here
//   resetting   breaks off after 5 ms
//   slow        ten times as slow: nothing fails; the share that it still gets is what counts
//
// faults [--short]: one policy and one of three only.

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/core.h>

#include <poise/health/monitor.hpp>
#include <poise/poise.hpp>

#include "property/world.hpp"

namespace {

using namespace std::chrono_literals;
using tests::Condition;

constexpr std::size_t servers = 3;
constexpr double rate = 200;
constexpr auto before = 30s;
constexpr auto fault = 60s;
constexpr auto after = 120s;

constexpr std::array<std::string_view, servers> ids{"a", "b", "c"};

/// What one second of traffic brought.
struct Second {
  std::array<double, servers> asked{};
  double calls = 0;
  double failed = 0;

  Second& operator+=(Second const& other) {
    for (std::size_t i = 0; i < servers; ++i) asked[i] += other.asked[i];
    calls += other.calls;
    failed += other.failed;
    return *this;
  }
};

struct Recorder final : tests::Watcher {
  Second now{};
  void picked(Pick const& pick) override {
    ++now.asked[static_cast<std::size_t>(pick.id[0] - 'a')];
  }
  void called(poise::Result result) override {
    ++now.calls;
    now.failed += result == poise::Result::success ? 0 : 1;
  }
};

struct Figures {
  double failed = 0;
  double at_rest = 0;
  std::optional<std::size_t> left_alone{};  // s
  std::optional<std::size_t> back{};
};

Second sum(std::vector<Second> const& seconds, std::size_t from, std::size_t until) {
  Second all;
  for (auto i = from; i < until; ++i) all += seconds[i];
  return all;
}

Figures figures_of(std::vector<Second> const& all, std::size_t faulty) {
  constexpr std::size_t begin = before / 1s;
  constexpr std::size_t end = begin + fault / 1s;
  constexpr double share = rate / servers;
  auto const during = sum(all, begin, end);
  auto const rest = sum(all, (begin + end) / 2, end);
  Figures figures{.failed = during.failed / during.calls, .at_rest = rest.failed / rest.calls};
  auto const each = [&](auto const& holds) {
    for (std::size_t i = servers - faulty; i < servers; ++i)
      if (!holds(i)) return false;
    return true;
  };
  for (std::size_t at = begin; at < end && !figures.left_alone; ++at)
    if (each([&](std::size_t i) { return all[at].asked[i] < 0.05 * share; }))
      figures.left_alone = at - begin;
  constexpr std::size_t span = 5;
  for (std::size_t at = end; at + span <= all.size() && !figures.back; ++at)
    if (auto const some = sum(all, at, at + span);
        each([&](std::size_t i) { return some.asked[i] >= 0.5 * share * span; }))
      figures.back = at - end;
  return figures;
}

template <class Monitor, class P>
Figures run(Condition condition, std::size_t faulty, tests::WorldOptions const& options) {
  std::vector<poise::Endpoint> endpoints;
  for (auto const id : ids) endpoints.push_back({.id = std::string{id}});
  auto const held = [] {
    if constexpr (std::is_void_v<Monitor>) return poise::MeasureLatency{};
    else return Monitor{{.seed = 1}};
  };
  tests::World<P, Monitor> world{std::move(endpoints), P{}, options, held()};
  Recorder recorder;
  world.watch(&recorder);
  std::vector<Second> seconds;
  auto const set = [&](Condition to) {
    for (std::size_t i = servers - faulty; i < servers; ++i) world.set(ids[i], to);
  };
  auto const pass = [&](std::chrono::seconds time) {
    for (; time > 0s; time -= 1s) {
      world.run(1s);
      seconds.push_back(std::exchange(recorder.now, {}));
    }
  };
  pass(before);
  set(condition);
  pass(fault);
  set(Condition::well);
  pass(after);
  return figures_of(seconds, faulty);
}

std::string seconds_of(std::optional<std::size_t> time) {
  return time ? fmt::format("{} s", *time) : "never";
}

void print(std::string_view name, Figures const& figures) {
  fmt::print("    {:<26}{:>8.2f} %{:>9.2f} %{:>12}{:>9}\n", name, 100 * figures.failed,
             100 * figures.at_rest, seconds_of(figures.left_alone), seconds_of(figures.back));
}

struct Fault {
  std::string_view name;
  Condition condition;
};
constexpr std::array<Fault, 7> faults{{{"killed", Condition::gone},
                                       {"hung", Condition::hung},
                                       {"refusing", Condition::refusing},
                                       {"failing", Condition::failing},
                                       {"rejecting", Condition::rejecting},
                                       {"resetting", Condition::resetting},
                                       {"slow", Condition::slow}}};

template <class P>
void table(std::string_view policy, std::size_t faulty) {
  fmt::print("{}, {} of {} servers\n  {:<28}{:>10}{:>11}{:>12}{:>9}\n", policy, faulty, servers, "",
             "failed", "at rest", "left alone", "back");
  for (auto const& each : faults) {
    tests::WorldOptions options{.rate = rate};
    fmt::print("  {}\n", each.name);
    print("retry", run<void, P>(each.condition, faulty, options));
    print("retry + health", run<poise::health::Standard, P>(each.condition, faulty, options));
    options.probes.emplace();
    print("retry + health + probes",
          run<poise::health::Standard, P>(each.condition, faulty, options));
  }
  fmt::print("\n");
}

}  // namespace

int main(int argc, char** argv) {
  bool const is_short = argc > 1 && std::string_view{argv[1]} == "--short";
  table<poise::Retry<poise::P2C>>("Retry<P2C>", 1);
  if (is_short) return 0;
  table<poise::Retry<poise::P2C>>("Retry<P2C>", 2);
  table<poise::Retry<poise::Adaptive>>("Retry<Adaptive>", 1);
  table<poise::Retry<poise::Adaptive>>("Retry<Adaptive>", 2);
}
