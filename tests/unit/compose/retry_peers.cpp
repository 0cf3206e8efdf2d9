// SPDX-License-Identifier: MIT
// The budgets of Finagle, Envoy and gRPC, as their sources have them, beside poise's: where they
// agree, and where they don't. docs/retries.md tells the figures.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <deque>
#include <utility>
#include <vector>

#include <poise/compose/retry.hpp>
#include <poise/compose/retry_budget.hpp>

#include "support/catch.hpp"

namespace unit_compose_retry_peers {

using namespace std::chrono_literals;
using poise::Duration;
using poise::Time;

namespace {

constexpr Time start{1h};

/// A leaky bucket of 10 s: a request puts 1000 in, at 20 % a retry takes 5000 out, and a reserve of
/// 10 retries a second is there from the start. tower's is the same with 1 and 5.
class Finagle {
 public:
  void request(Time now) { change(now, deposit); }
  bool retry(Time now) {
    if (reserve + sum(now) < withdrawal) return false;
    change(now, -withdrawal);
    return true;
  }
  static constexpr std::int64_t deposit = 1000;
  static constexpr std::int64_t withdrawal = 1000 * 100 / 20;
  static constexpr std::int64_t reserve = 10 * 10 * withdrawal;

 private:
  std::int64_t sum(Time now) {
    while (!changes_.empty() && changes_.front().first <= now - 10s) {
      sum_ -= changes_.front().second;
      changes_.pop_front();
    }
    return sum_;
  }
  void change(Time now, std::int64_t by) {
    sum_ += by;
    changes_.emplace_back(now, by);
  }
  std::deque<std::pair<Time, std::int64_t>> changes_{};
  std::int64_t sum_ = 0;
};

/// A share of what is in flight, at least 3 at once; a retry counts from its decision to its end.
struct Envoy {
  std::int64_t active = 0;
  std::int64_t retries = 0;
  bool retry() {
    if (retries >= std::max<std::int64_t>(active * 20 / 100, 3)) return false;
    ++retries;
    return true;
  }
};

/// maxTokens 10, tokenRatio 0.1: half of the tokens must be there.
struct Grpc {
  std::int64_t thousandths = 10'000;
  void success() { thousandths = std::min<std::int64_t>(10'000, thousandths + 100); }
  bool failure() {  // may it be tried again?
    thousandths = std::max<std::int64_t>(0, thousandths - 1000);
    return thousandths > 5000;
  }
};

struct Poise {
  poise::RetryBudget budget{};
  void request(Time now) {
    budget.count_request(poise::sync::Lane::shared);
    if (now - looked >= 1s) budget.look(looked = now);
  }
  bool retry(Time now) { return budget.take(poise::RetryBudget::Extra::retry, 0.2, 10, now); }
  Time looked{};
};

/// 1000 requests a second, of which so many in 100 fail at once from `outage` on; the retries of
/// each second, when one is wanted for each failure.
template <class Budget>
std::vector<int> retries(Budget budget, int seconds, int outage, int percent) {
  std::vector<int> result(static_cast<std::size_t>(seconds));
  for (int ms = 0; ms < 1000 * seconds; ++ms) {
    auto const now = start + ms * 1ms;
    budget.request(now);
    if (ms < 1000 * outage || ms % 100 >= percent) continue;
    if (budget.retry(now)) ++result[static_cast<std::size_t>(ms / 1000)];
  }
  return result;
}

}  // namespace

TEST_CASE("Finagle's bucket and poise's window allow the same in the long run") {
  // 20 % and 10 a second of 1000 requests a second: 210; slots leave some of it unused.
  auto const finagle = retries(Finagle{}, 60, 20, 100);
  auto const poise = retries(Poise{}, 60, 20, 100);
  int finagle_sum = 0;
  int poise_sum = 0;
  for (std::size_t second = 40; second < 60; ++second) {
    finagle_sum += finagle[second];
    poise_sum += poise[second];
  }
  CHECK(finagle_sum >= 20 * 205);
  CHECK(finagle_sum <= 20 * 215);
  CHECK(poise_sum >= 20 * 195);
  CHECK(poise_sum <= 20 * 210);
}

TEST_CASE("after ten seconds of peace Finagle's bucket retries every failure of two seconds") {
  auto const finagle = retries(Finagle{}, 30, 10, 100);
  CHECK(finagle[10] == 1000);
  CHECK(finagle[11] == 1000);
  auto const poise = retries(Poise{}, 30, 10, 100);
  CHECK(poise[10] <= 210);
  CHECK(poise[11] <= 210);
  CHECK(poise[10] >= 190);
}

TEST_CASE("Finagle's reserve is there at once, poise's floor once a second") {
  Finagle finagle;
  int at_once = 0;
  while (finagle.retry(start)) ++at_once;
  CHECK(at_once == 100);
  Poise const poise;
  at_once = 0;
  while (poise::RetryBudget{poise.budget}.take(poise::RetryBudget::Extra::retry, 0.2, 10, start))
    ++at_once;
  CHECK(at_once == 10);
}

TEST_CASE("Envoy's budget is next to nothing where requests fail fast, however many there are") {
  // 10,000 requests a second that fail within 1 ms: 10 are in flight, so 3 retries may be, each for
  // a pause of 12.5 ms in the mean and its own millisecond: 222 a second, 2 % of the requests.
  Envoy envoy;
  int allowed = 0;
  std::deque<Time> ends;
  for (int tenths_ms = 0; tenths_ms < 100'000; ++tenths_ms) {
    auto const now = start + tenths_ms * 100us;
    envoy.active = 10 + static_cast<std::int64_t>(ends.size());
    while (!ends.empty() && ends.front() <= now) {
      ends.pop_front();
      --envoy.retries;
    }
    if (!envoy.retry()) continue;
    ++allowed;
    ends.push_back(now + 13'500us);
  }
  CHECK(allowed / 10 > 200);
  CHECK(allowed / 10 < 230);
}

TEST_CASE("Envoy's budget shrinks while the requests of a dead backend fail one after the other") {
  // 100 in flight on it, all fail at the same moment. poise knows of the requests of the second.
  Envoy envoy{.active = 100};
  int allowed = 0;
  for (int i = 0; i < 100; ++i) {
    if (envoy.retry()) ++allowed;
    else --envoy.active;  // it is over
  }
  CHECK(allowed == 20);
  Poise poise;
  for (int ms = 0; ms < 3000; ++ms) poise.request(start + ms * 1ms);
  allowed = 0;
  for (int i = 0; i < 100; ++i) allowed += poise.retry(start + 3s) ? 1 : 0;
  CHECK(allowed == 100);
}

TEST_CASE("gRPC's throttle ends all retries above one failure in eleven, poise's bounds them") {
  // Five failures in a row end them, too.
  Grpc grpc;
  int allowed = 0;
  for (int i = 0; i < 100; ++i) allowed += grpc.failure() ? 1 : 0;
  CHECK(allowed == 4);

  auto const throttled = [](int percent) {
    Grpc throttle;
    int last_second = 0;
    for (int i = 0; i < 10'000; ++i) {
      if (i % 100 * 37 % 100 >= percent) throttle.success();  // evenly spread
      else if (throttle.failure() && i >= 9000) ++last_second;
    }
    return last_second;
  };
  CHECK(throttled(5) == 50);
  CHECK(throttled(9) == 90);
  CHECK(throttled(20) == 0);

  for (auto const& [percent, expected] : {std::pair{5, 50}, {9, 90}, {15, 150}}) {
    CAPTURE(percent);
    CHECK(retries(Poise{}, 20, 5, percent).back() == expected);
  }
  CHECK(retries(Poise{}, 20, 5, 50).back() >= 185);
}

TEST_CASE("the pauses are Envoy's, from 0 on, where gRPC's vary by a fifth about their mean") {
  // Envoy: uniform in [0, min(250 ms, (2^n - 1) * 25 ms)). gRPC: min(initial * 1.6^(n - 1), max) *
  // [0.8, 1.2), so that clients which failed together come back within 40 % of the pause.
  poise::detail::RetryRules const rules{{.attempts = 9}};
  std::int64_t factor = 1;
  for (std::uint32_t n = 1; n <= 6; ++n) {
    poise::Request const request{.attempt = n};
    auto const pause = [&](std::uint64_t random) {
      return rules.decide({request, poise::Result::error, start, random}).after;
    };
    CHECK(pause(0) == 0ns);
    CHECK(pause(~std::uint64_t{0}) + 1ns == std::min<Duration>(250ms, factor * 25ms));
    factor = 2 * factor + 1;
  }
}

}  // namespace unit_compose_retry_peers
