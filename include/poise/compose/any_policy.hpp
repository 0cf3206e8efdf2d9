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
#include <utility>

#include <poise/policy.hpp>

namespace poise {

/// Holds any policy and forwards every hook; what the held one does not have costs a null check.
///
/// A copy holds a copy: cursors and what was measured belong to one balancer.
/// *Cost* one indirect call a pick beside the policy's own.
class AnyPolicy {
  struct Base;

 public:
  /// Tables of the policy held, and the two ways into it that every pick takes: one load away.
  class Plan {
    friend AnyPolicy;
    std::size_t (*pick_)(Base const&, void const* tables, Candidates const&, Context&) = nullptr;
    bool (*admit_)(Base const&, void const* tables, Candidates const&, std::size_t, std::uint32_t,
                   Context&) = nullptr;
    std::shared_ptr<void const> tables_{};
  };

  // Itself first ruled out: to ask whether it is a policy asks whether it can be copied, and so on.
  template <class P>
    requires(!std::same_as<P, AnyPolicy> && Policy<P>)
  explicit AnyPolicy(P policy) : held_{std::make_unique<Held<P>>(std::move(policy))} {
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
  [[gnu::always_inline]] std::size_t pick(Plan const& plan, Candidates const& candidates,
                                          Context& context) const {
    return plan.pick_(*held_, plan.tables_.get(), candidates, context);
  }
  [[nodiscard]] bool admit(Plan const& plan, Candidates const& candidates, std::size_t i,
                           std::uint32_t in_flight, Context& context) const {
    return plan.admit_ == nullptr ||
           plan.admit_(*held_, plan.tables_.get(), candidates, i, in_flight, context);
  }
  void on_finish(Finish& finish) const { held_->on_finish(finish); }
  [[nodiscard]] bool hears_finish() const { return held_->hears_finish(); }
  void on_tick(Time now) const { held_->on_tick(now); }
  [[nodiscard]] Decision decide(Attempt const& attempt) const { return held_->decide(attempt); }
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
  struct Base {
    Base() = default;
    Base(Base const&) = delete;
    Base& operator=(Base const&) = delete;
    virtual ~Base() = default;
    [[nodiscard]] virtual std::unique_ptr<Base const> clone() const = 0;
    [[nodiscard]] virtual Plan plan(Candidates const&, Plan const* before) const = 0;
    virtual void on_finish(Finish&) const = 0;
    [[nodiscard]] virtual bool hears_finish() const = 0;
    virtual void on_tick(Time) const = 0;
    [[nodiscard]] virtual Decision decide(Attempt const&) const = 0;
    [[nodiscard]] virtual std::shared_ptr<void> make_state() const = 0;
    [[nodiscard]] virtual bool uses_time() const = 0;
    [[nodiscard]] virtual bool keyed() const = 0;
    [[nodiscard]] virtual std::string name() const = 0;
  };

  template <class P>
  struct Held final : Base {
    using Tables = hooks::PlanOf<P>;

    explicit Held(P held) : policy{std::move(held)} {}

    std::unique_ptr<Base const> clone() const override { return std::make_unique<Held>(policy); }

    Plan plan(Candidates const& candidates, Plan const* before) const override {
      auto const* old = before == nullptr ? nullptr : &tables_at(before->tables_.get());
      Plan plan;
      plan.pick_ = &Held::pick;
      if constexpr (hooks::has_admit<P>) plan.admit_ = &Held::admit;
      plan.tables_ = std::make_shared<Tables>(hooks::plan(policy, candidates, old));
      return plan;
    }
    static std::size_t pick(Base const& base, void const* tables, Candidates const& candidates,
                            Context& context) {
      return hooks::pick(static_cast<Held const&>(base).policy, tables_at(tables), candidates,
                         context);
    }
    static bool admit(Base const& base, void const* tables, Candidates const& candidates,
                      std::size_t i, std::uint32_t in_flight, Context& context) {
      return hooks::admit(static_cast<Held const&>(base).policy, tables_at(tables), candidates, i,
                          in_flight, context);
    }
    static Tables const& tables_at(void const* tables) noexcept {
      return *static_cast<Tables const*>(tables);
    }

    void on_finish(Finish& finish) const override { hooks::on_finish(policy, finish); }
    bool hears_finish() const override { return hooks::hears_finish(policy); }
    void on_tick(Time now) const override { hooks::on_tick(policy, now); }
    Decision decide(Attempt const& attempt) const override {
      return hooks::decide(policy, attempt);
    }
    std::shared_ptr<void> make_state() const override { return hooks::make_state(policy); }
    bool uses_time() const override { return hooks::uses_time(policy); }
    bool keyed() const override { return hooks::keyed(policy); }
    std::string name() const override { return hooks::name(policy); }

    P const policy;
  };

  std::unique_ptr<Base const> held_;
};

}  // namespace poise
