// SPDX-License-Identifier: MIT
// Seam: who lets a request in. A concurrency limit and a warm-up as rules, bounded load as a
// policy.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <poise/poise.hpp>

#include "support/catch.hpp"

namespace api_admission {

using namespace std::chrono_literals;
using poise::Result;

namespace {

/// Halves a backend's limit when it says that it is overloaded, and adds one at each tick.
struct Limiter {
  struct State {
    std::uint32_t limit = 8;
    bool overloaded = false;
  };
  void on_finish(poise::Finished const& event, State& state) const {
    if (event.outcome.result == Result::overloaded) state.overloaded = true;
  }
  void on_tick(poise::Time, std::span<poise::BackendView> all) const {
    for (auto& each : all) {
      auto& state = each.state<State>();
      state.limit = state.overloaded ? std::max(1U, state.limit / 2) : state.limit + 1;
      state.overloaded = false;
      each.admission.max_in_flight = state.limit;
    }
  }
};

/// A new backend accepts a growing share of its picks: nothing at first, all of them after 10 s.
struct WarmUp {
  struct State {
    std::optional<poise::Time> since{};
  };
  void on_tick(poise::Time now, std::span<poise::BackendView> all) const {
    for (auto& each : all) {
      auto& since = each.state<State>().since;
      if (!since) since = now;
      auto const warm = std::chrono::duration<double>(now - *since) / 10s;
      each.admission.share =
          warm >= 1 ? poise::Admission{}.share : static_cast<std::uint32_t>(warm * 0x1p32);
    }
  }
};

/// No backend takes more than 1.25 times the mean of all requests in flight, whatever P wants. The
/// total is the wrapper's own business; copies of the policy share it.
template <class P>
struct Bounded {
  P inner{};
  std::shared_ptr<std::atomic<int>> total = std::make_shared<std::atomic<int>>(0);

  std::size_t pick(poise::Candidates const& candidates, poise::Context& context) const {
    return inner.pick(candidates, context);
  }
  bool admit(poise::Candidates const& candidates, std::size_t, std::uint32_t in_flight,
             poise::Context&) const {
    auto const fair = (*total + 1) / static_cast<double>(candidates.size());
    if (in_flight + 1 > std::ceil(1.25 * fair)) return false;
    ++*total;
    return true;
  }
  void on_finish(poise::Finish&) const { --*total; }
};

/// Sends everything to the first backend: a single hot key.
struct Hot {
  std::size_t pick(poise::Candidates const&, poise::Context&) const { return 0; }
};

template <class Balancer>
std::map<std::string, std::uint64_t> totals(Balancer& balancer) {
  std::map<std::string, std::uint64_t> result;
  for (auto const& each : balancer.stats().backends) result[each.id] = each.total;
  return result;
}

}  // namespace

TEST_CASE("seam admission lets a rule limit the requests in flight on each backend") {
  using Runtime = poise::Runtime<poise::VirtualClock, Limiter>;
  poise::Balancer<poise::RoundRobin, void, Runtime> balancer{
      poise::endpoints({"a", "b"}), {}, {.seed = 1}};
  balancer.tick();
  std::vector<decltype(balancer)::Lease> leases;
  while (auto lease = balancer.pick()) leases.push_back(std::move(lease));
  CHECK(leases.size() == 18);  // 8 + 1 on each
  leases.front().finish(Result::overloaded);
  auto const told = balancer.stats().backends[0].in_flight == 8 ? 0U : 1U;
  leases.clear();
  balancer.tick();
  CHECK(balancer.stats().backends[told].admission.max_in_flight == 4);
  CHECK(balancer.stats().backends[1 - told].admission.max_in_flight == 10);
}

TEST_CASE("seam admission lets a rule warm up a backend") {
  // Half warm it is proposed every other time and accepts one in two: a quarter of all. n = 9000,
  // standard deviation below 0.005; tolerance 0.025.
  poise::VirtualClock const clock;
  using Runtime = poise::Runtime<poise::VirtualClock, WarmUp>;
  poise::Balancer<poise::RoundRobin, void, Runtime> balancer{
      poise::endpoints({"old"}), {}, {.clock = clock, .seed = 1}};
  balancer.tick();
  clock.advance(1h);
  balancer.add({.id = "new"});
  balancer.tick();
  auto const share_of_next = [&](int picks) {
    auto const before = totals(balancer)["new"];
    for (int i = 0; i < picks; ++i) balancer.pick().finish();
    return static_cast<double>(totals(balancer)["new"] - before) / picks;
  };
  CHECK(share_of_next(1000) == 0);
  clock.advance(5s);
  balancer.tick();
  CHECK(std::abs(share_of_next(9000) - 1.0 / 4) < 0.025);
  clock.advance(5s);
  balancer.tick();
  CHECK(share_of_next(1000) == 0.5);
}

TEST_CASE("seam admission lets a policy bound the load of each backend") {
  using Policy = Bounded<Hot>;
  poise::Balancer<Policy, void, poise::Runtime<poise::VirtualClock>> balancer{
      poise::endpoints({"a", "b", "c", "d"}), {}, {.seed = 1}};
  std::vector<decltype(balancer)::Lease> leases;
  for (int i = 0; i < 100; ++i) leases.push_back(balancer.pick());
  auto const held = totals(balancer);
  CHECK(held.at("a") == 32);  // ceil(1.25 * 100 / 4)
  CHECK(held.at("b") + held.at("c") + held.at("d") == 68);
  leases.clear();
  CHECK(balancer.pick()->id() == "a");  // the total went down again
}

}  // namespace api_admission
