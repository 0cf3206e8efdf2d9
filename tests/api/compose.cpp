// SPDX-License-Identifier: MIT
// Seam: policies made of policies. The child that picked hears the end, with its own state.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <poise/poise.hpp>

#include "support/catch.hpp"

namespace api_compose {

using namespace std::chrono_literals;
using poise::Result;

namespace {

/// High priority to one policy, the rest to another. Forwards every hook that matters to its
/// children.
template <class High, class Rest>
struct Router {
  /// A child's own view of the backends, in which their states are the child's, and its plan.
  template <class Child>
  struct Part {
    poise::Roster own;
    poise::hooks::PlanOf<Child> plan;
    [[nodiscard]] poise::Candidates candidates() const { return poise::Candidates{own}; }
  };
  struct Plan {
    Part<High> high;
    Part<Rest> rest;
  };
  struct State {
    poise::hooks::StateOf<High> high;
    poise::hooks::StateOf<Rest> rest;
  };
  static constexpr poise::Traits traits{
      .uses_time = poise::hooks::time_use<High> == poise::hooks::UsesTime::always ||
                   poise::hooks::time_use<Rest> == poise::hooks::UsesTime::always};
  High high{};
  Rest rest{};

  Plan plan(poise::Candidates const& candidates, Plan const* before) const {
    return {part(high, &State::high, candidates, before ? &before->high.plan : nullptr),
            part(rest, &State::rest, candidates, before ? &before->rest.plan : nullptr)};
  }
  std::size_t pick(Plan const& plan, poise::Candidates const&, poise::Context& context) const {
    bool const urgent = context.request.priority == poise::Priority::high;
    auto const i = urgent
                       ? poise::hooks::pick(high, plan.high.plan, plan.high.candidates(), context)
                       : poise::hooks::pick(rest, plan.rest.plan, plan.rest.candidates(), context);
    context.path.push(urgent ? 0 : 1, 1);
    return i;
  }
  void on_finish(poise::Finish& finish) const {
    if (!finish.path) return;  // a scan found it, no child did
    bool const urgent = finish.path->pop(1) == 0;
    auto& state = finish.state<State>();
    auto inner = finish;
    if (urgent) {
      inner.state_block = &state.high;
      poise::hooks::on_finish(high, inner);
    } else {
      inner.state_block = &state.rest;
      poise::hooks::on_finish(rest, inner);
    }
  }

 private:
  template <class Child, class ChildState>
  static Part<Child> part(Child const& child, ChildState State::* state,
                          poise::Candidates const& candidates,
                          poise::hooks::PlanOf<Child> const* before) {
    auto own = candidates.roster();
    for (std::size_t i = 0; i < own.states.size(); ++i)
      own.states[i] = &(candidates.state<State>(i).*state);
    auto plan = poise::hooks::plan(child, poise::Candidates{own}, before);
    return {std::move(own), std::move(plan)};
  }
};

/// Round robin that counts the ends it hears of, in all and per backend.
template <int Tag>
struct Counting {
  struct State {
    std::atomic<int> ends{Tag * 1000};
  };
  poise::RoundRobin inner{};
  std::shared_ptr<int> heard = std::make_shared<int>(0);
  std::shared_ptr<int> last = std::make_shared<int>(0);

  std::size_t pick(poise::Candidates const& candidates, poise::Context& context) const {
    return inner.pick(candidates, context);
  }
  void on_finish(poise::Finish& finish) const {
    ++*heard;
    *last = ++finish.state<State>().ends;
  }
};

/// Only backends of one zone while it has any that are eligible, else all.
template <class P>
struct InZone {
  struct Plan {
    poise::Roster near{};
    std::optional<poise::hooks::PlanOf<P>> near_plan{};
    poise::hooks::PlanOf<P> far_plan{};
  };
  std::string zone{};
  P inner{};

  Plan plan(poise::Candidates const& candidates, Plan const* before) const {
    Plan plan;
    plan.near = candidates.subset([&](auto const& backend) { return backend.zone() == zone; });
    if (plan.near.eligible != 0)
      plan.near_plan =
          poise::hooks::plan(inner, poise::Candidates{plan.near},
                             before && before->near_plan ? &*before->near_plan : nullptr);
    plan.far_plan = poise::hooks::plan(inner, candidates, before ? &before->far_plan : nullptr);
    return plan;
  }
  std::size_t pick(Plan const& plan, poise::Candidates const& candidates,
                   poise::Context& context) const {
    if (!plan.near_plan) return poise::hooks::pick(inner, plan.far_plan, candidates, context);
    return plan.near
        .origins[poise::hooks::pick(inner, *plan.near_plan, poise::Candidates{plan.near}, context)];
  }
};

using Runtime = poise::Runtime<poise::VirtualClock>;

}  // namespace

TEST_CASE("seam path notifies the child that picked of the outcome") {
  Router<Counting<1>, Counting<2>> const policy;
  poise::Balancer<Router<Counting<1>, Counting<2>>, void, Runtime> balancer{
      poise::endpoints({"a", "b"}), policy, {.seed = 1}};
  auto urgent = balancer.pick({.priority = poise::Priority::high});
  auto normal = balancer.pick();
  auto another = balancer.pick();
  normal.finish();
  CHECK(*policy.high.heard == 0);
  CHECK(*policy.rest.heard == 1);
  urgent.finish();
  CHECK(*policy.high.heard == 1);
  another.finish();
  CHECK(*policy.rest.heard == 2);
}

TEST_CASE("seam path gives each child its own part of the state") {
  using Policy = Router<Counting<1>, Counting<2>>;
  Policy const policy;
  poise::Balancer<Policy, void, Runtime> balancer{poise::endpoints({"a"}), policy, {.seed = 1}};
  balancer.pick({.priority = poise::Priority::high}).finish();
  balancer.pick({.priority = poise::Priority::high}).finish();
  balancer.pick().finish();
  CHECK(*policy.high.last == 1002);
  CHECK(*policy.rest.last == 2001);
}

TEST_CASE("seam path leads through a wrapper in a wrapper") {
  using Inner = Router<Counting<1>, Counting<2>>;
  using Policy = Router<Counting<3>, Inner>;
  Policy const policy;
  poise::Balancer<Policy, void, Runtime> balancer{poise::endpoints({"a"}), policy, {.seed = 1}};
  balancer.pick({.priority = poise::Priority::high}).finish();
  balancer.pick({.priority = poise::Priority::low}).finish();
  CHECK(*policy.high.last == 3001);
  CHECK(*policy.rest.rest.last == 2001);
  CHECK(*policy.rest.high.heard == 0);
}

TEST_CASE("seam path survives an update and a lease given away between pick and end") {
  using Policy = Router<Counting<1>, Counting<2>>;
  Policy const policy;
  poise::Balancer<Policy, void, Runtime> balancer{poise::endpoints({"a"}), policy, {.seed = 1}};
  auto const token = balancer.pick().release();
  balancer.update(poise::endpoints({"b", "a"}));
  decltype(balancer)::Lease::adopt(token).finish();
  CHECK(*policy.rest.last == 2001);
}

TEST_CASE("seam path is empty where no child picked") {
  // Excluded by the request, the only backend is found by a scan; no child hears of its end.
  using Policy = Router<Counting<1>, Counting<2>>;
  Policy const policy;
  poise::Balancer<Policy, void, Runtime> balancer{poise::endpoints({"a"}), policy, {.seed = 1}};
  std::uint64_t const excluded[]{balancer.stats().backends[0].serial};
  balancer.pick({.excluded = excluded}).finish();
  CHECK(*policy.high.heard + *policy.rest.heard == 0);
}

TEST_CASE("seam filter narrows the choice and leads back") {
  using Policy = InZone<poise::SmoothWeighted>;
  poise::Balancer<Policy, void, Runtime> balancer{{{.id = "a", .zone = "west"},
                                                   {.id = "b", .weight = 2, .zone = "east"},
                                                   {.id = "c", .zone = "east"}},
                                                  Policy{.zone = "east"},
                                                  {.seed = 1}};
  auto const next = [&](int count) {
    std::string text;
    for (int i = 0; i < count; ++i) text += balancer.pick()->id();
    return text;
  };
  CHECK(next(6) == "bcbbcb");
  balancer.drain("b");
  CHECK(next(3) == "ccc");
  balancer.drain("c");
  CHECK(next(2) == "aa");
  balancer.undrain("c");
  CHECK(next(2) == "cc");
}

}  // namespace api_compose
