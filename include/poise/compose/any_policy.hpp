// SPDX-License-Identifier: MIT
#pragma once

// A type-erased policy: Balancer<AnyPolicy> takes any policy at run time, and set_policy()
// exchanges it under traffic.
//
// Use it when configuration chooses the policy; policy_named() makes one from text. A policy known
// at compile time is a little faster, and the compiler finds its mistakes.

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <poise/base/bits.hpp>
#include <poise/policy.hpp>
#include <poise/policy/claim.hpp>

namespace poise::inline v0_1_0 {

namespace detail {

/// The result of an erased pick or admission, returned in two registers. A context passed by
/// reference would live in memory, and the pick's atomic operation would wait for its stores.
struct ErasedResult {
  std::size_t result;  // the index, or whether it is admitted
  Path path;
};

}  // namespace detail

/// Holds any policy and forwards every hook. A hook that the held policy lacks costs a null check.
///
/// A copy holds a copy of the policy: cursors and measurements belong to one balancer.
/// *Cost* one indirect call per pick on top of the policy's own cost: 0.5 to 1 ns. Inside another
/// policy, where pick and claim are two calls, 1 to 2.5 ns.
class AnyPolicy {
 public:
  /// The held policy with its plan, and the functions that every pick calls.
  class Plan {
    friend AnyPolicy;
    using Returned = detail::ErasedResult;
    detail::Proposal (*propose_)(detail::Group<AnyPolicy> const&, Request const&, RandomSource&,
                                 sync::Lane, Time now) = nullptr;
    Returned (*pick_)(Plan const&, Roster const*, Request const*, RandomSource*,
                      std::uint64_t lane_and_path, Time now) = nullptr;
    Returned (*admit_)(Plan const&, Roster const*, Request const*, RandomSource*,
                       std::uint64_t lane_and_path, std::uint64_t index_and_in_flight,
                       Time now) = nullptr;  // null if there is no such hook
    void const* policy_ = nullptr;
    std::shared_ptr<void const> tables_{};
  };

  // AnyPolicy itself is ruled out first: to ask whether it is a Policy asks whether it can be
  // copied, which asks again.
  template <class P>
    requires(!std::same_as<P, AnyPolicy> && Policy<P>)
  explicit AnyPolicy(P const& policy) : held_{std::make_unique<Held<P>>(policy)} {
    static_assert(detail::check_policy<P>());
  }
  AnyPolicy(AnyPolicy const& other) : held_{other.held_->clone()} {}
  AnyPolicy& operator=(AnyPolicy const& other) {
    held_ = other.held_->clone();
    return *this;
  }
  AnyPolicy(AnyPolicy&&) noexcept = default;
  AnyPolicy& operator=(AnyPolicy&&) noexcept = default;
  ~AnyPolicy() = default;

  [[nodiscard]] Plan plan(Candidates const& candidates, Plan const* before) const {
    return held_->plan(candidates, before);
  }
  /// A hook that only AnyPolicy has: pick and claim in one call (policy/claim.hpp).
  [[gnu::always_inline]] detail::Proposal propose(detail::Group<AnyPolicy> const& group,
                                                  Request const& request, RandomSource& chance,
                                                  sync::Lane lane, Time now) const {
    return group.plan->propose_(group, request, chance, lane, now);
  }
  [[gnu::always_inline]] std::size_t pick(Plan const& plan, Candidates const& candidates,
                                          Context& context) const {
    if (context.asked_before() || context.trace() != nullptr) [[unlikely]] {
      auto const picked = held_->pick_again(plan, candidates, context);
      context.path = picked.path;
      return picked.result;
    }
    auto const picked = plan.pick_(plan, &candidates.roster(), &context.request,
                                   &context.random.chance(), lane_and_path(context), context.now);
    context.path = picked.path;
    return picked.result;
  }
  [[gnu::always_inline]] bool admit(Plan const& plan, Candidates const& candidates, std::size_t i,
                                    std::uint32_t in_flight, Context& context) const {
    if (plan.admit_ == nullptr) return true;
    if (context.trace() != nullptr) [[unlikely]]
      return take(held_->admit_traced(plan, candidates, i, in_flight, context), context);
    return take(plan.admit_(plan, &candidates.roster(), &context.request, &context.random.chance(),
                            lane_and_path(context),
                            detail::pack(static_cast<std::uint32_t>(i), in_flight), context.now),
                context);
  }
  void on_finish(Finish& finish) const { held_->on_finish(finish); }
  void on_tick(Time now) const { held_->on_tick(now); }
  [[nodiscard]] Decision decide(Attempt const& attempt) const { return held_->decide(attempt); }
  [[nodiscard]] CallTimeouts timeouts(Request const& request) const {
    return held_->timeouts(request);
  }
  void hand_over(Handover& handover) const { held_->hand_over(handover); }
  void take_over(Handover& handover) { held_->take_over(handover); }
  [[nodiscard]] std::shared_ptr<void> make_state() const { return held_->make_state(); }
  [[nodiscard]] Traits traits() const { return held_->traits(); }
  [[nodiscard]] std::string name() const { return held_->name(); }
  [[nodiscard]] std::vector<double> shares(Plan const& plan, Candidates const& candidates) const {
    return held_->shares(plan, candidates);
  }

  /// The held policy if it is of this type; else null.
  template <class P>
  [[nodiscard]] P const* get() const noexcept {
    auto const* held = dynamic_cast<Held<P> const*>(held_.get());
    return held == nullptr ? nullptr : &held->policy;
  }

 private:
  using Returned = detail::ErasedResult;
  /// The result of an erased admit(): this, or twice the suggested retry.
  static constexpr std::size_t admits = 1;
  [[gnu::always_inline]] static Returned returned(bool admitted, Context const& context) noexcept {
    if (admitted) [[likely]]
      return {admits, context.path};
    return {2 * static_cast<std::size_t>(context.suggested_retry().count()), context.path};
  }
  [[gnu::always_inline]] static bool take(Returned const& admitted, Context& context) noexcept {
    context.path = admitted.path;
    if (admitted.result == admits) [[likely]]
      return true;
    if (admitted.result != 0) context.suggest_retry(Duration{admitted.result / 2});
    return false;
  }

  static std::uint64_t lane_and_path(Context const& context) noexcept {
    return detail::pack(static_cast<std::uint32_t>(context.lane), context.path.bits());
  }

  struct Base {
    Base() = default;
    Base(Base const&) = delete;
    Base& operator=(Base const&) = delete;
    virtual ~Base() = default;
    [[nodiscard]] virtual std::unique_ptr<Base> clone() const = 0;
    [[nodiscard]] virtual Plan plan(Candidates const&, Plan const* before) const = 0;
    /// A pick for any context. It takes a copy, for the reason given at ErasedResult.
    [[nodiscard]] virtual Returned pick_again(Plan const&, Candidates, Context) const = 0;
    /// An admission that is traced: the context goes along.
    [[nodiscard]] virtual Returned admit_traced(Plan const&, Candidates, std::size_t i,
                                                std::uint32_t in_flight, Context) const = 0;
    virtual void on_finish(Finish&) const = 0;
    virtual void on_tick(Time) const = 0;
    [[nodiscard]] virtual Decision decide(Attempt const&) const = 0;
    [[nodiscard]] virtual CallTimeouts timeouts(Request const&) const = 0;
    virtual void hand_over(Handover&) const = 0;
    virtual void take_over(Handover&) = 0;
    [[nodiscard]] virtual std::shared_ptr<void> make_state() const = 0;
    [[nodiscard]] virtual Traits traits() const = 0;
    [[nodiscard]] virtual std::string name() const = 0;
    [[nodiscard]] virtual std::vector<double> shares(Plan const&, Candidates const&) const = 0;
  };

  template <class P>
  struct Held final : Base {
    using Tables = hooks::PlanOf<P>;

    explicit Held(P const& held) : policy{held} {}

    [[nodiscard]] std::unique_ptr<Base> clone() const override {
      return std::make_unique<Held>(policy);
    }

    [[nodiscard]] Plan plan(Candidates const& candidates, Plan const* before) const override {
      auto const* old = before == nullptr ? nullptr : &tables_of(*before);
      Plan plan;
      plan.propose_ = &Held::propose<hooks::has_admit<P>>;
      if constexpr (hooks::asks_may_refuse<P>)
        if (!hooks::traits(policy).may_refuse) plan.propose_ = &Held::propose<false>;
      plan.pick_ = &Held::pick;
      if constexpr (hooks::has_admit<P>) plan.admit_ = &Held::admit;
      plan.policy_ = &policy;
      plan.tables_ = std::make_shared<Tables>(hooks::plan(policy, candidates, old));
      return plan;
    }

    template <bool Ask>
    static detail::Proposal propose(detail::Group<AnyPolicy> const& group, Request const& request,
                                    RandomSource& chance, sync::Lane lane, Time now) {
      return detail::propose<Ask>(policy_of(*group.plan), tables_of(*group.plan), group.roster,
                                  request, chance, lane, now);
    }
    static Returned pick(Plan const& plan, Roster const* roster, Request const* request,
                         RandomSource* chance, std::uint64_t lane_and_path, Time now) {
      auto context = context_of(request, chance, lane_and_path);
      context.now = now;
      auto const i = hooks::pick(policy_of(plan), tables_of(plan), Candidates{*roster}, context);
      return {i, context.path};
    }
    static Returned admit(Plan const& plan, Roster const* roster, Request const* request,
                          RandomSource* chance, std::uint64_t lane_and_path,
                          std::uint64_t index_and_in_flight, Time now) {
      auto context = context_of(request, chance, lane_and_path);
      context.now = now;
      bool const admitted = hooks::admit(policy_of(plan), tables_of(plan), Candidates{*roster},
                                         index_and_in_flight >> 32U,
                                         static_cast<std::uint32_t>(index_and_in_flight), context);
      return returned(admitted, context);
    }
    [[nodiscard]] Returned pick_again(Plan const& plan, Candidates candidates,
                                      Context context) const override {
      auto const i = hooks::pick(policy, tables_of(plan), candidates, context);
      return {i, context.path};
    }

    [[nodiscard]] Returned admit_traced(Plan const& plan, Candidates candidates, std::size_t i,
                                        std::uint32_t in_flight, Context context) const override {
      return returned(hooks::admit(policy, tables_of(plan), candidates, i, in_flight, context),
                      context);
    }

    static P const& policy_of(Plan const& plan) noexcept {
      return *static_cast<P const*>(plan.policy_);
    }
    static Tables const& tables_of(Plan const& plan) noexcept {
      return *static_cast<Tables const*>(plan.tables_.get());
    }
    [[gnu::always_inline]] static Context context_of(Request const* request, RandomSource* chance,
                                                     std::uint64_t lane_and_path) noexcept {
      Context context{*request, *chance,
                      sync::Lane{static_cast<std::uint32_t>(lane_and_path >> 32U)}};
      context.path = Path{static_cast<std::uint32_t>(lane_and_path)};
      return context;
    }

    void on_finish(Finish& finish) const override { hooks::on_finish(policy, finish); }
    void on_tick(Time now) const override { hooks::on_tick(policy, now); }
    [[nodiscard]] Decision decide(Attempt const& attempt) const override {
      return hooks::decide(policy, attempt);
    }
    [[nodiscard]] CallTimeouts timeouts(Request const& request) const override {
      return hooks::timeouts(policy, request);
    }
    void hand_over(Handover& handover) const override { hooks::hand_over(policy, handover); }
    void take_over(Handover& handover) override { hooks::take_over(policy, handover); }
    [[nodiscard]] std::shared_ptr<void> make_state() const override {
      return hooks::make_state(policy);
    }
    [[nodiscard]] Traits traits() const override { return hooks::traits(policy); }
    [[nodiscard]] std::string name() const override { return hooks::name(policy); }
    [[nodiscard]] std::vector<double> shares(Plan const& plan,
                                             Candidates const& candidates) const override {
      return hooks::shares(policy, tables_of(plan), candidates);
    }

    P policy;
  };

  std::unique_ptr<Base> held_;
};

}  // namespace poise::inline v0_1_0
