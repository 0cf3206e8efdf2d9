// SPDX-License-Identifier: MIT
#pragma once

// What a policy is, and the hooks that it may have.
//
// A policy is a value with a const `pick(candidates, context)` that returns an index below
// candidates.size(). Many threads call it at once, inside a read section: it must not block. It
// sees only backends that may be picked, at least one. The other hooks are optional:
//
//   pick([plan,] candidates, context)   the index of a backend
//   Plan, plan(candidates, before)      tables made of the backends, off the hot path, whenever the
//                                       backends change. `before` is the plan to be replaced, or
//                                       null: keep what depends on generation() alone.
//   State                               data per backend: candidates.state<State>(i)
//   admit([plan,] candidates, i, in_flight, context)
//                                       after the request was counted in at backend i: false gives
//                                       it back, and pick is asked again
//   on_finish(finish)                   how a request ended
//   on_tick(now)                        periodic work, off the hot path
//   traits                              what the policy asks for: time, keys (Traits)
//   name                                its name in messages and metrics
//
// pick() and admit() also run in rehearsals, which must change nothing: policy/rehearsal.hpp. A
// Cursor sees to it by itself; what else they write must not be written then.
//
// A policy around another one derives from Wrapper (compose/wrapper.hpp), which forwards every
// hook. Four more hooks decide on retries and carry state over set_policy(); only Retry has them:
// compose/retry.hpp.

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>

#include <poise/candidates.hpp>
#include <poise/outcome.hpp>
#include <poise/policy/hooks.hpp>
#include <poise/random.hpp>
#include <poise/request.hpp>
#include <poise/sync/lanes.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0 {

class PickTrace;
class Rehearsal;

/// Which child of each wrapper picked, so that the right child is notified of the outcome. A stack
/// of small numbers in 32 bits. A wrapper pushes after its child picked, and pops before it calls
/// the child's on_finish().
class Path {
 public:
  constexpr Path() = default;
  explicit constexpr Path(std::uint32_t bits) noexcept : steps_{bits} {}
  [[nodiscard]] constexpr std::uint32_t bits() const noexcept { return steps_; }
  void push(std::uint32_t child, unsigned bits) noexcept { steps_ = steps_ << bits | child; }
  std::uint32_t pop(unsigned bits) noexcept {
    auto const child = steps_ & ((1U << bits) - 1U);
    steps_ >>= bits;
    return child;
  }
  friend bool operator==(Path const&, Path const&) = default;

 private:
  std::uint32_t steps_ = 0;
};

/// One pick in progress, as a policy sees it.
class Context {
 public:
  Context(Request const& wanted, RandomSource& chance, sync::Lane own_lane) noexcept
      : request{wanted}, lane{own_lane}, random{chance, own_lane} {}

  Request const& request;
  sync::Lane lane;
  Rng random;
  Time now{};  ///< Set only if the policy uses time.
  Path path{};

  /// False if the request excludes this candidate, or if it already refused this request.
  ///
  /// A policy need not check: its proposal is checked anyway. A policy that scans or maps keys
  /// should, so that a second pick() for the same request returns another backend.
  [[nodiscard]] bool usable(Candidates const& candidates, std::size_t i) const noexcept {
    return unrestricted() || !restricted(candidates[i]);
  }
  /// The first usable one from `start` on, around; Candidates::none if there is none.
  [[nodiscard]] std::size_t first_usable(Candidates const& candidates,
                                         std::size_t start) const noexcept {
    for (std::size_t step = 0; step < candidates.size(); ++step)
      if (auto const i = (start + step) % candidates.size(); usable(candidates, i)) return i;
    return Candidates::none;
  }
  /// A usable one drawn at random, for a retry or after a refusal; Candidates::none if there is
  /// none.
  [[nodiscard]] std::size_t draw_usable(Candidates const& candidates) noexcept {
    for (int draw = 0; draw < 3; ++draw)
      if (auto const i = random.below(candidates.size()); usable(candidates, i)) return i;
    return first_usable(candidates, random.below(candidates.size()));
  }
  /// True in nearly all picks: the request excludes no backend, and no backend has refused it.
  [[nodiscard]] bool unrestricted() const noexcept {
    return refusals_ == 0 && !request.restricted();
  }
  [[nodiscard]] bool any_refused() const noexcept { return refusals_ != 0; }
  /// True if this pick already called the policy's pick(), and the result was not used or was none;
  /// and in a rehearsal.
  [[nodiscard]] bool asked_before() const noexcept { return asked_ || refusals_ != 0; }
  void note_asked() noexcept { asked_ = true; }
  /// What listens to how this pick is made (policy/trace.hpp); null in nearly all.
  [[nodiscard]] PickTrace* trace() const noexcept { return trace_; }
  /// What a pick that changes nothing may write to instead; null in a real pick. If there is one,
  /// there is a trace.
  [[nodiscard]] Rehearsal* rehearsal() const noexcept { return rehearsal_; }
  void listen(PickTrace& trace) noexcept { trace_ = &trace; }
  /// Makes this pick a rehearsal. It is none that wrappers count (asked_before).
  void rehearse(Rehearsal& rehearsal, PickTrace& trace) noexcept {
    rehearsal_ = &rehearsal;
    trace_ = &trace;
    asked_ = true;
  }
  /// Remembers that this backend refused; of more than 8, the last ones.
  void refuse(Backend const& backend) noexcept {
    refused_[refusals_++ % refused_.size()] = &backend;
  }
  /// A policy whose admit() refuses for now says when it would not; the earliest of them stands in
  /// the error. *Requires* a time above 0.
  void suggest_retry(Duration after) noexcept {
    if (retry_after_ == Duration::zero() || after < retry_after_) retry_after_ = after;
  }
  /// 0 if nobody suggested one.
  [[nodiscard]] Duration suggested_retry() const noexcept { return retry_after_; }

 private:
  [[nodiscard]] bool restricted(Backend const& backend) const noexcept {
    auto const known = refusals_ < refused_.size() ? refusals_ : refused_.size();
    for (std::size_t i = 0; i < known; ++i)
      if (refused_[i] == &backend) return true;
    return excludes(request, backend.serial()) || !request.allows(backend);
  }

  std::size_t refusals_ = 0;
  bool asked_ = false;
  Duration retry_after_{};
  PickTrace* trace_ = nullptr;
  Rehearsal* rehearsal_ = nullptr;
  std::array<Backend const*, 8>
      refused_;  // NOLINT: left unset on purpose, refusals_ says what counts
};

/// How a request ended, as a policy's on_finish() sees it.
struct Finish {
  Backend const& backend;
  Outcome outcome;
  std::optional<Duration> latency;
  Time now;
  /// Empty if this policy did not pick the backend. Then the policy before set_policy() picked it,
  /// or a scan found it and no wrapper's admit() pushed the child that admitted it.
  std::optional<Path> path;
  void* state_block = nullptr;
  /// When it was picked. The clock's origin if time is not used, if the request was recorded but
  /// not picked, or if the policy before set_policy() picked it.
  Time started{};

  template <class State>
  [[nodiscard]] State& state() const noexcept {
    return *static_cast<State*>(state_block);
  }
};

namespace detail {

template <class P>
concept PicksByPlan = requires(P const& policy, hooks::PlanOf<P> const& plan,
                               Candidates const& candidates, Context& context) {
  { policy.plan(candidates, &plan) } -> std::convertible_to<hooks::PlanOf<P>>;
  { policy.pick(plan, candidates, context) } -> std::same_as<std::size_t>;
};
template <class P>
concept PicksAlone = requires(P const& policy, Candidates const& candidates, Context& context) {
  { policy.pick(candidates, context) } -> std::same_as<std::size_t>;
};

/// Names that are easily written for a hook's.
template <class P>
inline constexpr bool has_unknown_policy_hook =
    requires { &P::on_pick; } || requires { &P::on_picked; } || requires { &P::on_finished; } ||
    requires { &P::on_end; } || requires { &P::on_ended; } || requires { &P::on_done; } ||
    requires { &P::on_complete; } || requires { &P::on_completed; } ||
    requires { &P::after_tick; } || requires { &P::on_decide; } || requires { &P::on_admit; };

/// Refuses hooks of a wrong signature, which would be ignored in silence. (Overloaded hooks and
/// templates can't be checked.)
template <class P>
consteval bool check_policy() {
  static_assert(hooks::detail::check_traits<P>());
  if constexpr (requires { &P::plan; })
    static_assert(hooks::has_plan<P>, "a poise policy that has plan() needs a type Plan");
  if constexpr (requires { &P::admit; })
    static_assert(hooks::has_admit<P>,
                  "a poise policy's admit: bool admit([Plan const&,] Candidates const&, "
                  "std::size_t i, std::uint32_t in_flight, Context&) const");
  if constexpr (requires { &P::on_finish; })
    static_assert(hooks::has_on_finish<P>,
                  "a poise policy's on_finish: void on_finish(Finish&) const");
  if constexpr (requires { &P::on_tick; })
    static_assert(hooks::has_on_tick<P>, "a poise policy's on_tick: void on_tick(Time) const");
  if constexpr (requires { &P::decide; })
    static_assert(hooks::has_decide<P>,
                  "a poise policy's decide: Decision decide(Attempt const&) const");
  if constexpr (requires { &P::timeouts; })
    static_assert(hooks::has_timeouts<P>,
                  "a poise policy's timeouts: CallTimeouts timeouts(Request const&) const");
  if constexpr (requires { &P::hand_over; })
    static_assert(hooks::has_hand_over<P>,
                  "a poise policy's hand_over: void hand_over(Handover&) const");
  if constexpr (requires { &P::take_over; })
    static_assert(hooks::has_take_over<P>, "a poise policy's take_over: void take_over(Handover&)");
  static_assert(
      !has_unknown_policy_hook<P>,
      "poise has no hook of this name. A policy's hooks are pick, plan, admit, on_finish, "
      "on_tick, decide, timeouts, hand_over, take_over and make_state");
  return true;
}

/// The policy of a balancer or wrapper that is given none.
template <class P>
P default_policy() {
  static_assert(std::default_initializable<P>,
                "this policy has no default, so it is the second argument: AnyPolicy needs the "
                "policy that it holds, ZoneAware and Subset need their options, also inside other "
                "wrappers: Balancer<ZoneAware<P2C>>{endpoints, ZoneAware<P2C>{{.local = \"eu\"}}}");
  return P{};
}

}  // namespace detail

/// A policy picks an index below candidates.size(), with its plan if it has one.
template <class P>
concept Policy = std::copy_constructible<P> &&
                 (hooks::has_plan<P> ? detail::PicksByPlan<P> : detail::PicksAlone<P>);

}  // namespace poise::inline v0_1_0
