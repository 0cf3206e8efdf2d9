// SPDX-License-Identifier: MIT
// Seam: per-backend data of a policy's own, which survives updates and starts afresh with the
// policy.

#include <atomic>
#include <chrono>
#include <cstddef>
#include <string>

#include <poise/poise.hpp>

#include "support/catch.hpp"

namespace api_state {

using namespace std::chrono_literals;
using poise::Result;

namespace {

/// Takes the backend with the least mean latency; unknown ones first.
struct Fastest {
  static constexpr char const* name = "fastest";
  static constexpr poise::Traits traits{.uses_time = true};
  struct State {
    std::atomic<float> mean_ms{0};
    std::atomic<int> samples{0};
  };

  std::size_t pick(poise::Candidates const& candidates, poise::Context& context) const {
    auto best = candidates.size();
    for (std::size_t i = 0; i < candidates.size(); ++i)
      if (context.usable(candidates, i) &&
          (best == candidates.size() || mean(candidates, i) < mean(candidates, best)))
        best = i;
    return best;
  }
  void on_finish(poise::Finish& finish) const {
    if (!finish.latency || is_failure(finish.outcome.result)) return;
    auto& state = finish.state<State>();
    auto const sample = std::chrono::duration<float, std::milli>(*finish.latency).count();
    auto const mean = state.mean_ms.load();
    state.mean_ms = ++state.samples == 1 ? sample : mean + (sample - mean) / 4;
  }

 private:
  static float mean(poise::Candidates const& candidates, std::size_t i) {
    return candidates.state<State>(i).mean_ms;
  }
};

struct Fixture {
  poise::VirtualClock clock{};
  poise::Balancer<Fastest, void, poise::Runtime<poise::VirtualClock>> balancer{
      poise::endpoints({"slow", "fast", "mid"}), {}, {.clock = clock, .seed = 1}};

  void serve(int requests) {
    for (int i = 0; i < requests; ++i) {
      auto lease = balancer.pick();
      clock.advance(lease->id() == "fast" ? 1ms : lease->id() == "mid" ? 5ms : 50ms);
      lease.finish();
    }
  }
  std::string next() {
    auto lease = balancer.pick();
    auto const id = lease->id();
    lease.finish(Result::cancelled);
    return id;
  }
};

}  // namespace

TEST_CASE("seam state lets a policy learn from the outcomes of each backend") {
  Fixture test;
  test.serve(10);
  CHECK(test.next() == "fast");
  CHECK(test.balancer.stats().backends[1].total >= 8);
}

TEST_CASE("seam state survives updates and flips and reordering") {
  Fixture test;
  test.serve(3);
  test.balancer.update(poise::endpoints({"mid", "slow", "fast"}));
  test.balancer.drain("mid");
  test.balancer.undrain("mid");
  CHECK(test.next() == "fast");
}

TEST_CASE("seam state is fresh for a backend that joins") {
  Fixture test;
  test.serve(3);
  test.balancer.add({.id = "new"});
  CHECK(test.next() == "new");
}

TEST_CASE("seam state follows its backend while others are out") {
  Fixture test;
  test.serve(3);
  test.balancer.drain("fast");
  CHECK(test.next() == "mid");
}

TEST_CASE("seam state starts afresh with another policy") {
  Fixture test;
  test.serve(3);
  test.balancer.set_policy({});
  std::string asked;
  for (int i = 0; i < 3; ++i) {
    auto lease = test.balancer.pick();
    asked += lease->id() + " ";
    test.clock.advance(1ms);
    lease.finish();
  }
  CHECK(asked == "slow fast mid ");
}

TEST_CASE("seam state is not notified of a backend that was removed meanwhile") {
  Fixture test;
  auto lease = test.balancer.pick();
  auto const id = lease->id();
  test.balancer.remove(id);
  test.clock.advance(1ms);
  lease.finish();
  CHECK(test.next() != id);
}

TEST_CASE("seam state costs nothing where it is not declared") {
  STATIC_REQUIRE_FALSE(poise::hooks::has_state<poise::RoundRobin>);
  CHECK(poise::hooks::make_state(poise::RoundRobin{}) == nullptr);
}

}  // namespace api_state
