// SPDX-License-Identifier: MIT
#pragma once

// How poise calls a policy's hooks. For each hook: a constant that says whether a type has it, and
// a function that calls it or returns the default. Wrappers forward through these functions.

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <poise/call.hpp>
#include <poise/candidates.hpp>
#include <poise/policy/handover.hpp>
#include <poise/request.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0 {

class Context;
struct Finish;

/// What a policy needs from its balancer.
///
///   static constexpr poise::Traits traits{.uses_time = true};   // the same for all values
///   [[nodiscard]] poise::Traits traits() const;                 // depends on the value
struct Traits {
  bool uses_time = false;    ///< Context::now is set, and latencies are measured.
  bool keyed = false;        ///< The same key should reach the same backend.
  bool wants_finish = true;  ///< False: on_finish() has nothing to do and is not called.
  bool may_refuse = true;    ///< False: admit() admits every request.

  /// The needs of two policies in one wrapper together.
  [[nodiscard]] friend constexpr Traits operator|(Traits a, Traits b) noexcept {
    return {a.uses_time || b.uses_time, a.keyed || b.keyed, a.wants_finish || b.wants_finish,
            a.may_refuse || b.may_refuse};
  }
  friend constexpr bool operator==(Traits, Traits) = default;
};

namespace hooks {

struct NoPlan {};
struct NoState {};

namespace detail {
template <class P>
struct PlanOf {
  using type = NoPlan;
};
template <class P>
  requires requires { typename P::Plan; }
struct PlanOf<P> {
  using type = typename P::Plan;
};
template <class P>
struct StateOf {
  using type = NoState;
};
template <class P>
  requires requires { typename P::State; }
struct StateOf<P> {
  using type = typename P::State;
};
}  // namespace detail

template <class P>
using PlanOf = typename detail::PlanOf<P>::type;
template <class P>
using StateOf = typename detail::StateOf<P>::type;
// A declared Plan counts, even NoPlan, so that any wrapper may say `using Plan = PlanOf<Inner>`.
template <class P>
inline constexpr bool has_plan = requires { typename P::Plan; };
template <class P>
inline constexpr bool has_state = !std::same_as<StateOf<P>, NoState>;
template <class P>
inline constexpr bool has_on_finish =
    requires(P const& policy, Finish& finish) { policy.on_finish(finish); };
template <class P>
inline constexpr bool has_decide = requires(P const& policy, Attempt const& attempt) {
  { policy.decide(attempt) } -> std::same_as<Decision>;
};
template <class P>
inline constexpr bool has_on_tick = requires(P const& policy, Time now) { policy.on_tick(now); };

template <class P>
[[nodiscard]] PlanOf<P> plan(P const& policy, Candidates const& candidates,
                             PlanOf<P> const* before) {
  if constexpr (has_plan<P>) return policy.plan(candidates, before);
  else return {};
}

// pick() and admit() only dispatch. They are always inlined, so that a context can stay in
// registers.
template <class P>
[[nodiscard, gnu::always_inline]] inline std::size_t pick(P const& policy, PlanOf<P> const& plan,
                                                          Candidates const& candidates,
                                                          Context& context) {
  if constexpr (has_plan<P>) return policy.pick(plan, candidates, context);
  else return policy.pick(candidates, context);
}

template <class P>
inline constexpr bool admits_by_plan = requires(P const& policy, PlanOf<P> const& plan,
                                                Candidates const& candidates, Context& context) {
  { policy.admit(plan, candidates, 0U, 0U, context) } -> std::same_as<bool>;
};
template <class P>
inline constexpr bool has_admit =
    admits_by_plan<P> || requires(P const& policy, Candidates const& candidates, Context& context) {
      { policy.admit(candidates, 0U, 0U, context) } -> std::same_as<bool>;
    };

/// False, true, or known only by the value: for policies chosen at run time.
enum class UsesTime : std::uint8_t { never, always, ask };

/// The result of a wrapper's traits(): its type keeps what is known at compile time.
template <UsesTime Time, bool AsksMayRefuse>
struct TraitsOfType : Traits {
  static constexpr auto time_use = Time;
  static constexpr auto asks_may_refuse = AsksMayRefuse;
};

namespace detail {

template <class P>
consteval bool check_traits() {
  constexpr bool is_old = requires { &P::uses_time; } || requires { &P::keyed; } ||
                          requires { &P::wants_finish; } || requires { &P::may_refuse; };
  static_assert(!is_old,
                "a poise policy's uses_time and keyed stand in its traits: "
                "static constexpr poise::Traits traits{.uses_time = true, .keyed = true}");
  return true;
}

template <class P>
inline constexpr bool has_static_traits = requires {
  { P::traits } -> std::convertible_to<Traits>;
};
template <class P>
inline constexpr bool has_traits_function = requires(P const& policy) {
  { policy.traits() } -> std::convertible_to<Traits>;
};

}  // namespace detail

template <class P>
inline constexpr UsesTime time_use = [] {
  static_assert(detail::check_traits<P>());
  if constexpr (detail::has_static_traits<P>)
    return P::traits.uses_time ? UsesTime::always : UsesTime::never;
  else if constexpr (requires(P const& policy) { policy.traits().time_use; })
    return decltype(std::declval<P const&>().traits())::time_use;
  else return detail::has_traits_function<P> ? UsesTime::ask : UsesTime::never;
}();

/// True if only the value says whether admit() may refuse a request.
template <class P>
inline constexpr bool asks_may_refuse = [] {
  if constexpr (requires(P const& policy) { policy.traits().asks_may_refuse; })
    return decltype(std::declval<P const&>().traits())::asks_may_refuse;
  else return has_admit<P> && detail::has_traits_function<P>;
}();

/// The policy's traits; a trait of a hook that the policy does not have is off.
template <class P>
[[nodiscard]] Traits traits(P const& policy) {
  static_assert(detail::check_traits<P>());
  auto traits = [&]() -> Traits {
    if constexpr (detail::has_static_traits<P>) return P::traits;
    else if constexpr (detail::has_traits_function<P>) return policy.traits();
    else return {};
  }();
  if constexpr (time_use<P> != UsesTime::ask) traits.uses_time = time_use<P> == UsesTime::always;
  if constexpr (!has_on_finish<P>) traits.wants_finish = false;
  if constexpr (!detail::has_static_traits<P> && !asks_may_refuse<P>) traits.may_refuse = true;
  if constexpr (!has_admit<P>) traits.may_refuse = false;
  return traits;
}

/// True if candidate `i` may take this request. It had `in_flight` requests before this claim.
template <class P>
[[nodiscard, gnu::always_inline]] inline bool admit(P const& policy, PlanOf<P> const& plan,
                                                    Candidates const& candidates, std::size_t i,
                                                    std::uint32_t in_flight, Context& context) {
  if constexpr (admits_by_plan<P>) return policy.admit(plan, candidates, i, in_flight, context);
  else if constexpr (has_admit<P>) return policy.admit(candidates, i, in_flight, context);
  else return true;
}

template <class P>
[[gnu::always_inline]] inline void on_finish(P const& policy, Finish& finish) {
  if constexpr (has_on_finish<P>) policy.on_finish(finish);
}

template <class P>
void on_tick(P const& policy, Time now) {
  if constexpr (has_on_tick<P>) policy.on_tick(now);
}

template <class P>
[[nodiscard]] Decision decide(P const& policy, Attempt const& attempt) {
  if constexpr (has_decide<P>) return policy.decide(attempt);
  else return {};
}

template <class P>
inline constexpr bool has_shares =
    requires(P const& policy, PlanOf<P> const& plan, Candidates const& candidates) {
      { policy.shares(plan, candidates) } -> std::same_as<std::vector<double>>;
    };
/// The fraction of all keys that each member gets now, by position; empty if there are no keys.
template <class P>
[[nodiscard]] std::vector<double> shares(P const& policy, PlanOf<P> const& plan,
                                         Candidates const& candidates) {
  if constexpr (has_shares<P>) return policy.shares(plan, candidates);
  else return {};
}

template <class P>
inline constexpr bool has_timeouts = requires(P const& policy, Request const& request) {
  { policy.timeouts(request) } -> std::same_as<CallTimeouts>;
};
template <class P>
[[nodiscard]] CallTimeouts timeouts(P const& policy, Request const& request) {
  if constexpr (has_timeouts<P>) return policy.timeouts(request);
  else return {};
}

template <class P>
inline constexpr bool has_hand_over =
    requires(P const& policy, Handover& handover) { policy.hand_over(handover); };
template <class P>
inline constexpr bool has_take_over =
    requires(P& policy, Handover& handover) { policy.take_over(handover); };
template <class P>
void hand_over(P const& policy, Handover& handover) {
  if constexpr (has_hand_over<P>) policy.hand_over(handover);
}
template <class P>
void take_over(P& policy, Handover& handover) {
  if constexpr (has_take_over<P>) policy.take_over(handover);
}
/// Hands the values of the old policy over to the new one.
template <class P>
void take_over(P& policy, P const& before) {
  Handover handover;
  hand_over(before, handover);
  take_over(policy, handover);
}

/// True if the policy decides at run time which state it keeps, if any.
template <class P>
inline constexpr bool makes_state = requires(P const& policy) {
  { policy.make_state() } -> std::same_as<std::shared_ptr<void>>;
};
template <class P>
inline constexpr bool may_have_state = has_state<P> || makes_state<P>;

/// A fresh state of the policy for one backend; null if it has none.
template <class P>
[[nodiscard]] std::shared_ptr<void> make_state(P const& policy) {
  if constexpr (makes_state<P>) return policy.make_state();
  else if constexpr (has_state<P>) return std::make_shared<StateOf<P>>();
  else return nullptr;
}

/// True if a load or an observer, which have no Traits, asks for time.
template <class T>
inline constexpr bool declares_time = [] {
  if constexpr (requires { bool{T::uses_time}; }) return bool{T::uses_time};
  else return false;
}();

template <class P>
[[nodiscard]] std::string name(P const& policy) {
  if constexpr (requires { std::string{P::name}; }) return std::string{P::name};
  else if constexpr (requires {
                       { policy.name() } -> std::convertible_to<std::string>;
                     })
    return policy.name();
  else return "custom";
}

}  // namespace hooks

}  // namespace poise::inline v0_1_0
