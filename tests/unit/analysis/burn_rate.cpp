// SPDX-License-Identifier: MIT

#include <chrono>
#include <cstdint>
#include <limits>

#include <support/catch.hpp>

#include <poise/analysis/burn_rate.hpp>
#include <poise/error.hpp>

namespace unit_analysis_burn_rate {

using namespace poise;
using namespace std::chrono_literals;
using analysis::BurnOptions;
using analysis::BurnRate;

namespace {

/// A service with 100 requests a second.
struct Service {
  BurnRate burn;
  Time now{};

  void run(Duration time, std::uint64_t failures, std::uint64_t requests = 100) {
    for (auto const end = now + time; now < end;) burn.add(now += 1s, requests, failures);
  }
  bool firing() const { return burn.rate() > burn.options().window.rate; }
  /// Seconds until it fires; at most an hour.
  int fires_after(std::uint64_t failures, std::uint64_t requests = 100) {
    for (int second = 1; second <= 3600; ++second) {
      run(1s, failures, requests);
      if (firing()) return second;
    }
    return -1;
  }
};

}  // namespace

TEST_CASE("a total outage pages within a minute, and clears within five after it") {
  Service service;
  service.run(3h, 0);
  CHECK(service.fires_after(100) <= 60);
  service.run(10min, 100);
  CHECK(service.firing());
  service.run(5min, 0);
  CHECK_FALSE(service.firing());
}

TEST_CASE("the burn rate of a constant error share is that share over the budget") {
  Service service;
  service.run(2h, 1);
  CHECK(service.burn.long_rate() == Approx(10));
  CHECK(service.burn.short_rate() == Approx(10));
  CHECK_FALSE(service.firing());
}

TEST_CASE("10 % errors page in less than ten minutes, 1 % never by the fast window") {
  Service ten;
  ten.run(2h, 0);
  auto const delay = ten.fires_after(10);
  CHECK(delay >= 500);
  CHECK(delay <= 540);
  Service one;
  one.run(2h, 0);
  CHECK(one.fires_after(1) == -1);
}

TEST_CASE("the slow windows see what the fast one does not") {
  Service day{BurnRate{{.window = analysis::page_slow}}};
  day.run(7h, 1);
  CHECK(day.firing());
  Service days{BurnRate{{.objective = 0.99, .window = analysis::ticket}}};
  for (int i = 0; i < 480; ++i) days.burn.add(days.now += 10min, 1000, 11);
  CHECK(days.firing());
}

TEST_CASE("the slow windows clear as soon as it is clear that the failures have ended") {
  for (auto const& window : {analysis::page_slow, analysis::ticket}) {
    Service service{BurnRate{{.window = window}}};
    service.run(2h, 0);
    service.run(30min, 100);
    CHECK(service.firing());
    service.run(10s, 0);
    CHECK(service.firing());
    service.run(window.short_window / 30 + 4min, 0);
    CHECK_FALSE(service.firing());
    service.run(window.short_window / 30 + 5min, 1, 1000);  // the budget, and no more
    CHECK_FALSE(service.firing());
    service.run(2min, 100);
    CHECK(service.firing());
  }
}

TEST_CASE("what is too little to tell that the failures have ended clears with its window") {
  Service service{BurnRate{{.window = analysis::page_slow}}};
  service.run(2h, 0, 1);
  service.run(30min, 1, 1);
  CHECK(service.firing());
  service.run(10min, 0, 1);
  CHECK(service.firing());
  service.run(30min, 0, 1);
  CHECK_FALSE(service.firing());
}

TEST_CASE("a slow burn that swings does not count as ended") {
  Service service{BurnRate{{.window = analysis::page_slow}}};
  service.run(7h, 1);  // 10 times the budget
  REQUIRE(service.firing());
  for (int minute = 0; minute < 300; ++minute) {
    service.run(30s, 2);
    service.run(30s, 0);
    CHECK(service.firing());
  }
}

TEST_CASE("one failure among three requests at night raises no page") {
  Service service;
  service.run(1h, 0, 0);
  service.burn.add(service.now += 1s, 3, 1);
  CHECK_FALSE(service.firing());
  service.run(1h, 0, 0);
  CHECK(service.burn.rate() == 0);
}

TEST_CASE("a process that starts into an outage pages, one with a bad first second does not") {
  Service outage;
  auto const delay = outage.fires_after(100);
  CHECK(delay >= 5);
  CHECK(delay <= 60);
  Service hiccup;
  hiccup.run(1s, 100);
  CHECK_FALSE(hiccup.firing());
  hiccup.run(5min, 0);
  CHECK_FALSE(hiccup.firing());
}

TEST_CASE("a clock that is set back adds to the present") {
  Service service;
  service.run(2h, 0);
  service.now = Time{} + 10min;
  service.run(2min, 100);
  CHECK(service.burn.short_rate() == Approx(1000 * 120.0 / 420).epsilon(0.01));
}

TEST_CASE("a failure that comes back counts until it has stayed away for half an hour") {
  Service service;
  service.run(2h, 0);
  service.run(90s, 100);
  REQUIRE(service.firing());
  service.run(5min, 0);
  CHECK_FALSE(service.firing());  // once, it ends early
  service.run(90s, 100);
  CHECK(service.firing());
  service.run(25min, 0);
  CHECK(service.firing());
  service.run(10min, 0);
  CHECK_FALSE(service.firing());
  service.run(3h, 0);
  service.run(90s, 100);
  CHECK(service.firing());
  service.run(5min, 0);
  CHECK_FALSE(service.firing());
}

TEST_CASE("times at the ends of the range have a burn rate") {
  Service service;
  for (auto const now : {Time::min(), Time{}, Time::max()}) service.burn.add(now, 100, 100);
  CHECK(service.burn.short_rate() == Approx(1000));
}

TEST_CASE("more failures than requests count as all of them") {
  Service service;
  service.run(2h, 200);
  CHECK(service.burn.long_rate() == Approx(1000));
}

TEST_CASE("objectives that can't be met or missed are refused") {
  auto const nan = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_WITH(BurnRate({.objective = nan}),
                    "objective of analysis::BurnOptions is nan: use a fraction between 0 and 1, "
                    "0.999 for instance");
  CHECK_THROWS_AS(BurnRate({.objective = 1}), ConfigError);
  CHECK_THROWS_WITH(BurnRate({.objective = 0.9}),
                    "rate of analysis::BurnWindow is 14.4: with an objective of 0.9 it is reached "
                    "by no outage; use less than 10");
  CHECK_THROWS_AS(BurnRate({.window = {5min, 1h, 14.4}}), ConfigError);
  CHECK_THROWS_AS(BurnRate({.window = {1h, 5min, nan}}), ConfigError);
}

}  // namespace unit_analysis_burn_rate
