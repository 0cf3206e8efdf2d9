// SPDX-License-Identifier: MIT
// Random schedules in virtual time: what holds whatever happens, and in which order.
//
// POISE_SCHEDULES=100000 runs that many (default 300). A failure prints its seed and a shrunken
// schedule; POISE_SCHEDULE=FILE runs the one that this file holds.

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <random>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "property/life.hpp"
#include "property/schedule.hpp"
#include "support/catch.hpp"
#include "support/policies.hpp"

namespace property_schedules {

namespace {

using tests::Broken;
using tests::Promise;
using tests::Schedule;
using tests::Setup;
using tests::Step;

/// The keyed policies, beside tests::all_policies.
constexpr std::array<std::string_view, 3> keyed_policies{"maglev", "ring(points=64)", "rendezvous"};

constexpr std::array<std::string_view, 9> wrappers{"",       "failover", "zone_aware",
                                                   "subset", "priority", "bounded",
                                                   "filter", "shed",     "rate_limited"};
/// What may stand around a wrapper or inside of one.
constexpr std::array<std::string_view, 6> outer_wrappers{"failover", "zone_aware", "priority",
                                                         "filter",   "shed",       "rate_limited"};

class Generator {
 public:
  explicit Generator(std::uint64_t seed) : seed_{seed}, dice_{seed} {}

  [[nodiscard]] Schedule schedule() {
    Schedule schedule{.setup = setup()};
    count_ = schedule.setup.backends;
    double at = 2 + unit() * 3;
    for (auto events = 2 + roll(8); events > 0; --events) {
      event(schedule, at);
      at += unit() < 0.3 ? unit() : unit() * 15;
    }
    std::ranges::stable_sort(schedule.steps, {}, &Step::at);
    return schedule;
  }

 private:
  std::uint64_t roll(std::uint64_t sides) { return dice_() % sides; }
  double unit() { return static_cast<double>(dice_() >> 11U) * 0x1p-53; }
  bool chance(unsigned percent) { return roll(100) < percent; }

  std::string leaf(bool keyed) {
    if (keyed) return std::string{keyed_policies[roll(keyed_policies.size())]};
    auto const all = tests::all_policies.size();
    auto const number = roll(all + keyed_policies.size());
    return std::string{number < all ? tests::all_policies[number] : keyed_policies[number - all]};
  }
  /// `inside` gives the text of a policy.
  template <class Inside>
  std::string wrapped(std::string_view wrapper, Inside const& inside) {
    if (wrapper.empty()) return inside();
    auto text = std::string{wrapper} + "(" + inside();
    if (wrapper == "priority") text += "," + inside() + "," + inside();
    if (wrapper == "zone_aware") text += ",local=a";
    if (wrapper == "filter") text += ",zone=a";
    if (wrapper == "subset") text += ",clients=3,size=3";
    if (wrapper == "rate_limited")
      text += tight_ ? ",per_second=20,burst=5" : ",per_second=100000,burst=1000";
    return text + ")";
  }
  /// A shed stands outside of what takes several policies.
  std::string policy() {
    auto const bounded = wrapper_ == "bounded";
    auto const inner = [&] { return wrapped(wrapper_, [&] { return leaf(bounded); }); };
    return outer_ == wrapper_ ? inner() : wrapped(outer_, inner);
  }

  Setup setup() {
    constexpr std::array<std::size_t, 6> sizes{1, 2, 3, 4, 10, 3};
    Setup setup{.seed = seed_};
    wrapper_ = wrappers[seed_ % wrappers.size()];
    if (chance(50)) outer_ = outer_wrappers[roll(outer_wrappers.size())];
    if (wrapper_ == "shed" && (outer_ == "priority" || outer_ == "rate_limited")) outer_ = {};
    tight_ = chance(50);
    setup.backends = seed_ % 200 == 199 ? 300 : sizes[roll(sizes.size())];
    auto const needs_mixed = [](std::string_view wrapper) {
      return wrapper == "zone_aware" || wrapper == "failover" || wrapper == "filter";
    };
    setup.mixed = needs_mixed(wrapper_) || needs_mixed(outer_) || chance(30);
    retries_ = chance(60);
    setup.policy = composed();
    setup.monitor = chance(75);
    setup.probes = setup.monitor && chance(40);
    setup.rate = setup.backends == 300 ? 3000 : setup.backends == 10 ? 120 : chance(20) ? 5 : 40;
    if (chance(15)) setup.service = 300;
    return setup;
  }
  std::string composed() {
    auto const text = policy();
    return retries_ ? "retry(" + text + ")" : text;
  }

  void event(Schedule& schedule, double at) {
    auto const step = [&](double when, std::string id, std::string what,
                          std::string argument = {}) {
      schedule.steps.push_back({when, std::move(id), std::move(what), std::move(argument)});
    };
    auto const id = tests::id_of(roll(count_));
    auto const lasting = unit() < 0.3 ? unit() * 3 : unit() * 40;
    switch (roll(15)) {
      case 0:
      case 1:
      case 2:
      case 3: {  // one server
        step(at, id, condition());
        if (chance(80)) step(at + lasting, id, "well");
        return;
      }
      case 4: {  // several, or all
        auto const what = condition();
        auto const all = chance(50);
        for (std::size_t i = 0; i < count_; ++i)
          if (all || chance(60)) {
            step(at, tests::id_of(i), what);
            step(at + lasting, tests::id_of(i), "well");
          }
        return;
      }
      case 5: step(at, id, "drain"); return step(at + lasting, id, "undrain");
      case 6: step(at, id, "remove"); return step(at + lasting, id, "add");
      case 7: return step(at, tests::id_of(count_++), "add");
      case 8: return step(at, id, "replace");
      case 9: return step(at, id, chance(50) ? "move" : "replace");
      case 10: return step(at, id, "weight", std::to_string(1 + roll(2)));
      case 11:
        if (chance(30)) return step(at, {}, "clear");
        // A clock that is set back empties buckets for a moment.
        if (chance(50) && wrapper_ != "rate_limited" && outer_ != "rate_limited")
          return step(at, {}, "clock", std::to_string(1 + roll(100'000)));
        return step(at, {}, "policy", composed());
      case 12:
      case 13: {  // all but one, for long
        auto const spared = roll(count_);
        for (std::size_t i = 0; i < count_; ++i)
          if (i != spared) {
            step(at, tests::id_of(i), condition());
            step(at + 2 * lasting, tests::id_of(i), "well");
          }
        return;
      }
      default: return step(at, {}, "stream", std::to_string(1000 + roll(60'000)));
    }
  }
  std::string condition() {
    return std::string{tests::condition_names[1 + roll(tests::condition_names.size() - 1)]};
  }

  std::uint64_t seed_;
  std::mt19937_64 dice_;
  std::string_view wrapper_{};
  std::string_view outer_{};  // around it
  bool tight_ = false;        // a rate that few backends cannot carry
  bool retries_ = false;
  std::size_t count_ = 0;
};

std::uint64_t number_from(char const* variable, std::uint64_t otherwise) {
  auto const* const text = std::getenv(variable);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

void check(std::uint64_t seed) {
  auto const schedule = Generator{seed}.schedule();
  auto const broken = tests::run(schedule);
  if (!broken) return;
  auto const small = tests::shrunk(schedule, broken->promise);
  auto const again = tests::run(small);
  FAIL_CHECK("seed " << seed << ": " << broken->what << "\nshrunk to\n"
                     << tests::text_of(small) << "where at " << (again ? again->what : "?"));
}

}  // namespace

TEST_CASE("a balancer keeps its promises through random faults of servers") {
  auto const runs = number_from("POISE_SCHEDULES", 300);
  for (std::uint64_t seed = 1; seed <= runs; ++seed) check(seed);
}

TEST_CASE("a schedule out of a file", "[.]") {
  auto const* const path = std::getenv("POISE_SCHEDULE");
  REQUIRE(path != nullptr);
  std::ifstream file{path};
  std::stringstream text;
  text << file.rdbuf();
  if (auto const broken = tests::run(tests::schedule_of(text.str()))) FAIL(broken->what);
}

TEST_CASE("faults that were mended stay so") {
  for (auto const* text : {
           // A replaced backend starts afresh, and loses no counts.
           "round_robin, 3 backends, monitor, 40/s, seed 1\n5 a overloaded\n10 a replace\n",
           "round_robin, 3 backends, 40/s, 300 ms, seed 1\n5 a replace\n",
           // Requests that were in flight at the ejection do not block the trial.
           "round_robin, 3 backends, monitor, 40/s, seed 1\n5 stream 200000\n5.2 stream 200000\n"
           "5.4 stream 200000\n5.6 stream 200000\n5.8 stream 200000\n10 a failing\n"
           "10 b failing\n12 a well\n12 b well\n",
           // Sentences end without ticks.
           "round_robin, 3 backends, monitor, no ticks, 40/s, seed 1\n5 a failing\n10 a well\n",
           // A backend that joins among many is asked.
           "failover(weighted_random), 10 backends, monitor, 120/s, seed 253\n20.615 a remove\n"
           "27.273 a add\n",
           // Where a filter leaves no other backend, one that is out is asked all the same.
           "filter(adaptive,zone=a), 2 backends, mixed, monitor, 40/s, seed 60\n"
           "15.983 a overloaded\n39.768 a well\n",
           "priority(filter(p2c,zone=a),filter(p2c,zone=a),filter(p2c,zone=a)), 3 backends, mixed, "
           "monitor, 40/s, seed 1\n5 a failing\n5 c failing\n20 a well\n20 c well\n",
           // Shedding leaves a place on trial.
           "shed(round_robin), 3 backends, monitor, 40/s, seed 1\n5 a failing\n10 a well\n",
       }) {
    INFO(text);
    if (auto const broken = tests::run(tests::schedule_of(text))) FAIL_CHECK(broken->what);
  }
}

}  // namespace property_schedules
