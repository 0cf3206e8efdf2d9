// SPDX-License-Identifier: MIT
// Retry storms in virtual time: every backend fails, and everything that can be tried again is.

#include <poise/compose/retry.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <queue>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/balancer.hpp>
#include <poise/compose/any_policy.hpp>

#include "support/catch.hpp"
#include "support/policies.hpp"
#include "support/servers.hpp"

namespace unit_compose_retry_storm {

using namespace std::chrono_literals;
using poise::AnyPolicy;
using poise::Duration;
using poise::Outcome;
using poise::Result;
using poise::Time;

namespace {

using Balancer = poise::Balancer<AnyPolicy, void, poise::Runtime<poise::VirtualClock>>;

/// Requests at a steady rate, each driven as call() drives it: as many as there are at once.
class Storm {
 public:
  struct Second {
    std::int64_t requests = 0;
    std::int64_t attempts = 0;
    std::int64_t hedges = 0;
  };

  explicit Storm(std::string_view policy)
      : policy_{tests::policy(policy)},
        balancer{tests::letters("abcde"), policy_, {.clock = clock, .seed = 1}} {}

  /// So many requests a second, evenly spread, all of which end so after `latency`; and every
  /// retry that is still to come afterwards.
  template <class Ends>
  void run(int per_second, int seconds, Ends const& ends, Duration latency = 1ms) {
    auto const begin = clock.now();
    auto const gap = Duration{1s} / per_second;
    for (std::int64_t i = 0; i < std::int64_t{per_second} * seconds; ++i)
      events_.push({begin + i * gap, Event::attempt, {.attempt = 1}});
    while (!events_.empty() && events_.top().at < begin + seconds * 1s) {
      auto const event = events_.top();
      events_.pop();
      clock.set(event.at);
      if (event.kind == Event::attempt) attempt(event, latency);
      else if (event.kind == Event::hedge) hedge(event);
      else end(event, ends(event.at - begin));
    }
    clock.set(begin + seconds * 1s);
  }

  void set_policy(std::string_view text) {
    auto next = tests::policy(text);
    poise::hooks::take_over(next, policy_);  // as set_policy does: this copy must stay its twin
    policy_ = next;
    balancer.set_policy(std::move(next));
  }

  [[nodiscard]] Second second(std::size_t number) const { return seconds_.at(number); }
  [[nodiscard]] std::size_t seconds() const { return seconds_.size(); }
  /// The most attempts beyond the first that began within any second.
  [[nodiscard]] std::int64_t most_extra() const {
    std::size_t first = 0;
    std::size_t most = 0;
    for (std::size_t i = 0; i < extra_.size(); ++i) {
      while (extra_[first] <= extra_[i] - 1s) ++first;
      most = std::max(most, i + 1 - first);
    }
    return static_cast<std::int64_t>(most);
  }
  [[nodiscard]] std::int64_t refused(poise::StopReason why) const {
    return std::count(refused_.begin(), refused_.end(), why);
  }

  poise::VirtualClock clock{};

 private:
  struct Event {
    enum Kind : std::uint8_t { end, hedge, attempt };
    Time at;
    Kind kind = attempt;
    poise::Request request{};
    bool operator<(Event const& other) const { return at > other.at; }  // the earliest on top
  };

  void attempt(Event const& event, Duration latency) {
    auto& second = seconds_[second_of(event.at)];
    ++second.attempts;
    if (event.request.attempt == 1) ++second.requests;
    else extra_.push_back(event.at);
    balancer.pick(event.request).finish(Result::error);
    events_.push({event.at + latency, Event::end, event.request});
    auto const delay = policy_.timeouts(event.request).hedge_after;
    if (delay > 0ms && delay < latency)
      events_.push({event.at + delay, Event::hedge, event.request});
  }
  void hedge(Event const& event) {
    if (!decide(event.request, {}, true).retry) return;
    auto& second = seconds_[second_of(event.at)];
    ++second.attempts;
    ++second.hedges;
    extra_.push_back(event.at);
  }
  void end(Event const& event, Outcome outcome) {
    auto const decision = decide(event.request, outcome, false);
    if (!decision.retry) return;
    auto next = event.request;
    ++next.attempt;
    events_.push({event.at + decision.after, Event::attempt, next});
  }
  poise::Decision decide(poise::Request const& request, Outcome outcome, bool running) {
    auto const decision = policy_.decide(
        {request, outcome, clock.now(), random_ = poise::detail::mix(random_ + 1), running});
    if (!decision.retry) refused_.push_back(decision.why);
    return decision;
  }
  std::size_t second_of(Time at) {
    auto const number = static_cast<std::size_t>(at.time_since_epoch() / 1s);
    if (seconds_.size() <= number) seconds_.resize(number + 1);
    return number;
  }

  AnyPolicy policy_;  // its copies share its budget
 public:
  Balancer balancer;

 private:
  std::priority_queue<Event> events_{};
  std::vector<Second> seconds_{};
  std::vector<Time> extra_{};
  std::vector<poise::StopReason> refused_{};
  std::uint64_t random_ = 1;
};

auto const fails = [](Duration) { return Outcome{Result::error}; };

}  // namespace

TEST_CASE(
    "when all backends fail, attempts stay within the fraction and the minimum in every second") {
  // 1000 requests a second want 2000 retries a second, ten times what the budget allows.
  Storm storm{"retry(p2c, attempts=3, budget_fraction=0.2, min_retries_per_second=10)"};
  storm.run(1000, 10, fails);
  REQUIRE(storm.seconds() == 10);
  for (std::size_t i = 0; i < 10; ++i) {
    CAPTURE(i);
    CHECK(storm.second(i).requests == 1000);
    CHECK(storm.second(i).attempts <= 1000 + 200 + 10);
    if (i > 0) CHECK(storm.second(i).attempts >= 1000 + 180);  // and most of it is used
  }
  CHECK(storm.most_extra() <= 210);
  CHECK(storm.refused(poise::StopReason::budget) > 8000);
}

TEST_CASE("a storm after ten seconds of peace is no worse") {
  // Where a token bucket has saved up for ten seconds.
  Storm storm{"retry(p2c, attempts=3)"};
  for (int i = 0; i < 10; ++i) {
    storm.run(1000, 1, [](Duration) { return Result::success; });
    storm.balancer.tick();
  }
  storm.run(1000, 3, fails);
  CHECK(storm.most_extra() <= 210);
  for (std::size_t i = 10; i < 13; ++i) CHECK(storm.second(i).attempts >= 1000 + 180);
}

TEST_CASE("updates and switches of the policy in a storm give nothing extra") {
  Storm storm{"retry(p2c, attempts=3)"};
  std::vector<std::string_view> const policies{
      "retry(round_robin, attempts=4)", "failover(retry(p2c, attempts=3))",
      "retry(failover(least), attempts=3)", "priority(p2c, retry(p2c, attempts=9), p2c)"};
  for (std::size_t i = 0; i < 40; ++i) {
    storm.run(1000, 1, fails);
    if (i % 3 == 0) storm.balancer.update(tests::letters(i % 2 == 0 ? "abc" : "cdefg"));
    else storm.set_policy(policies[i % 4]);
  }
  CHECK(storm.most_extra() <= 210);
  for (std::size_t i = 1; i < 40; ++i) CHECK(storm.second(i).attempts >= 1000 + 175);
}

TEST_CASE("clients that were told the same retry time do not come back together") {
  // Every answer says "in the 11th second": ten seconds of budget, spent at once, were a storm.
  Storm storm{"retry(p2c, attempts=2)"};
  storm.run(1000, 20, [](Duration since) {
    return Outcome{Result::overloaded, true, std::max<Duration>(10s - since, 1ms)};
  });
  CHECK(storm.most_extra() <= 210);
}

TEST_CASE("hedges in a storm of slow answers stay within their own fraction") {
  Storm storm{
      "retry(p2c, attempts=3, hedge=at(after=50ms, budget_fraction=0.05, "
      "min_hedges_per_second=1))"};
  storm.run(1000, 10, [](Duration) { return Result::success; }, 300ms);
  for (std::size_t i = 1; i < 10; ++i) {
    CHECK(storm.second(i).hedges <= 51);
    CHECK(storm.second(i).hedges >= 44);
  }
  CHECK(storm.most_extra() <= 51);
}

TEST_CASE("slow answers that fail, too, are hedged and retried within both fractions") {
  Storm storm{
      "retry(p2c, attempts=3, hedge=at(after=50ms, budget_fraction=0.05, "
      "min_hedges_per_second=1))"};
  storm.run(1000, 10, fails, 300ms);
  CHECK(storm.most_extra() <= 210 + 51);
  CHECK(storm.most_extra() >= 230);
}

TEST_CASE("few requests are retried all, up to the minimum per second") {
  Storm storm{"retry(p2c, attempts=3)"};
  storm.run(4, 10, fails);
  for (std::size_t i = 1; i < 9; ++i) CHECK(storm.second(i).attempts >= 4 * 3 - 1);
}

TEST_CASE("calls keep to the budget and report it as their stop reason") {
  poise::VirtualClock const clock;
  Balancer balancer{tests::letters("abc"),
                    tests::policy("retry(p2c, base_pause=0s, max_pause=0s)"),
                    {.clock = clock, .seed = 1}};
  std::vector<int> attempts(5);
  int ended_by_budget = 0;
  for (int ms = 0; ms < 5000; ++ms) {
    clock.set(Time{ms * 1ms});
    poise::CallReport report;
    balancer.call(poise::any_request, [](auto&) { return Outcome{Result::error}; },
                  {.report = &report});
    attempts[static_cast<std::size_t>(ms / 1000)] += static_cast<int>(report.attempts.size());
    if (report.why == poise::StopReason::budget) ++ended_by_budget;
  }
  for (std::size_t second = 0; second < 5; ++second) {
    CHECK(attempts[second] <= 1210);
    if (second > 0) CHECK(attempts[second] >= 1180);
  }
  CHECK(ended_by_budget > 4000);
}

TEST_CASE("a budget shared by two balancers limits both together") {
  poise::RetryBudget const common;
  poise::Retry<poise::P2C> const reads{{.budget = common}};
  poise::Retry<poise::P2C> const writes{{.budget = common}};
  poise::Retry<poise::P2C> const other{{}};
  auto const taken = [](auto const& policy) {
    int count = 0;
    while (policy.decide({poise::any_request, Result::error, Time{1h}, 0}).retry) ++count;
    return count;
  };
  CHECK(taken(reads) == 10);
  CHECK(taken(writes) == 0);
  CHECK(taken(other) == 10);
  CHECK(common.recent(Time{1h}).retries == 10);
}

TEST_CASE("a policy keeps its predecessor's budget unless it is given one") {
  poise::RetryBudget const first;
  poise::RetryBudget const second;
  poise::Retry<poise::P2C> const before{{.budget = first}};
  poise::Retry<poise::P2C> heir{{}};
  poise::hooks::take_over(heir, before);
  CHECK(heir.budget() == first);
  poise::Retry<poise::P2C> other{{.budget = second}};
  poise::hooks::take_over(other, before);
  CHECK(other.budget() == second);
}

TEST_CASE("a request is counted once, with its first attempt, in every composition") {
  poise::RetryBudget const budget;
  using Policy = poise::Retry<poise::P2C>;
  poise::VirtualClock const clock;
  poise::Balancer<Policy, void, poise::Runtime<poise::VirtualClock>> balancer{
      tests::letters("abc"), {{.budget = budget}}, {.clock = clock, .seed = 1}};
  balancer.tick();
  for (int i = 0; i < 10; ++i) balancer.pick().finish();
  for (int i = 0; i < 10; ++i) balancer.pick({.attempt = 2}).finish();
  CHECK(budget.recent(clock.now()).requests == 10);
  for (auto const* id : {"a", "b"}) balancer.set_admission(id, {.max_in_flight = 0});
  for (int i = 0; i < 10; ++i) balancer.pick().finish();  // asks several times for each
  CHECK(budget.recent(clock.now()).requests == 20);
}

}  // namespace unit_compose_retry_storm
