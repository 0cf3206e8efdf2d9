// SPDX-License-Identifier: MIT
// What must hold whatever happens: random schedules in virtual time.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <poise/health/monitor.hpp>
#include <poise/poise.hpp>

#include "support/catch.hpp"
#include "support/policies.hpp"
#include "support/servers.hpp"

namespace unit_health_properties {

using namespace std::chrono_literals;
using namespace poise::health;
using poise::HealthState;
using poise::Result;

namespace {

/// One random life of a balancer. A failed check says the seed, which replays it.
class Life {
 public:
  /// `quiet`: only requests decide, and the set stays as it is; then the cap is exact.
  Life(std::string_view policy, std::uint64_t seed, bool quiet)
      : dice_{seed},
        seed_{seed},
        quiet_{quiet},
        balancer_{endpoints(), tests::policy(policy), runtime()} {}

  void run() {
    balancer_.tick();
    for (int step = 0; step < 40; ++step) {
      act();
      check("step");
    }
    recover();
  }

 private:
  using Runtime = poise::Runtime<poise::VirtualClock, Standard>;
  using Balancer = poise::Balancer<poise::AnyPolicy, void, Runtime>;

  std::uint64_t roll(std::uint64_t sides) { return dice_() % sides; }
  bool chance(unsigned percent) { return roll(100) < percent; }

  std::vector<poise::Endpoint> endpoints() {
    std::vector<poise::Endpoint> result;
    auto const count = 1 + roll(8);
    for (std::uint64_t i = 0; i < count; ++i) result.push_back(endpoint());
    return result;
  }
  poise::Endpoint endpoint() {
    return {.id = std::to_string(next_id_++),
            .weight = static_cast<std::uint32_t>(1 + roll(3)),
            .tier = static_cast<std::uint32_t>(roll(2))};
  }
  Runtime runtime() {
    MonitorOptions options;
    options.ejection.max_ejected = cap_ = static_cast<double>(roll(11)) / 10;
    options.slow_start.window = chance(30) ? 0s : 20s;
    options.seed = seed_;
    monitor_ = Standard{options};
    clock_.advance(1h);
    return {.clock = clock_, .seed = seed_, .observers = {monitor_}};
  }

  std::string any() {
    auto const all = balancer_.stats().backends;
    return all.empty() ? "none" : all[roll(all.size())].id;
  }

  void act() {
    switch (roll(quiet_ ? 4 : 12)) {
      case 0: return tick();
      case 1: return fail();
      case 2:
      case 3: return serve(5 + roll(20));
      case 4: return balancer_.drain(any());
      case 5: return balancer_.undrain(any());
      case 6: return declare();
      case 7: return balancer_.report_health(any(), static_cast<HealthState>(roll(3)));
      case 8: return probe();
      case 9: return change_members();
      case 10: return clock_.set(clock_.now() - poise::Duration{roll(3'600'000'000'000)});
      default: return balancer_.set_weight(any(), static_cast<std::uint32_t>(1 + roll(5)));
    }
  }

  void tick() {
    clock_.advance(poise::Duration{roll(20'000'000'000)});
    balancer_.tick();
    agree();
  }
  void fail() {
    auto const id = any();
    auto const how = chance(20) ? Result::refused : chance(50) ? Result::error : Result::timeout;
    for (auto left = roll(40); left > 0; --left) balancer_.record(id, how, 1ms);
  }
  void serve(std::uint64_t requests) {
    auto const failing = roll(100) < 50 ? roll(100) : 0;
    for (; requests > 0; --requests) {
      clock_.advance(poise::Duration{roll(100'000'000)});
      auto lease = balancer_.pick();
      lease.finish(chance(static_cast<unsigned>(failing)) ? Result::error : Result::success);
    }
  }
  void declare() {
    auto const id = any();
    auto const word = chance(50) ? std::nullopt : std::optional{static_cast<HealthState>(roll(3))};
    balancer_.set_health(id, word);
    declared_[id] = word;
  }
  void probe() {
    constexpr Signal words[] = {Signal::up, Signal::down, Signal::doubt};
    monitor_.report(any(), words[roll(3)], "probe");
  }
  void change_members() {
    auto const size = balancer_.stats().backends.size();
    if (size > 1 && chance(50)) balancer_.remove(any());
    else if (size < 12) balancer_.add(endpoint());
  }

  void check(char const* when) {
    auto const all = balancer_.stats().backends;
    INFO("seed " << seed_ << ' ' << when);
    bool selectable = false;
    for (auto const& each : all) selectable = selectable || (!each.drained && !declared_out(each));
    // The open panic sees to it; who is on probation has no request, so there is room for one.
    auto lease = balancer_.pick();
    if (selectable && !lease) FAIL("no backend is selectable: " << message(lease.error()));
    if (lease) {
      auto const& picked = *std::ranges::find(all, lease->id(), &poise::BackendStats::id);
      if (picked.drained || declared_out(picked)) FAIL("the operator was overridden");
    }
    lease.finish(Result::cancelled);
    if (quiet_) check_cap(all);
    ++checks;
  }

  bool declared_out(poise::BackendStats const& each) {
    return declared_[each.id] == HealthState::unhealthy;
  }

  /// Was it ejected beyond the cap, and has not come back since?
  bool is_proven(std::string const& id) {
    auto const history = monitor_.history(id);
    for (auto each = history.rbegin(); each != history.rend() && is_out(each->to); ++each)
      if (each->note == Transition::Note::proven) return true;
    return false;
  }

  void check_cap(std::vector<poise::BackendStats> const& all) {
    std::vector<std::size_t> left(2);
    std::vector<std::size_t> members(2);
    std::size_t out = 0;
    for (auto const& each : all) {
      bool const gone = is_out(*monitor_.phase(each.id));
      out += gone && !is_proven(each.id) ? 1U : 0U;
      left[each.tier] += gone ? 0U : 1U;
      ++members[each.tier];
    }
    auto const share = static_cast<std::size_t>(cap_ * static_cast<double>(all.size()) + 1e-9);
    if (out > std::max(std::size_t{1}, share)) FAIL("the cap is broken: " << out << " are out");
    for (std::size_t tier = 0; tier < 2; ++tier)
      if (members[tier] != 0 && left[tier] == 0) FAIL("tier " << tier << " is gone");
  }

  /// After a tick the three public states are the image of the six.
  void agree() {
    for (auto const& each : balancer_.stats().backends) {
      if (declared_[each.id]) continue;
      auto const shown = each.health;
      if (shown != public_state(*monitor_.phase(each.id)))
        FAIL(each.id << " is " << name(shown) << " but " << name(*monitor_.phase(each.id)));
    }
  }

  /// Everything works again: then everybody is tried, and comes back within 500 s.
  void recover() {
    INFO("seed " << seed_ << " recovers");
    for (auto const& each : balancer_.stats().backends) {
      balancer_.undrain(each.id);
      balancer_.set_health(each.id, std::nullopt);
      balancer_.report_health(each.id, HealthState::healthy);
      monitor_.report(each.id, Signal::up, "probe");
    }
    for (int second = 0; second < 500 && !(second % 20 == 0 && all_is_well()); ++second) {
      clock_.advance(1s);
      balancer_.tick();
      for (int i = 0; i < 12; ++i) balancer_.pick().finish();
    }
    for (auto const& each : balancer_.stats().backends) {
      auto const phase = monitor_.phase(each.id);
      if (!phase) FAIL(each.id << " has no phase");
      if (*phase != Phase::healthy) FAIL(each.id << " stayed " << name(*phase));
      if (each.admission != poise::Admission{}) FAIL(each.id << " stays limited");
    }
    if (monitor_.panicking()) FAIL("panic without an end");
    if (balancer_.stats().observer_failures != 0) FAIL("a hook threw");
  }

  bool all_is_well() {
    auto const all = balancer_.stats().backends;
    return !monitor_.panicking() && std::ranges::all_of(all, [&](auto const& each) {
      return monitor_.phase(each.id) == Phase::healthy && each.admission == poise::Admission{};
    });
  }

  std::mt19937_64 dice_;
  std::uint64_t seed_;
  bool quiet_;
  double cap_ = 0;
  std::uint64_t next_id_ = 0;
  std::map<std::string, std::optional<HealthState>> declared_{};  // by the operator
  poise::VirtualClock clock_{};
  Standard monitor_{};
  Balancer balancer_;

 public:
  std::uint64_t checks = 0;
};

}  // namespace

// 12,000 schedules of 40 steps, spread over policies that treat health differently; each a test, so
// that they run side by side.
TEMPLATE_TEST_CASE_SIG("whatever happens, health keeps its promises", "",
                       ((std::size_t Number), Number), 0, 1, 2, 3) {
  constexpr std::string_view policies[] = {"round_robin", "least_connections", "p2c", "adaptive"};
  constexpr std::uint64_t schedules = 3000;
  CAPTURE(policies[Number]);
  std::uint64_t checks = 0;
  for (std::uint64_t seed = 1; seed <= schedules; ++seed) {
    Life life{policies[Number], seed, seed % 2 == 0};
    life.run();
    checks += life.checks;
  }
  CHECK(checks == schedules * 40);
}

}  // namespace unit_health_properties
