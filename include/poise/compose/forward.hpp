// SPDX-License-Identifier: MIT
#pragma once

// How a wrapper forwards what it does not decide itself: bases for policies made of policies.
//
//   Wrapper<P...>    holds the policies; time, keys, state per backend, ticks
//   Several<P...>    more than one: ends go to the one that picked
//   Around<P>        one policy: ends and retries go to it
//   Through<P>       picks as well: for a wrapper that only adds a hook or replaces one
//
// State: a wrapper of one policy gives each backend the block that this policy makes. A wrapper of
// several gives it a block of pointers, one to each child's; each child that has state sees a
// roster of its own, made in plan(), whose states are its blocks. So it does not matter whether a
// child says its State by type or makes it at run time, and a pick follows no extra pointer.
//
// Path: a wrapper of several pushes the number of the child that picked, counted from 1. admit()
// pushes it again, so that a backend that a scan found is known to the child that let it in. Types
// that nest too deep for the path do not compile. Type-erased ones can hide their depth: if it is
// too much the innermost wrappers do not know who picked, and none of their children hears.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include <poise/candidates.hpp>
#include <poise/policy.hpp>
#include <poise/time.hpp>

namespace poise::detail {

/// One of the policies that a wrapper holds; numbered, since the same type may come twice.
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
  template <class Ask>
  [[nodiscard]] bool any_child(Ask const& ask) const {
    return (ask(child<Number>()) || ...);
  }
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

/// The children, and whether they use time: a constant where their types say so.
template <hooks::UsesTime Use, class... P>
struct Timed : ChildrenOf<P...> {
  using ChildrenOf<P...>::ChildrenOf;
  static constexpr bool uses_time = Use == hooks::UsesTime::always;
};
template <class... P>
struct Timed<hooks::UsesTime::ask, P...> : ChildrenOf<P...> {
  using ChildrenOf<P...>::ChildrenOf;
  [[nodiscard]] bool uses_time() const {
    return this->any_child([](auto const& child) { return hooks::uses_time(child); });
  }
};

/// Bits of the path that a policy may fill.
template <class P>
inline constexpr unsigned path_bits = [] {
  if constexpr (requires { P::path_bits; }) return P::path_bits;
  else return 0U;
}();

/// One number on the path, from 1 to 2^Bits - 1.
template <unsigned Bits>
struct Step {
  static constexpr std::uint32_t most = (1U << Bits) - 1U;

  static void push(Path& path, std::size_t child) noexcept {
    if (path.bits() >> (32U - Bits) != 0) [[unlikely]]
      path = {};  // it does not fit: what lies deeper is forgotten
    path.push(static_cast<std::uint32_t>(child) + 1, Bits);
  }
  /// The child that was pushed; nothing if none was.
  static std::optional<std::size_t> pop(Path& path) noexcept {
    auto const number = path.pop(Bits);
    if (number == 0) return std::nullopt;
    return number - 1;
  }
};

/// What a wrapper of N policies keeps per backend.
template <std::size_t N>
using Blocks = std::array<std::shared_ptr<void>, N>;

/// Policies in a wrapper, with those hooks that are no decision of its own.
template <class... P>
class Wrapper : public Timed<joint_time_use<P...>, P...> {
  using Base = Timed<joint_time_use<P...>, P...>;

 public:
  static constexpr unsigned path_bits = std::max({detail::path_bits<P>...});
  using Base::Base;

  [[nodiscard]] bool keyed() const {
    return this->any_child([](auto const& child) { return hooks::keyed(child); });
  }
  [[nodiscard]] bool hears_finish() const
    requires(hooks::has_on_finish<P> || ...)
  {
    return this->any_child([](auto const& child) { return hooks::hears_finish(child); });
  }
  void on_tick(Time now) const
    requires(hooks::has_on_tick<P> || ...)
  {
    this->each_child([&](auto const& child, std::size_t) { hooks::on_tick(child, now); });
  }
  void leave(Legacy& legacy) const {
    this->each_child([&](auto const& child, std::size_t) { hooks::leave(child, legacy); });
  }
  void inherit(Legacy& legacy) {
    this->each_own_child([&](auto& child) { hooks::inherit(child, legacy); });
  }
  [[nodiscard]] std::shared_ptr<void> make_state() const {
    if constexpr (sizeof...(P) == 1) {
      return hooks::make_state(this->template child<0>());
    } else {
      Blocks<sizeof...(P)> blocks;
      bool has_state = false;
      this->each_child([&](auto const& child, std::size_t number) {
        blocks[number] = hooks::make_state(child);
        has_state = has_state || blocks[number];
      });
      return has_state ? std::make_shared<decltype(blocks)>(std::move(blocks)) : nullptr;
    }
  }
};

/// Several policies in a wrapper, of which each pick asks one: it hears the end, with its own
/// state.
template <class... P>
class Several : public Wrapper<P...> {
  using Blocks = detail::Blocks<sizeof...(P)>;

 protected:
  using Step = detail::Step<2>;

 public:
  static constexpr unsigned path_bits = Wrapper<P...>::path_bits + 2;
  static_assert(path_bits <= 32,
                "poise wrappers are nested too deep: their paths need more than 32 bits");
  static_assert(sizeof...(P) <= Step::most);
  using Wrapper<P...>::Wrapper;

  [[nodiscard]] bool may_refuse() const
    requires(hooks::asks_may_refuse<P> || ...)
  {
    return this->any_child([](auto const& child) { return hooks::may_refuse(child); });
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

 protected:
  /// The same candidates with one child's states; nothing if that child has none.
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
};

/// One policy in a wrapper, which hears how picks end and decides on retries and timeouts.
template <class P>
class Around : public Wrapper<P> {
 public:
  using Wrapper<P>::Wrapper;

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
  [[nodiscard]] CallLimits limits(Request const& request) const
    requires(hooks::has_limits<P>)
  {
    return hooks::limits(inner(), request);
  }
};

/// One policy in a wrapper that leaves picking to it.
template <class P>
class Through : public Around<P> {
 public:
  using Plan = hooks::PlanOf<P>;
  using Around<P>::Around;

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
  [[nodiscard]] bool may_refuse() const
    requires(hooks::asks_may_refuse<P>)
  {
    return hooks::may_refuse(this->inner());
  }
};

}  // namespace poise::detail
