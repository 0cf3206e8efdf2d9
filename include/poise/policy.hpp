// SPDX-License-Identifier: MIT
#pragma once

// What a policy is, and every hook it may have.
//
// A policy is a value with a const `pick(candidates, context)` that returns an index below
// candidates.size(). Many threads call it at once, inside a read section: it must not block, and it
// sees only backends that may be picked, at least one. That is all; the rest is optional:
//
//   Plan, plan(candidates, before)   tables derived from the backends, rebuilt off the hot path
//                                    whenever they change; pick then takes the plan first. `before`
//                                    is the plan it replaces or null: keep what depends on
//                                    generation() alone.
//   State                            per-backend data of its own: candidates.state<State>(i)
//   admit(plan, candidates, i, in_flight, context)
//                                    a last word after the claim; false: pick another
//   propose(group, request, chance, lane, now)
//                                    a pick and its claim behind one call (type-erased policies,
//                                    propose.hpp)
//   may_refuse()                     false: spares the way to admit (type-erased policies)
//   on_finish(finish)                what became of a pick
//   hears_finish()                   false: spares the way to on_finish (type-erased policies)
//   on_tick(now)                     periodic work, off the hot path
//   decide(attempt)                  whether call() tries again
//   limits(request)                  the timeouts that call() keeps to
//   leave(legacy), inherit(legacy)   set_policy: what must survive it goes from one to the next
//   uses_time                        true: context.now is set, and latencies are measured
//   keyed                            true: the same key should reach the same backend
//   name                             how messages and metrics call it
//
// A wrapper forwards every hook of what it wraps, through the functions in poise::hooks.

#include <any>
#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/candidates.hpp>
#include <poise/outcome.hpp>
#include <poise/random.hpp>
#include <poise/request.hpp>
#include <poise/sync/lanes.hpp>
#include <poise/time.hpp>

namespace poise {

/// Which child of each wrapper picked, so that the right one hears how it ended. A stack of small
/// numbers in 32 bits; a wrapper pushes after its child picked and pops before its child hears.
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
  Context(Request const& wanted, Chance& chance, sync::Lane own_lane) noexcept
      : request{wanted}, lane{own_lane}, random{chance, own_lane} {}

  Request const& request;
  sync::Lane lane;
  Rng random;
  Time now{};  ///< Set only if the policy uses time.
  Path path{};

  /// False if the request excludes this candidate, or it refused this very request a moment ago.
  ///
  /// A policy need not ask: what it proposes is checked. One that scans or maps keys should, so
  /// that asking it again gives another answer.
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
  /// True in all but a few picks: nothing is excluded, and nobody has refused yet.
  [[nodiscard]] bool unrestricted() const noexcept {
    return refusals_ == 0 && request.excluded.empty();
  }
  [[nodiscard]] bool anybody_refused() const noexcept { return refusals_ != 0; }
  /// Remembers that this backend refused; of more than 8, the last ones.
  void refuse(Backend const& backend) noexcept {
    refused_[refusals_++ % refused_.size()] = &backend;
  }

 private:
  [[nodiscard]] bool restricted(Backend const& backend) const noexcept {
    auto const known = refusals_ < refused_.size() ? refusals_ : refused_.size();
    for (std::size_t i = 0; i < known; ++i)
      if (refused_[i] == &backend) return true;
    return excludes(request, backend.serial());
  }

  std::size_t refusals_ = 0;
  std::array<Backend const*, 8>
      refused_;  // NOLINT: left unset on purpose, refusals_ says what counts
};

/// How a pick ended, as a policy hears it.
struct Finish {
  Backend const& backend;
  Outcome outcome;
  std::optional<Duration> latency;
  Time now;
  /// Empty if this policy did not pick it: a scan did (and no wrapper's admit() pushed which of its
  /// children let it in), or its predecessor.
  std::optional<Path> path;
  void* state_block = nullptr;
  /// When it was picked; the clock's origin if nobody uses time, or if this policy never heard of
  /// it (it was recorded, or its predecessor picked it).
  Time started{};

  template <class State>
  [[nodiscard]] State& state() const noexcept {
    return *static_cast<State*>(state_block);
  }
};

/// One try of a request: how it ended, or that it still runs.
struct Attempt {
  Request const& request;  ///< request.attempt is the number of this try, from 1.
  Outcome outcome;
  Time now;
  std::uint64_t random;  ///< Uniform: for a decision that is pure and yet left to chance.
  bool running = false;  ///< It has no outcome yet: may another be started beside it?
  bool alone = false;    ///< No other backend is left to try: the next try repeats one.
};

/// Why a call makes no further attempt.
enum class Stop : std::uint8_t {
  settled,    ///< It succeeded, or failed in a way that no retry mends.
  attempts,   ///< As many as are allowed were made.
  budget,     ///< Too many requests are being retried.
  deadline,   ///< The next would come too late.
  sent,       ///< The request is not idempotent, and the backend may have seen it.
  pushback,   ///< The backend asked not to be asked again, or not that soon.
  nobody,     ///< There is no backend to try.
  cancelled,  ///< The caller gave up.
};

/// Try again after a while, or stop.
struct Decision {
  bool retry = false;
  Duration after{};
  Stop why = Stop::settled;  ///< If it is not to be tried again.
};

/// What a call keeps to, asked before its first attempt; 0 is without limit.
struct CallLimits {
  Duration timeout{};      ///< Of the whole call, waits included.
  Duration try_timeout{};  ///< Of each attempt.
  Duration hedge_after{};  ///< A second attempt is started beside the first; 0: never.

  friend bool operator==(CallLimits const&, CallLimits const&) = default;
};

/// What a policy leaves to the one that set_policy() puts in its place, whatever type that is: each
/// takes the first thing of the type it looks for.
class Legacy {
 public:
  template <class T>
  void leave(T thing) {
    things_.emplace_back(std::move(thing));
  }
  /// Empty if there is none, or none any more.
  template <class T>
  [[nodiscard]] std::optional<T> take() {
    for (auto& each : things_)
      if (auto const* found = std::any_cast<T>(&each); found != nullptr) {
        std::optional<T> thing{*found};
        each.reset();
        return thing;
      }
    return std::nullopt;
  }

 private:
  std::vector<std::any> things_{};
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
// Declared counts, so that a wrapper may say `using Plan = PlanOf<Inner>` whatever it wraps.
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

// These two only dispatch, and must not be what moves a context into memory.
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

/// Does only the running program know whether the policy has a last word?
template <class P>
inline constexpr bool asks_may_refuse = requires(P const& policy) {
  { policy.may_refuse() } -> std::same_as<bool>;
};
template <class P>
[[nodiscard]] bool may_refuse(P const& policy) {
  if constexpr (asks_may_refuse<P>) return policy.may_refuse();
  else return has_admit<P>;
}

/// May candidate `i`, which had `in_flight` requests before this claim, take this one?
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

/// Does the policy want to hear how picks end? A constant for all but type-erased ones.
template <class P>
[[nodiscard]] bool hears_finish(P const& policy) {
  if constexpr (requires {
                  { policy.hears_finish() } -> std::same_as<bool>;
                })
    return policy.hears_finish();
  else return has_on_finish<P>;
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
inline constexpr bool has_limits = requires(P const& policy, Request const& request) {
  { policy.limits(request) } -> std::same_as<CallLimits>;
};
template <class P>
[[nodiscard]] CallLimits limits(P const& policy, Request const& request) {
  if constexpr (has_limits<P>) return policy.limits(request);
  else return {};
}

template <class P>
inline constexpr bool has_leave =
    requires(P const& policy, Legacy& legacy) { policy.leave(legacy); };
template <class P>
inline constexpr bool has_inherit = requires(P& policy, Legacy& legacy) { policy.inherit(legacy); };
template <class P>
void leave(P const& policy, Legacy& legacy) {
  if constexpr (has_leave<P>) policy.leave(legacy);
}
template <class P>
void inherit(P& policy, Legacy& legacy) {
  if constexpr (has_inherit<P>) policy.inherit(legacy);
}
/// Gives a policy what its predecessor leaves.
template <class P>
void inherit(P& policy, P const& before) {
  Legacy legacy;
  leave(before, legacy);
  inherit(policy, legacy);
}

/// Does the policy say for itself what state it keeps, if any?
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

/// Never, always, or (for policies chosen at run time) to be asked.
enum class UsesTime : std::uint8_t { never, always, ask };

template <class P>
inline constexpr UsesTime time_use = [] {
  if constexpr (requires {
                  { P::uses_time } -> std::convertible_to<bool>;
                })
    return P::uses_time ? UsesTime::always : UsesTime::never;
  else if constexpr (requires(P const& policy) {
                       { policy.uses_time() } -> std::same_as<bool>;
                     })
    return UsesTime::ask;
  else return UsesTime::never;
}();

template <class P>
[[nodiscard]] bool uses_time(P const& policy) {
  if constexpr (time_use<P> == UsesTime::ask) return policy.uses_time();
  else return time_use<P> == UsesTime::always;
}

template <class P>
[[nodiscard]] bool keyed(P const& policy) {
  if constexpr (requires {
                  { P::keyed } -> std::convertible_to<bool>;
                })
    return P::keyed;
  else if constexpr (requires {
                       { policy.keyed() } -> std::same_as<bool>;
                     })
    return policy.keyed();
  else return false;
}

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

}  // namespace detail

namespace detail {

/// Refuses hooks that can't be called as poise calls them: they would be ignored in silence.
/// (Overloaded ones and templates can't be asked.)
template <class P>
consteval bool check_policy() {
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
  if constexpr (requires { &P::limits; })
    static_assert(hooks::has_limits<P>,
                  "a poise policy's limits: CallLimits limits(Request const&) const");
  if constexpr (requires { &P::leave; })
    static_assert(hooks::has_leave<P>, "a poise policy's leave: void leave(Legacy&) const");
  if constexpr (requires { &P::inherit; })
    static_assert(hooks::has_inherit<P>, "a poise policy's inherit: void inherit(Legacy&)");
  return true;
}

}  // namespace detail

/// A policy picks an index below candidates.size(), with its plan if it has one.
template <class P>
concept Policy = std::copy_constructible<P> &&
                 (hooks::has_plan<P> ? detail::PicksByPlan<P> : detail::PicksAlone<P>);

}  // namespace poise
