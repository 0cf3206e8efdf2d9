// SPDX-License-Identifier: MIT
// Seam: a policy chosen while the program runs, behind one type; every hook goes through.

#include <atomic>
#include <concepts>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>

#include <poise/poise.hpp>

#include "support/catch.hpp"

namespace api_any_policy {

using namespace std::chrono_literals;

namespace {

/// Holds any policy. What the inner one needs (time, state, a plan) is asked of it at run time.
class AnyPolicy {
 public:
  using Plan = std::shared_ptr<void const>;

  // Itself first ruled out: to ask whether it is a policy asks whether it can be copied, and so on.
  template <class P>
    requires(!std::same_as<P, AnyPolicy> && poise::Policy<P>)
  explicit AnyPolicy(P policy) : inner_{std::make_shared<Holder<P>>(std::move(policy))} {}
  AnyPolicy() : AnyPolicy{poise::RoundRobin{}} {}

  Plan plan(poise::Candidates const& candidates, Plan const* before) const {
    return inner_->plan(candidates, before);
  }
  std::size_t pick(Plan const& plan, poise::Candidates const& candidates,
                   poise::Context& context) const {
    return inner_->pick(plan, candidates, context);
  }
  void on_finish(poise::Finish& finish) const { inner_->on_finish(finish); }
  std::shared_ptr<void> make_state() const { return inner_->make_state(); }
  poise::Traits traits() const { return inner_->traits(); }
  std::string name() const { return inner_->name(); }

 private:
  struct Base {
    virtual ~Base() = default;
    virtual Plan plan(poise::Candidates const&, Plan const*) const = 0;
    virtual std::size_t pick(Plan const&, poise::Candidates const&, poise::Context&) const = 0;
    virtual void on_finish(poise::Finish&) const = 0;
    virtual std::shared_ptr<void> make_state() const = 0;
    virtual poise::Traits traits() const = 0;
    virtual std::string name() const = 0;
  };
  template <class P>
  struct Holder final : Base {
    using Inner = poise::hooks::PlanOf<P>;
    explicit Holder(P policy) : inner{std::move(policy)} {}
    Plan plan(poise::Candidates const& candidates, Plan const* before) const override {
      auto const* old = before != nullptr ? static_cast<Inner const*>(before->get()) : nullptr;
      return std::make_shared<Inner>(poise::hooks::plan(inner, candidates, old));
    }
    std::size_t pick(Plan const& plan, poise::Candidates const& candidates,
                     poise::Context& context) const override {
      return poise::hooks::pick(inner, *static_cast<Inner const*>(plan.get()), candidates, context);
    }
    void on_finish(poise::Finish& finish) const override { poise::hooks::on_finish(inner, finish); }
    std::shared_ptr<void> make_state() const override { return poise::hooks::make_state(inner); }
    poise::Traits traits() const override { return poise::hooks::traits(inner); }
    std::string name() const override { return poise::hooks::name(inner); }
    P inner;
  };
  std::shared_ptr<Base const> inner_;
};

/// Remembers per backend when it was last picked and takes the one that rested longest.
struct Rested {
  static constexpr char const* name = "rested";
  static constexpr poise::Traits traits{.uses_time = true};
  struct State {
    std::atomic<poise::Duration::rep> last{0};
    std::atomic<int> ends{0};
  };
  std::size_t pick(poise::Candidates const& candidates, poise::Context& context) const {
    std::size_t best = 0;
    for (std::size_t i = 1; i < candidates.size(); ++i)
      if (candidates.state<State>(i).last < candidates.state<State>(best).last) best = i;
    candidates.state<State>(best).last = context.now.time_since_epoch().count();
    return best;
  }
  void on_finish(poise::Finish& finish) const { ++finish.state<State>().ends; }
};

struct Fixture {
  poise::VirtualClock clock{};
  poise::Balancer<AnyPolicy, void, poise::Runtime<poise::VirtualClock>> balancer{
      {{.id = "a", .weight = 5}, {.id = "b"}, {.id = "c"}},
      AnyPolicy{},
      {.clock = clock, .seed = 1}};
  std::string next(int count) {
    std::string text;
    for (int i = 0; i < count; ++i) {
      clock.advance(1ms);
      auto lease = balancer.pick();
      text += lease->id();
      lease.finish();
    }
    return text;
  }
};

}  // namespace

TEST_CASE("seam any policy switches the policy of a live balancer") {
  Fixture test;
  CHECK(test.balancer.name() == "round_robin");
  CHECK(test.next(6) == "abcabc");
  test.balancer.set_policy(AnyPolicy{poise::SmoothWeighted{}});
  CHECK(test.balancer.name() == "smooth_weighted");
  CHECK(test.next(7) == "aabacaa");
}

TEST_CASE("seam any policy measures time only for a policy that uses it") {
  Fixture test;
  test.next(3);
  CHECK_FALSE(test.balancer.stats().backends[0].latency);
  test.balancer.set_policy(AnyPolicy{Rested{}});
  test.next(3);
  CHECK(test.balancer.stats().backends[0].latency);
}

TEST_CASE("seam any policy gives the policy it holds a state per backend") {
  Fixture test;
  test.balancer.set_policy(AnyPolicy{Rested{}});
  CHECK(test.next(6) == "abcabc");
  test.balancer.update({{.id = "c"}, {.id = "b"}, {.id = "a", .weight = 5}});
  CHECK(test.next(3) == "abc");  // who rested longest is remembered
  test.balancer.set_policy(AnyPolicy{poise::RoundRobin{}});
  CHECK(test.next(3) == "cba");
}

TEST_CASE("seam any policy keeps a lease's time over the switch") {
  Fixture test;
  auto untimed = test.balancer.pick();
  test.balancer.set_policy(AnyPolicy{Rested{}});
  auto timed = test.balancer.pick();
  test.balancer.set_policy(AnyPolicy{});
  test.clock.advance(9ms);
  untimed.finish();
  CHECK_FALSE(test.balancer.stats().backends[0].latency);
  auto const timed_id = timed->id();
  timed.finish();
  for (auto const& each : test.balancer.stats().backends)
    if (each.id == timed_id) CHECK(each.latency == 9ms);
}

}  // namespace api_any_policy
