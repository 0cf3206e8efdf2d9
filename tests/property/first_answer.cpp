// SPDX-License-Identifier: MIT
// A backend whose very first answer was slow (cold caches, a connection to open) is no slow
// backend: it gets its share under every policy that measures latency, soon after that answer.

#include <array>
#include <chrono>
#include <cstddef>
#include <functional>
#include <set>
#include <string>
#include <string_view>

#include <poise/poise.hpp>

#include "property/counter.hpp"
#include "property/schedule.hpp"
#include "property/world.hpp"
#include "support/catch.hpp"
#include "support/policies.hpp"

namespace property_first_answer {

using namespace std::chrono_literals;

namespace {

constexpr std::array<std::string_view, 6> measuring{
    "adaptive", "least_latency", "p2c(ewma)", "p2c(peak_ewma)", "least(peak_ewma)", "p2c(score)"};

/// The first answer of these backends takes 5 s, later ones 10 ms.
struct SlowAtFirst final : tests::Watcher {
  std::set<std::string, std::less<>> cold{};
  std::function<void(poise::Duration)> make_slow{};
  tests::Counter counter{};

  void picked(Pick const& pick) override {
    if (auto const at = cold.find(pick.id); at != cold.end()) {
      cold.erase(at);
      make_slow(5s);
    }
    counter.picked(pick);
  }
  void called(poise::Result result) override { counter.called(result); }
};

struct Load {
  double per_server;  // requests in flight
  poise::Duration settles = 15s;
};

/// What "a" gets of its fair share, once its answer of 5 s is over and 10 s have passed.
double share_of_a(std::string_view policy, std::size_t count, Load load, bool all_are_cold) {
  auto const servers = tests::endpoints_of(count, false);
  SlowAtFirst watcher;
  if (all_are_cold)
    for (auto const& each : servers) watcher.cold.insert(each.id);
  else watcher.cold.insert("a");
  auto const fair = static_cast<double>(count);
  tests::World<poise::AnyPolicy> world{
      servers, tests::policy(policy), {.rate = load.per_server * fair * 100, .timeout = 30s}};
  watcher.make_slow = [&](poise::Duration time) { world.stream(time); };
  world.watch(&watcher);
  world.run(load.settles);
  watcher.counter.restart();
  world.run(10s);
  return watcher.counter.fraction("a") * fair;
}

}  // namespace

TEST_CASE("a backend whose first answer was slow gets its share of busy traffic within 10 s") {
  for (auto const policy : measuring)
    for (std::size_t const count : {2U, 3U, 5U, 20U})
      for (bool const all_are_cold : {false, true}) {
        auto const share = share_of_a(policy, count, {.per_server = 1}, all_are_cold);
        INFO(policy << ", 1 of " << count << (all_are_cold ? ", all are cold" : ""));
        CHECK(share >= 0.75);
        CHECK(share <= 1.25);
      }
}

TEST_CASE("... and of calm traffic, if its policy gives every backend one") {
  for (auto const policy : measuring)
    for (std::size_t const count : {2U, 3U, 5U, 20U}) {
      // With more than four backends, calm traffic stays with a few of them: docs/adaptive.md.
      if (policy == "adaptive" && count > 4) continue;
      auto const share = share_of_a(policy, count, {.per_server = 0.1, .settles = 25s}, false);
      INFO(policy << ", 1 of " << count);
      CHECK(share >= 0.7);
      CHECK(share <= 1.3);
    }
}

}  // namespace property_first_answer
