// SPDX-License-Identifier: MIT
// RetryBudget: retries of the last second against requests of the last second.

#include <poise/compose/retry_budget.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <deque>

#include "support/catch.hpp"

namespace unit_compose_retry_budget {

using namespace std::chrono_literals;
using poise::Duration;
using poise::RetryBudget;
using poise::Time;
using Extra = RetryBudget::Extra;

namespace {

struct Account {
  RetryBudget budget{};
  Time now{1h};
  double fraction = 0.2;
  std::uint32_t min_per_second = 10;

  void requests(int count) {
    for (int i = 0; i < count; ++i) budget.count_request(poise::sync::Lane::shared);
  }
  /// How many of so many retries are allowed.
  int retries(int wanted, Extra extra = Extra::retry) {
    int allowed = 0;
    for (int i = 0; i < wanted; ++i)
      allowed += budget.take(extra, fraction, min_per_second, now) ? 1 : 0;
    return allowed;
  }
  /// Steady traffic, looked at as a balancer's tick does.
  void traffic(int per_second, int seconds) {
    for (int i = 0; i < seconds; ++i) {
      now += 1s;
      requests(per_second);
      budget.look(now);
    }
  }
};

}  // namespace

TEST_CASE("a budget without requests allows the minimum in each second") {
  Account account;
  CHECK(account.retries(100) == 10);
  account.now += 900ms;
  CHECK(account.retries(100) == 0);
  account.now += 150ms;
  CHECK(account.retries(100) == 10);
  account.now += 1h;
  CHECK(account.retries(100) == 10);
}

TEST_CASE("a minimum of 0 and a fraction of 0 allow nothing") {
  Account none{.fraction = 0, .min_per_second = 0};
  none.traffic(1000, 3);
  CHECK(none.retries(100) == 0);
  Account only_minimum{.fraction = 0, .min_per_second = 3};
  only_minimum.traffic(1000, 3);
  CHECK(only_minimum.retries(100) == 3);
  Account only_fraction{.fraction = 0.1, .min_per_second = 0};
  CHECK(only_fraction.retries(100) == 0);
}

TEST_CASE("the fraction is of the requests of the last second") {
  Account account{.min_per_second = 0};
  account.traffic(1000, 3);
  // Between two looks requests are taken as evenly spread: 31 of 32 slots are within the second.
  CHECK(account.retries(1000) == static_cast<int>(0.2 * 1000 * 31 / 32));
  account.now += 500ms;
  CHECK(account.retries(1000) == 0);
  account.now += 1s;
  CHECK(account.retries(1000) == 0);
}

TEST_CASE("requests that were never looked at are spread over the time since the last look") {
  Account account{.min_per_second = 0};
  account.traffic(100, 2);
  account.now += 10s;
  account.requests(10'000);
  CHECK(account.retries(1000) == static_cast<int>(0.2 * 1000 * 31 / 32));
}

TEST_CASE("requests before the first look do not count and those after it do") {
  Account account{.min_per_second = 0};
  account.requests(1'000'000);
  CHECK(account.retries(10) == 0);
  account.requests(50);
  CHECK(account.retries(20) == 10);
}

TEST_CASE("retries spent are given back when they are a second old, not before") {
  Account account{.fraction = 0, .min_per_second = 4};
  auto const start = account.now;
  for (int i = 0; i < 4; ++i) {
    CHECK(account.retries(1) == 1);
    account.now += 100ms;
  }
  int given_back = 0;
  for (; account.now < start + 2s; account.now += 1ms) {
    if (account.retries(1) == 0) continue;
    auto const spent = start + 100ms * given_back++;
    CHECK(account.now - spent >= 1s);
    CHECK(account.now - spent <= 1s + 33ms);
    if (given_back == 4) break;
  }
  CHECK(given_back == 4);
}

TEST_CASE("a retry counts in the second in which it begins, pauses included") {
  Account account{.fraction = 0};
  auto const allowed = [&](Duration pause) {
    int count = 0;
    while (account.budget.take(Extra::retry, 0, account.min_per_second, account.now, pause))
      ++count;
    return count;
  };
  CHECK(allowed(5s) == 10);
  CHECK(allowed(4500ms) == 0);
  CHECK(allowed(5500ms) == 0);
  CHECK(allowed(0s) == 10);
  account.now += 2s;
  CHECK(allowed(0s) == 10);
  account.now += 2500ms;
  CHECK(allowed(0s) == 0);  // ten begin half a second later, which is within the same second
  CHECK(allowed(10s) == 10);
  CHECK(allowed(14s) == 10);
  CHECK(allowed(24h) == 0);  // counts as 14 s
  CHECK(allowed(Duration::max()) == 0);
}

TEST_CASE("hedges and retries are counted apart against the same requests") {
  Account account{.min_per_second = 0};
  account.traffic(1000, 3);
  CHECK(account.retries(1000) == 193);
  account.fraction = 0.05;
  CHECK(account.retries(1000, Extra::hedge) == 48);
  auto const recent = account.budget.recent(account.now);
  CHECK(recent.requests == 968);
  CHECK(recent.retries == 193);
  CHECK(recent.hedges == 48);
}

TEST_CASE("copies of a budget are one budget") {
  Account account;
  Account other{.budget = account.budget, .now = account.now};
  CHECK(account.retries(6) == 6);
  CHECK(other.retries(100) == 4);
  CHECK(account.budget == other.budget);
  CHECK_FALSE(account.budget == RetryBudget{});
}

TEST_CASE("a clock that jumps, back or ahead, costs no more than one second's budget") {
  for (auto const jump : {Duration{-24h}, Duration{-2s}, Duration{24h}, Duration{-1h}}) {
    CAPTURE(jump.count());
    Account account;
    account.traffic(1000, 3);
    CHECK(account.retries(1000) == 203);
    account.now += jump;
    CHECK(account.retries(1000) <= 203);
    for (int i = 0; i < 100; ++i) {
      account.requests(20);
      account.now += 20ms;
      (void)account.retries(100);
      CHECK(account.budget.recent(account.now).retries <= 210);
    }
    CHECK(account.budget.recent(account.now).retries > 190);
  }
}

TEST_CASE("a thread that is late with its time does not make the others forget") {
  Account account{.min_per_second = 0};
  account.traffic(1000, 3);
  account.budget.look(account.now - 40ms);
  account.budget.look(account.now - 900ms);
  CHECK(account.retries(1000) == 193);
}

TEST_CASE("a clock that jumps back a little gives nothing back") {
  Account account;
  CHECK(account.retries(100) == 10);
  for (int i = 0; i < 9; ++i) {
    account.now -= 100ms;
    CHECK(account.retries(100) == 0);
  }
}

TEST_CASE(
    "times before the clock's origin and about the wrap of the slots are times as any other") {
  // A slot is 1/32 s, and 2^32 of them are 4.25 years.
  auto const wrap = Time{Duration{(std::int64_t{1} << 32U) * 31'250'000}};
  for (auto const begin : {Time{-10min}, wrap - 3s, Time{0s}, Time{1ns}}) {
    Account account{.now = begin};
    for (int i = 0; i < 400; ++i) {
      account.requests(20);
      account.now += 20ms;
      (void)account.retries(100);
      auto const recent = account.budget.recent(account.now);
      REQUIRE(recent.requests <= 1000);
      REQUIRE(recent.retries <= 210);
      if (i > 60) REQUIRE(recent.retries > 190);
    }
  }
}

TEST_CASE("within any second no more is retried than its fraction and the minimum") {
  // Traffic that comes in bursts, ceases and doubles; all of it asks for five retries at once.
  // Checked at every retry, to the letter, against what was really there in the second before it.
  Account account{.min_per_second = 7};
  std::deque<Time> requests;
  std::deque<Time> retries;
  std::uint64_t random = 1;
  std::size_t most = 0;
  for (int step = 0; step < 40'000; ++step) {
    random = random * 6364136223846793005U + 1442695040888963407U;
    account.now += Duration{static_cast<std::int64_t>(random >> 40U) % 3'000'000};
    auto const phase = step / 4000;
    int const arrivals = phase % 3 == 2 ? 0 : 1 + phase % 4 * 3;
    account.requests(arrivals);
    for (int i = 0; i < arrivals; ++i) requests.push_back(account.now);
    for (int i = account.retries(5 * arrivals + 1); i > 0; --i) retries.push_back(account.now);
    while (!requests.empty() && requests.front() <= account.now - 1s) requests.pop_front();
    while (!retries.empty() && retries.front() <= account.now - 1s) retries.pop_front();
    if (retries.empty() || retries.back() != account.now) continue;
    auto const allowed =
        account.fraction * static_cast<double>(requests.size()) + account.min_per_second;
    REQUIRE(static_cast<double>(retries.size()) <= allowed);
    most = std::max(most, retries.size());
  }
  CHECK(most > 800);  // of some 5000 a second at the densest
}

}  // namespace unit_compose_retry_budget
