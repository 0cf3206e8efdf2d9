// SPDX-License-Identifier: MIT

#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include <support/catch.hpp>
#include <support/series.hpp>

#include <poise/analysis/switchback.hpp>
#include <poise/error.hpp>

namespace unit_analysis_switchback {

using namespace poise;
using namespace std::chrono_literals;
using analysis::Arm;
using analysis::Comparison;
using analysis::Switchback;
using analysis::Verdict;

namespace {

/// A service under two policies: latencies are log-normal about 10 ms, and the load drifts.
struct Service {
  double factor = 1;  ///< Latency of b against a.
  double failures_a = 0.01;
  double failures_b = 0.01;
  double wander = 0.1;  ///< Of a minute's latency, whichever policy is live.

  Comparison run(Switchback& trial, std::uint64_t seed, int requests = 50) const {
    test::Normal random{seed};
    double drift = 0;
    Time now{};
    while (!trial.done()) {
      auto const arm = trial.arm(now);
      drift = 0.98 * drift + 0.2 * wander * random();
      for (int i = 0; i < requests; ++i) {
        auto const level = 0.01 * std::exp(drift + 0.5 * random()) * (arm == Arm::b ? factor : 1);
        auto const failed = random.uniform() < (arm == Arm::b ? failures_b : failures_a);
        trial.record(now, Duration{static_cast<std::int64_t>(1e9 * level)}, failed);
      }
      now += 1s;
    }
    return trial.compare();
  }
};

}  // namespace

TEST_CASE("a policy that is a fifth faster wins, whichever of the two it is") {
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    Switchback first{{.seed = seed}};
    auto const faster = Service{.factor = 0.8, .wander = 0.05}.run(first, seed);
    CHECK(faster.verdict == Verdict::b);
    CHECK(faster.p50.low < 0.8);
    CHECK(faster.p50.high > 0.8);
    CHECK(faster.pairs == 10);
    Switchback second{{.seed = seed}};
    CHECK(Service{.factor = 1.25, .wander = 0.05}.run(second, seed).verdict == Verdict::a);
  }
}

TEST_CASE("a policy against itself shows no difference in 95 of 100 trials") {
  // 200 trials at 95 %: 10 are expected to differ, 18 are 2.6 deviations more.
  int different = 0;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    Switchback trial{{.seed = seed}};
    if (Service{}.run(trial, 1000 + seed, 8).verdict != Verdict::no_difference) ++different;
  }
  CHECK(different <= 18);
}

TEST_CASE("failures decide, too, and against latency they are a mixed verdict") {
  Switchback worse;
  CHECK(Service{.failures_b = 0.05}.run(worse, 1).verdict == Verdict::a);
  Switchback mixed;
  CHECK(Service{.factor = 0.7, .failures_b = 0.05, .wander = 0.05}.run(mixed, 2).verdict ==
        Verdict::mixed);
}

TEST_CASE("each pair of periods has both policies, in an order that the seed decides") {
  bool orders[2] = {false, false};
  Switchback trial{{.seed = 3}};
  for (int pair = 0; pair < 10; ++pair) {
    auto const first = trial.arm(Time{pair * 120s});
    CHECK(trial.arm(Time{pair * 120s + 59s}) == first);
    CHECK(trial.arm(Time{pair * 120s + 60s}) != first);
    orders[static_cast<std::size_t>(first)] = true;
  }
  CHECK((orders[0] && orders[1]));
}

TEST_CASE("after its end a trial switches no more") {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    CAPTURE(seed);
    Switchback trial{{.seed = seed}};
    Arm last{};
    for (int period = 0; period < 20; ++period) last = trial.arm(Time{period * 60s});
    CHECK(trial.arm(Time{20 * 60s}) == last);
    CHECK(trial.arm(Time{21 * 60s - 1s}) == last);
    CHECK_FALSE(trial.done());
    CHECK(trial.arm(Time{21 * 60s}) == last);
    CHECK(trial.done());
    CHECK(trial.arm(Time{24h}) == last);
  }
}

TEST_CASE("a trial bears periods as long as they come") {
  Switchback trial{{.period = Duration::max(), .drop = Duration::max() - 1s}};
  auto const first = trial.arm(Time{1h});
  trial.record(Time{2h}, 1ms, false);
  CHECK(trial.arm(Time::max() - 1s) == first);
  CHECK_FALSE(trial.done());
}

TEST_CASE("requests of the dropped part, and those that are yet to come, are left out") {
  Switchback trial;
  Time now{};
  while (!trial.done()) {
    trial.arm(now);
    bool const dropped = now.time_since_epoch() % 60s < 30s;
    for (int i = 0; i < 20; ++i) {
      trial.record(now, dropped ? 1s : 10ms, dropped);
      trial.record(now + 60s, 1s, true);
    }
    now += 1s;
  }
  auto const result = trial.compare();
  CHECK(result.p99.a == Approx(0.01));
  CHECK(result.failures.b == 0);
  CHECK(result.verdict == Verdict::no_difference);
}

TEST_CASE("requests that were picked before the policy of their period was live are left out") {
  Switchback trial;
  trial.arm(Time{});
  for (auto now = 0s; !trial.done(); now += 1s) {
    if (now % 60s >= 40s) trial.arm(Time{now});  // ten seconds late
    auto const picked = now - 15s;
    bool const wrong = picked >= 60s && picked % 60s < 40s;
    for (int i = 0; i < 20; ++i) trial.record(Time{picked}, 15s, wrong);
  }
  CHECK(trial.compare().pairs == 10);
  CHECK(trial.compare().failures.a == 0);
  CHECK(trial.compare().failures.b == 0);
}

namespace {

/// 20 requests a second take 10 ms; of those of b one hangs and fails after `timeout`.
Switchback with_hanging_requests(Duration timeout, Duration until) {
  Switchback trial;
  std::vector<Time> hanging;
  for (Time now{}; now < Time{until}; now += 1s) {
    auto const arm = trial.arm(now);
    for (int i = 0; i < 19; ++i) trial.record(now, 10ms, false);
    if (arm == Arm::b) hanging.push_back(now);
    else trial.record(now, 10ms, false);
    std::erase_if(hanging, [&](Time picked) {
      bool const ends = now - picked >= timeout;
      if (ends) trial.record(picked, timeout, true);
      return ends;
    });
  }
  return trial;
}

}  // namespace

TEST_CASE("requests that hang and fail after their period count against their policy") {
  for (auto const timeout : {10s, 30s, 40s, 59s}) {
    auto const result = with_hanging_requests(timeout, 21min + 1s).compare();
    CHECK(result.verdict == Verdict::a);
    CHECK(result.failures.b == Approx(0.05));
    CHECK(result.failures.a == 0);
    CHECK(result.late == 0);
  }
}

TEST_CASE("many requests that end after the trial leave it undecided, and are told") {
  auto const done = with_hanging_requests(30min, 21min + 1s).compare();
  CHECK(done.verdict == Verdict::no_difference);  // none of them is known yet
  auto const later = with_hanging_requests(30min, 60min).compare();
  CHECK(later.verdict == Verdict::undecided);
  CHECK(later.late == 10 * 30);
  CHECK(later.pairs == 10);
  CHECK(later.failures.b == 0);
}

TEST_CASE("one late request of many is told and changes no verdict") {
  Switchback trial;
  auto const result = Service{.failures_b = 0.05}.run(trial, 1);
  CHECK(result.verdict == Verdict::a);
  trial.record(Time{50s}, 1h, true);
  trial.record(Time{10s}, 1h, true);    // of a dropped part
  trial.record(Time{21min}, 1h, true);  // after the last period
  CHECK(trial.compare().verdict == Verdict::a);
  CHECK(trial.compare().late == 1);
}

TEST_CASE("there is no verdict before the end, without requests, or with most pairs missed") {
  Switchback early;
  early.arm(Time{});
  early.record(Time{40s}, 1ms, false);
  CHECK(early.compare().verdict == Verdict::undecided);
  Switchback idle;
  idle.arm(Time{});
  idle.arm(Time{24h});
  CHECK(idle.done());
  CHECK(idle.compare().verdict == Verdict::undecided);
  idle.record(Time{24h}, 1ms, false);
  CHECK(idle.compare().pairs == 0);
}

TEST_CASE("Student's quantiles are those of the tables") {
  CHECK(analysis::detail::normal_quantile(0.025) == Approx(1.95996).epsilon(1e-4));
  CHECK(analysis::detail::student_quantile(0.025, 9) == Approx(2.262).epsilon(1e-3));
  CHECK(analysis::detail::student_quantile(0.005, 19) == Approx(2.861).epsilon(1e-3));
  CHECK(analysis::detail::student_quantile(0.025, 4) == Approx(2.776).epsilon(1e-2));
}

TEST_CASE("options of a switchback that make no sense are refused by name") {
  CHECK_THROWS_WITH(Switchback({.drop = 60s}),
                    "drop of analysis::SwitchbackOptions is 60 s: use less than a period");
  CHECK_THROWS_AS(Switchback({.pairs = 4}), ConfigError);
  CHECK_THROWS_AS(Switchback({.confidence = std::numeric_limits<double>::quiet_NaN()}),
                  ConfigError);
  CHECK_THROWS_AS(Switchback({.period = 0s}), ConfigError);
  CHECK_THROWS_AS(Switchback({.wait = -1s}), ConfigError);
}

}  // namespace unit_analysis_switchback
