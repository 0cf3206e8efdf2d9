// SPDX-License-Identifier: MIT
#pragma once

// A policy chosen while the program runs, behind one type: Balancer<AnyPolicy> takes any of them,
// and set_policy() exchanges it under traffic.
//
// Use it when configuration decides; policy_named() makes one from text. A type that is known when
// you compile is a little faster, and its mistakes are found by the compiler.

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include <poise/halves.hpp>
#include <poise/policy.hpp>
#include <poise/propose.hpp>

namespace poise {

namespace detail {

/// What an erased pick and an erased admission take and give, each in a register: a context that is
/// referred to lives in memory, and its stores would be paid for at the pick's atomic operation.
struct PickWords {
  std::size_t result;  // the index, or whether it is admitted
  Path path;
};

}  // namespace detail

/// Holds any policy and forwards every hook; what the held one does not have costs a null check.
///
/// A copy holds a copy: cursors and what was measured belong to one balancer.
/// *Cost* one indirect call a pick beside the policy's own: half a nanosecond to 1. Inside of
/// another policy, where nobody claims what it picks, 1 to 2.5 ns.
class AnyPolicy {
 public:
  /// The policy held with its tables, and the ways into it that every pick takes.
  class Plan {
    friend AnyPolicy;
    using Words = detail::PickWords;
    detail::Proposal (*propose_)(detail::Group<AnyPolicy> const&, Request const&, Chance&,
                                 sync::Lane, Time now) = nullptr;
    Words (*pick_)(Plan const&, Roster const*, Request const*, Chance*, std::uint64_t lane_and_path,
                   Time now) = nullptr;
    Words (*admit_)(Plan const&, Roster const*, Request const*, Chance*,
                    std::uint64_t lane_and_path, std::uint64_t index_and_in_flight,
                    Time now) = nullptr;  // null if there is no such hook
    void const* policy_ = nullptr;
    std::shared_ptr<void const> tables_{};
  };

  // Itself first ruled out: to ask whether it is a policy asks whether it can be copied, and so on.
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
  /// A pick and its claim behind one call: propose.hpp.
  [[gnu::always_inline]] detail::Proposal propose(detail::Group<AnyPolicy> const& group,
                                                  Request const& request, Chance& chance,
                                                  sync::Lane lane, Time now) const {
    return group.plan->propose_(group, request, chance, lane, now);
  }
  [[gnu::always_inline]] std::size_t pick(Plan const& plan, Candidates const& candidates,
                                          Context& context) const {
    if (context.anybody_refused()) [[unlikely]] {
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
    auto const admitted =
        plan.admit_(plan, &candidates.roster(), &context.request, &context.random.chance(),
                    lane_and_path(context),
                    detail::in_one_word(static_cast<std::uint32_t>(i), in_flight), context.now);
    context.path = admitted.path;
    return admitted.result != 0;
  }
  [[nodiscard]] bool may_refuse() const { return held_->may_refuse(); }
  void on_finish(Finish& finish) const { held_->on_finish(finish); }
  [[nodiscard]] bool hears_finish() const { return held_->hears_finish(); }
  void on_tick(Time now) const { held_->on_tick(now); }
  [[nodiscard]] Decision decide(Attempt const& attempt) const { return held_->decide(attempt); }
  [[nodiscard]] CallLimits limits(Request const& request) const { return held_->limits(request); }
  void leave(Legacy& legacy) const { held_->leave(legacy); }
  void inherit(Legacy& legacy) { held_->inherit(legacy); }
  [[nodiscard]] std::shared_ptr<void> make_state() const { return held_->make_state(); }
  [[nodiscard]] bool uses_time() const { return held_->uses_time(); }
  [[nodiscard]] bool keyed() const { return held_->keyed(); }
  [[nodiscard]] std::string name() const { return held_->name(); }

  /// The policy held, if it is of this type; else null.
  template <class P>
  [[nodiscard]] P const* get() const noexcept {
    auto const* held = dynamic_cast<Held<P> const*>(held_.get());
    return held == nullptr ? nullptr : &held->policy;
  }

 private:
  using Words = detail::PickWords;

  static std::uint64_t lane_and_path(Context const& context) noexcept {
    return detail::in_one_word(static_cast<std::uint32_t>(context.lane), context.path.bits());
  }

  struct Base {
    Base() = default;
    Base(Base const&) = delete;
    Base& operator=(Base const&) = delete;
    virtual ~Base() = default;
    [[nodiscard]] virtual std::unique_ptr<Base> clone() const = 0;
    [[nodiscard]] virtual Plan plan(Candidates const&, Plan const* before) const = 0;
    /// A pick with all that a context may hold: the context is a copy, for the reason above.
    [[nodiscard]] virtual Words pick_again(Plan const&, Candidates, Context) const = 0;
    [[nodiscard]] virtual bool may_refuse() const = 0;
    virtual void on_finish(Finish&) const = 0;
    [[nodiscard]] virtual bool hears_finish() const = 0;
    virtual void on_tick(Time) const = 0;
    [[nodiscard]] virtual Decision decide(Attempt const&) const = 0;
    [[nodiscard]] virtual CallLimits limits(Request const&) const = 0;
    virtual void leave(Legacy&) const = 0;
    virtual void inherit(Legacy&) = 0;
    [[nodiscard]] virtual std::shared_ptr<void> make_state() const = 0;
    [[nodiscard]] virtual bool uses_time() const = 0;
    [[nodiscard]] virtual bool keyed() const = 0;
    [[nodiscard]] virtual std::string name() const = 0;
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
        if (!hooks::may_refuse(policy)) plan.propose_ = &Held::propose<false>;
      plan.pick_ = &Held::pick;
      if constexpr (hooks::has_admit<P>) plan.admit_ = &Held::admit;
      plan.policy_ = &policy;
      plan.tables_ = std::make_shared<Tables>(hooks::plan(policy, candidates, old));
      return plan;
    }

    template <bool Ask>
    static detail::Proposal propose(detail::Group<AnyPolicy> const& group, Request const& request,
                                    Chance& chance, sync::Lane lane, Time now) {
      return detail::propose<Ask>(policy_of(*group.plan), tables_of(*group.plan), group.roster,
                                  request, chance, lane, now);
    }
    static Words pick(Plan const& plan, Roster const* roster, Request const* request,
                      Chance* chance, std::uint64_t lane_and_path, Time now) {
      auto context = context_of(request, chance, lane_and_path);
      context.now = now;
      auto const i = hooks::pick(policy_of(plan), tables_of(plan), Candidates{*roster}, context);
      return {i, context.path};
    }
    static Words admit(Plan const& plan, Roster const* roster, Request const* request,
                       Chance* chance, std::uint64_t lane_and_path,
                       std::uint64_t index_and_in_flight, Time now) {
      auto context = context_of(request, chance, lane_and_path);
      context.now = now;
      bool const admitted = hooks::admit(policy_of(plan), tables_of(plan), Candidates{*roster},
                                         index_and_in_flight >> 32U,
                                         static_cast<std::uint32_t>(index_and_in_flight), context);
      return {admitted ? 1U : 0U, context.path};
    }
    [[nodiscard]] Words pick_again(Plan const& plan, Candidates candidates,
                                   Context context) const override {
      auto const i = hooks::pick(policy, tables_of(plan), candidates, context);
      return {i, context.path};
    }

    static P const& policy_of(Plan const& plan) noexcept {
      return *static_cast<P const*>(plan.policy_);
    }
    static Tables const& tables_of(Plan const& plan) noexcept {
      return *static_cast<Tables const*>(plan.tables_.get());
    }
    [[gnu::always_inline]] static Context context_of(Request const* request, Chance* chance,
                                                     std::uint64_t lane_and_path) noexcept {
      Context context{*request, *chance,
                      sync::Lane{static_cast<std::uint32_t>(lane_and_path >> 32U)}};
      context.path = Path{static_cast<std::uint32_t>(lane_and_path)};
      return context;
    }

    [[nodiscard]] bool may_refuse() const override { return hooks::may_refuse(policy); }
    void on_finish(Finish& finish) const override { hooks::on_finish(policy, finish); }
    [[nodiscard]] bool hears_finish() const override { return hooks::hears_finish(policy); }
    void on_tick(Time now) const override { hooks::on_tick(policy, now); }
    [[nodiscard]] Decision decide(Attempt const& attempt) const override {
      return hooks::decide(policy, attempt);
    }
    [[nodiscard]] CallLimits limits(Request const& request) const override {
      return hooks::limits(policy, request);
    }
    void leave(Legacy& legacy) const override { hooks::leave(policy, legacy); }
    void inherit(Legacy& legacy) override { hooks::inherit(policy, legacy); }
    [[nodiscard]] std::shared_ptr<void> make_state() const override {
      return hooks::make_state(policy);
    }
    [[nodiscard]] bool uses_time() const override { return hooks::uses_time(policy); }
    [[nodiscard]] bool keyed() const override { return hooks::keyed(policy); }
    [[nodiscard]] std::string name() const override { return hooks::name(policy); }

    P policy;
  };

  std::unique_ptr<Base> held_;
};

}  // namespace poise
