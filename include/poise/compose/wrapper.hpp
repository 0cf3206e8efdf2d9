// SPDX-License-Identifier: MIT
#pragma once

// Base classes of policies made of policies: they forward every hook that a wrapper does not
// replace.
//
//   Composite<P...>  holds the policies; joins their traits; forwards state and ticks
//   Several<P...>    several policies: on_finish goes to the one that picked
//   Around<P>        one policy: on_finish, decide and timeouts go to it
//   Wrapper<P>       forwards picks too: the public base of a wrapper of your own
//
// State: a wrapper of one policy uses the state block that this policy makes per backend. A wrapper
// of several makes a block of pointers, one per child. Each child that has state sees a roster of
// its own, made in plan(), with its own blocks. So a child may declare State by type or make it at
// run time, and a pick follows no extra pointer.
//
// Path: a wrapper of several pushes the number of the child that picked, counted from 1. admit()
// pushes it again, so that on_finish reaches the child that admitted a backend found by a scan.
// Types that nest too deep for the path do not compile. Type-erased policies can hide their depth:
// if the path is too short the innermost wrappers do not know which child picked, and call
// on_finish on none.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <poise/candidates.hpp>
#include <poise/policy.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::detail {

/// A policy that a wrapper holds; numbered, because a type may occur twice.
template <std::size_t Number, class P>
struct Child {
  P policy;
};

template <class Numbers, class... P>
class Children;

template <std::size_t... Number, class... P>
class Children<std::index_sequence<Number...>, P...> : Child<Number, P>... {
 public:
  explicit Children(P... policies) : Child<Number, P>{std::move(policies)}... {}

  template <std::size_t Wanted>
  [[nodiscard]] auto const& child() const noexcept {
    return at<Wanted>(*this);
  }

 protected:
  template <class Visit>
  void each_child(Visit const& visit) const {
    (visit(child<Number>(), Number), ...);
  }
  template <class Visit>
  void each_own_child(Visit const& visit) {
    (visit(Child<Number, P>::policy), ...);
  }

 private:
  template <std::size_t Wanted, class Q>
  static Q const& at(Child<Wanted, Q> const& child) noexcept {
    return child.policy;
  }
};

template <class... P>
using ChildrenOf = Children<std::index_sequence_for<P...>, P...>;

template <class... P>
inline constexpr hooks::UsesTime joint_time_use = [] {
  if (((hooks::time_use<P> == hooks::UsesTime::always) || ...)) return hooks::UsesTime::always;
  if (((hooks::time_use<P> == hooks::UsesTime::ask) || ...)) return hooks::UsesTime::ask;
  return hooks::UsesTime::never;
}();

/// The number of path bits that a policy may use.
template <class P>
inline constexpr unsigned path_bits = [] {
  if constexpr (requires { P::path_bits; }) return P::path_bits;
  else return 0U;
}();

/// A number on the path, from 1 to 2^Bits - 1.
template <unsigned Bits>
struct Step {
  static constexpr std::uint32_t max = (1U << Bits) - 1U;

  static void push(Path& path, std::size_t child) noexcept {
    if (path.bits() >> (32U - Bits) != 0) [[unlikely]]
      path = {};  // no room: deeper steps are dropped
    path.push(static_cast<std::uint32_t>(child) + 1, Bits);
  }
  /// The child that was pushed, if any.
  static std::optional<std::size_t> pop(Path& path) noexcept {
    auto const number = path.pop(Bits);
    if (number == 0) return std::nullopt;
    return number - 1;
  }
};

/// The state per backend of a wrapper of N policies.
template <std::size_t N>
using Blocks = std::array<std::shared_ptr<void>, N>;

/// The policies of a wrapper, and the hooks that it always forwards.
template <class... P>
class Composite : public ChildrenOf<P...> {
  using Base = ChildrenOf<P...>;
  using Blocks = detail::Blocks<sizeof...(P)>;

 public:
  static constexpr unsigned path_bits = std::max({detail::path_bits<P>...});
  using Base::Base;

  [[nodiscard]] hooks::TraitsOfType<joint_time_use<P...>, false> traits() const {
    return {joint_traits()};
  }
  void on_tick(Time now) const
    requires(hooks::has_on_tick<P> || ...)
  {
    this->each_child([&](auto const& child, std::size_t) { hooks::on_tick(child, now); });
  }
  void hand_over(Handover& handover) const {
    this->each_child([&](auto const& child, std::size_t) { hooks::hand_over(child, handover); });
  }
  void take_over(Handover& handover) {
    this->each_own_child([&](auto& child) { hooks::take_over(child, handover); });
  }
  [[nodiscard]] std::shared_ptr<void> make_state() const {
    if constexpr (sizeof...(P) == 1) {
      return hooks::make_state(this->template child<0>());
    } else {
      Blocks blocks;
      bool has_state = false;
      this->each_child([&](auto const& child, std::size_t number) {
        blocks[number] = hooks::make_state(child);
        has_state = has_state || blocks[number];
      });
      return has_state ? std::make_shared<Blocks>(std::move(blocks)) : nullptr;
    }
  }

 protected:
  /// The same candidates with one child's states; empty if that child has no state.
  [[nodiscard]] static std::optional<Roster> own_roster(Candidates const& candidates,
                                                        std::size_t number) {
    if (candidates.roster().states.empty()) return std::nullopt;
    auto const block = [&](std::size_t entry) {
      return candidates.state<Blocks>(entry)[number].get();
    };
    if (block(0) == nullptr) return std::nullopt;
    std::optional<Roster> own{candidates.roster()};
    for (std::size_t entry = 0; entry < own->states.size(); ++entry)
      own->states[entry] = block(entry);
    return own;
  }
  [[nodiscard]] Traits joint_traits() const {
    Traits traits{.wants_finish = false, .may_refuse = false};
    this->each_child(
        [&](auto const& child, std::size_t) { traits = traits | hooks::traits(child); });
    return traits;
  }
};

/// Several policies of which each pick asks one. on_finish goes to that one, with its own state.
template <class... P>
class Several : public Composite<P...> {
  using Blocks = detail::Blocks<sizeof...(P)>;

 protected:
  using Step = detail::Step<2>;

 public:
  static constexpr unsigned path_bits = Composite<P...>::path_bits + 2;
  static_assert(path_bits <= 32,
                "poise wrappers are nested too deep: their paths need more than 32 bits");
  static_assert(sizeof...(P) <= Step::max);
  using Composite<P...>::Composite;

  [[nodiscard]] hooks::TraitsOfType<joint_time_use<P...>, (hooks::asks_may_refuse<P> || ...)>
  traits() const {
    return {this->joint_traits()};
  }
  void on_finish(Finish& finish) const
    requires(hooks::has_on_finish<P> || ...)
  {
    if (!finish.path) return;  // no child picked it
    auto inner = finish;
    auto const number = Step::pop(*inner.path);
    if (!number) return;
    if (finish.state_block != nullptr) inner.state_block = finish.state<Blocks>()[*number].get();
    this->each_child([&](auto const& child, std::size_t each) {
      if (each == *number) hooks::on_finish(child, inner);
    });
  }
};

/// One policy in a wrapper; it gets on_finish and decides on retries and timeouts.
template <class P>
class Around : public Composite<P> {
 public:
  using Composite<P>::Composite;

  [[nodiscard]] P const& inner() const noexcept { return this->template child<0>(); }
  void on_finish(Finish& finish) const
    requires(hooks::has_on_finish<P>)
  {
    hooks::on_finish(inner(), finish);
  }
  [[nodiscard]] Decision decide(Attempt const& attempt) const
    requires(hooks::has_decide<P>)
  {
    return hooks::decide(inner(), attempt);
  }
  [[nodiscard]] CallTimeouts timeouts(Request const& request) const
    requires(hooks::has_timeouts<P>)
  {
    return hooks::timeouts(inner(), request);
  }
};

}  // namespace poise::inline v0_1_0::detail

namespace poise::inline v0_1_0 {

/// A wrapper that forwards every hook to the inner policy. Derive from it and replace hooks; call
/// the inner policy through poise::hooks.
///
///   template <class P>
///   struct Logged : poise::Wrapper<P> {
///     using poise::Wrapper<P>::Wrapper;
///     void on_finish(poise::Finish& finish) const {
///       log(finish.backend.id());
///       poise::hooks::on_finish(this->inner(), finish);
///     }
///   };
///
/// A wrapper that needs on_finish or the time says so in its traits:
///
///     poise::Traits traits() const {
///       auto traits = poise::hooks::traits(this->inner());
///       traits.wants_finish = true;
///       return traits;
///     }
template <class P>
class Wrapper : public detail::Around<P> {
 public:
  using Plan = hooks::PlanOf<P>;
  using detail::Around<P>::Around;

  [[nodiscard]] Plan plan(Candidates const& candidates, Plan const* before) const {
    return hooks::plan(this->inner(), candidates, before);
  }
  [[gnu::always_inline]] std::size_t pick(Plan const& plan, Candidates const& candidates,
                                          Context& context) const {
    return hooks::pick(this->inner(), plan, candidates, context);
  }
  [[nodiscard]] bool admit(Plan const& plan, Candidates const& candidates, std::size_t i,
                           std::uint32_t in_flight, Context& context) const
    requires(hooks::has_admit<P>)
  {
    return hooks::admit(this->inner(), plan, candidates, i, in_flight, context);
  }
  [[nodiscard]] hooks::TraitsOfType<hooks::time_use<P>, hooks::asks_may_refuse<P>> traits() const {
    return {this->joint_traits()};
  }
  [[nodiscard]] std::vector<double> shares(Plan const& plan, Candidates const& candidates) const
    requires(hooks::has_shares<P>)
  {
    return hooks::shares(this->inner(), plan, candidates);
  }
};

}  // namespace poise::inline v0_1_0
