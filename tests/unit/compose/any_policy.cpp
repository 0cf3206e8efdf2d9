// SPDX-License-Identifier: MIT
// A type-erased policy: the same picks as the plain one, every hook forwarded, nothing shared.

#include <poise/compose/any_policy.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include <poise/poise.hpp>

#include "support/catch.hpp"
#include "support/policies.hpp"
#include "support/stage.hpp"

namespace unit_compose_any_policy {

using namespace std::chrono_literals;
using poise::AnyPolicy;
using poise::Result;

namespace {

using Runtime = poise::Runtime<poise::VirtualClock>;
using Balancer = poise::Balancer<AnyPolicy, void, Runtime>;

std::vector<poise::Endpoint> unequal() {
  return {{.id = "a", .weight = 5}, {.id = "b"}, {.id = "c"}, {.id = "d", .weight = 2}};
}

/// Picks and ends of a balancer, with time, failures and a change on the way, as one text.
template <class B>
std::string story(B& balancer, poise::VirtualClock& clock) {
  std::string text;
  for (int i = 0; i < 300; ++i) {
    auto lease = balancer.pick({.route_key = std::to_string(i % 17)});
    text += lease->id();
    clock.advance(lease->id() == "b" ? 9ms : 2ms);
    auto held = balancer.pick();
    text += held->id();
    lease.finish(i % 10 == 0 ? Result::error : Result::success);
    if (i == 100) balancer.drain("c");
    if (i == 200) balancer.undrain("c");
    if (i % 50 == 0) balancer.tick();
  }
  return text;
}

/// Writes down which of its hooks ran.
struct Spy {
  static constexpr char const* name = "spy";
  static constexpr poise::Traits traits{.uses_time = true, .keyed = true};
  struct Plan {
    int number = 0;
  };
  struct State {
    std::atomic<int> ends{0};
  };
  std::shared_ptr<std::string> heard = std::make_shared<std::string>();

  [[nodiscard]] Plan plan(poise::Candidates const&, Plan const* before) const {
    return {before == nullptr ? 1 : before->number + 1};
  }
  std::size_t pick(Plan const& plan, poise::Candidates const& candidates,
                   poise::Context& context) const {
    *heard += "pick" + std::to_string(plan.number) + " ";
    context.path.push(3, 2);
    return candidates.size() - 1;
  }
  bool admit(Plan const&, poise::Candidates const& candidates, std::size_t i,
             std::uint32_t in_flight, poise::Context&) const {
    *heard += "admit" + candidates[i].id() + std::to_string(in_flight) + " ";
    return in_flight == 0;
  }
  void on_finish(poise::Finish& finish) const {
    *heard += "finish" + std::to_string(++finish.state<State>().ends) +
              (finish.path && finish.path->pop(2) == 3 ? "p " : " ");
  }
  void on_tick(poise::Time) const { *heard += "tick "; }
  [[nodiscard]] poise::Decision decide(poise::Attempt const& attempt) const {
    *heard += "decide" + std::to_string(attempt.request.attempt) + " ";
    return {.retry = attempt.request.attempt < 2};
  }
};

}  // namespace

TEST_CASE("a balancer of any policy picks what that of the plain one picks") {
  using Plain = poise::PowerOfTwo<poise::PeakEwma>;
  poise::VirtualClock clock;
  poise::VirtualClock other_clock;
  poise::Balancer<Plain, void, Runtime> plain{unequal(), {}, {.clock = clock, .seed = 7}};
  Balancer any{unequal(), AnyPolicy{Plain{}}, {.clock = other_clock, .seed = 7}};
  CHECK(any.name() == plain.name());
  CHECK(story(any, other_clock) == story(plain, clock));
}

namespace {

/// The same of a policy alone.
template <class P>
std::string story_of(P const& policy) {
  tests::Stage<P> stage{{5, 1, 1, 2}, policy, 7};
  poise::Time now{1h};
  auto const pick = [&](poise::Request const& request) {
    auto const& id = poise::Candidates{stage.roster}[stage.pick(request, now)].id();
    auto const number = static_cast<std::size_t>(id[0] - 'a');
    stage.backends[number].claim();
    return number;
  };
  std::string text;
  for (int i = 0; i < 300; ++i) {
    auto const key = std::to_string(i % 17);
    auto const first = pick({.route_key = key});
    now += first == 1 ? 9ms : 2ms;
    auto const held = pick({});
    text += std::to_string(first) + std::to_string(held);
    for (auto const number : {first, held}) {
      stage.backends[number].release();
      auto const latency = number == 1 ? 9ms : 2ms;
      stage.finish(number, i % 10 == 0 ? Result::error : Result::success, latency, now);
    }
    if (i == 100 || i == 200) {
      stage.backends.set_eligible(2, i == 200);
      stage.rebuild();
    }
    if (i % 50 == 0) poise::hooks::on_tick(stage.policy, now);
  }
  return text;
}

template <class... P>
void check_stories(std::tuple<P...> const& policies) {
  auto const check = [](auto const& plain) {
    AnyPolicy const any{plain};
    CAPTURE(any.name());
    CHECK(any.name() == poise::hooks::name(plain));
    CHECK(story_of(any) == story_of(plain));
  };
  std::apply([&](auto const&... policy) { (check(policy), ...); }, policies);
}

}  // namespace

TEST_CASE("any policy picks what the plain one picks") { check_stories(tests::AllPolicies{}); }

TEST_CASE("an erased policy forwards every hook") {
  poise::VirtualClock const clock;
  Spy const spy;
  Balancer balancer{poise::endpoints({"a", "b"}), AnyPolicy{spy}, {.clock = clock, .seed = 1}};
  CHECK(balancer.name() == "spy");
  CHECK(AnyPolicy{spy}.traits().keyed);
  CHECK(AnyPolicy{spy}.traits().uses_time);

  balancer.call([](auto&) { return poise::Outcome{Result::error}; });
  CHECK(*spy.heard ==
        "pick1 admitb0 finish1p decide1 pick1 pick1 pick1 pick1 pick1 admita0 finish1 decide2 ");
  spy.heard->clear();
  balancer.set_weight("a", 2);
  balancer.tick();
  auto first = balancer.pick();
  balancer.pick().finish();
  CHECK(*spy.heard ==
        "tick pick2 admitb0 pick2 admitb1 pick2 admitb1 pick2 admitb1 pick2 admitb1 "
        "pick2 admitb1 admitb1 admita0 finish2 ");
}

TEST_CASE("any policy gives no path of its predecessor's to a policy") {
  poise::VirtualClock const clock;
  Spy const spy;
  Balancer balancer{poise::endpoints({"a"}), AnyPolicy{Spy{}}, {.clock = clock, .seed = 1}};
  auto lease = balancer.pick();
  balancer.set_policy(AnyPolicy{spy});
  lease.finish();
  CHECK(*spy.heard == "finish1 ");  // "finish1p" would have a path
}

TEST_CASE("an erased policy asks only for what its policy needs") {
  // No state, no clock: what round robin does not ask for must not be done because of the erasure.
  AnyPolicy const policy{poise::RoundRobin{}};
  CHECK_FALSE(policy.traits().wants_finish);
  CHECK_FALSE(policy.traits().uses_time);
  CHECK_FALSE(policy.traits().keyed);
  CHECK(policy.make_state() == nullptr);
  CHECK(AnyPolicy{Spy{}}.traits().wants_finish);
}

TEST_CASE("a copy of an erased policy holds a copy of its policy") {
  AnyPolicy const first{poise::RoundRobin{}};
  AnyPolicy second{first};
  CHECK(first.get<poise::RoundRobin>() != second.get<poise::RoundRobin>());
  CHECK(second.get<poise::P2C>() == nullptr);
  second = AnyPolicy{poise::P2C{}};
  CHECK(second.name() == "p2c");
  second = first;
  CHECK(second.get<poise::RoundRobin>() != nullptr);

  // Two balancers made from one policy rotate each by itself.
  Balancer left{poise::endpoints({"a", "b"}), first, {.seed = 1}};
  Balancer right{poise::endpoints({"a", "b"}), first, {.seed = 1}};
  CHECK(left.pick()->id() == "a");
  CHECK(right.pick()->id() == "a");
}

TEST_CASE("any policy inside any policy is a policy") {
  Balancer balancer{
      poise::endpoints({"a", "b"}), AnyPolicy{AnyPolicy{poise::RoundRobin{}}}, {.seed = 1}};
  CHECK(balancer.pick()->id() == "a");
}

TEST_CASE("any policy is switched while other threads pick") {
  poise::Balancer<AnyPolicy> balancer{unequal(), AnyPolicy{poise::RoundRobin{}}};
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> failed{0};
  std::uint64_t picked = 0;
  std::thread picker{[&] {
    while (!stop) {
      auto lease = balancer.pick();
      if (!lease) ++failed;
      lease.finish();
      ++picked;
    }
  }};
  for (int i = 0; i < 300; ++i)
    balancer.set_policy(i % 3 == 0   ? AnyPolicy{poise::P2C{}}
                        : i % 3 == 1 ? AnyPolicy{Spy{}}
                                     : AnyPolicy{poise::SmoothWeighted{}});
  stop = true;
  picker.join();
  CHECK(failed == 0);
  std::uint64_t total = 0;
  for (auto const& each : balancer.stats().backends) {
    total += each.total;
    CHECK(each.in_flight == 0);
  }
  CHECK(total == picked);
}

}  // namespace unit_compose_any_policy
