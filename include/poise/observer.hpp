// SPDX-License-Identifier: MIT
#pragma once

// An observer: a value whose hooks a balancer calls when something happens. Observers are listed in
// the runtime's type (runtime.hpp); a hook that is missing costs nothing. Hooks run outside read
// sections and locks, so they may use the balancer. What they throw is swallowed and counted
// (Stats::observer_failures).
//
//   on_pick(Picked)                    a backend was picked
//   on_refused(Refused)                no backend could be picked
//   on_sampled_pick(SampledPick)       how a pick was made, if wants_pick() said true before it;
//                                      one observer may have these two
//   on_finish(Finished)                a request was completed
//   on_load_report(Reported, State&)   a backend said how loaded it is; runs where that was told
//   on_event(Event)                    a backend was added, removed, changed or emptied, or all
//                                      backends reached their limits
//   on_call(Called)                    a call failed, or needed more than one attempt
//   after_tick()                       the rules were called: report what they found here
//   after_tick(tell)                   the same; tell(transition) calls every on_transition
//   on_transition(health::Transition)  a health monitor of this runtime moved a backend, and why
//   warning(Backend, State, Time now)  asked by stats() of each backend: a sentence for
//                                      Stats::warnings, or an empty string
//
// A rule is an observer that also decides. These two run under the balancer's lock, and must not
// call the balancer:
//
//   on_tick(Time, span<BackendView>)   periodic: may change found health and admission; may return
//                                      true to have arrange called although nothing else changed
//   arrange(span<BackendView>)         at each publication: may change weight, health and admission
//                                      as picks see them, but not what the operator declared
//
// Admission starts each tick from what the operator set. Each rule sees the result of the rules
// before it. A rule that only lowers limits never undoes the limit of another rule.
//
//   decides_health = true    it judges every backend by itself: a backend that replaces another of
//                       the same id starts as found healthy
//   State               per-backend data of the observer's own, for on_pick(Picked, State&),
//                       on_finish(Finished, State&) and warning()
//   uses_time = true    latencies are measured for it
//
// A ClassifyBy<f, ...> (classify.hpp) stands in the same list: how calls classify their replies.

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>

#include <poise/backend.hpp>
#include <poise/call.hpp>
#include <poise/classify.hpp>
#include <poise/error.hpp>
#include <poise/load_report.hpp>
#include <poise/outcome.hpp>
#include <poise/policy/hooks.hpp>
#include <poise/policy/sampled_pick.hpp>
#include <poise/request.hpp>
#include <poise/sync/in_flight.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0 {

/// A backend was picked.
struct Picked {
  Request const& request;
  Backend const& backend;
  Time now;  ///< Set only if the policy or an observer uses time.
};

/// No backend could be picked.
struct Refused {
  Request const& request;
  Error error;
};

namespace detail {

/// Leads from an observer back to the balancer, whose type the observer does not know.
struct Reporter {
  void* balancer;
  void (*report)(void* balancer, Backend const& backend, HealthState health) noexcept;
  void (*review)(void* balancer, Time now) noexcept;
};

}  // namespace detail

/// How a request was completed, and a way to act on it at once.
struct Finished {
  Backend const& backend;
  Outcome outcome;
  std::optional<Duration> latency;
  Time now;                     ///< Set only if the policy or an observer uses time.
  std::optional<Time> started;  ///< Of its pick, as `now`; empty if it was recorded, not picked.

  /// Reports what this rule found. Published before the call returns, or, if a change is in
  /// progress on another thread, at the end of that change: neither requests nor picks wait.
  void report(HealthState health) const noexcept {
    reporter.report(reporter.balancer, backend, health);
  }

  /// Calls the rules now, as a tick would: for a decision that needs all backends and can't wait
  /// for the next tick. Published as report() says.
  /// *Requires* that the policy or an observer uses time.
  void review() const noexcept { reporter.review(reporter.balancer, now); }

  detail::Reporter reporter;
};

/// What a backend said about its load.
struct Reported {
  Backend const& backend;
  LoadReport const& report;  ///< Unchecked.
};

/// A call that failed, or needed more than one attempt.
struct Called {
  Request const& request;  ///< With the number of its last attempt.
  CallReport const& report;
};

/// A backend was added, removed or changed, the policy was replaced, or requests ran into limits.
struct Event {
  enum class Kind : std::uint8_t {
    added,
    removed,
    drained,
    undrained,
    weight,
    health,
    policy,
    empty,  ///< A drained backend has no requests in flight any more; on the last one's thread.
    /// A pick found every backend in service at its limit of requests in flight. Once a second at
    /// most; rates (RateLimited) are no such limit.
    full,
    room,  ///< After `full`: some backend is below its limit again; on the thread that made room.
    /// A wrong use that stats().warnings lists; once while it lasts, from tick() or stats().
    warning,
  };
  Kind kind;
  std::string id;  ///< The backend's; empty for `policy`, `full`, `room` and `warning`.
  HealthState health = HealthState::healthy;
  std::uint32_t weight = 0;
  std::string warning{};  ///< What is wrong and what to do; for `warning`.
  bool declared = false;  ///< For `health`: the operator says so (Balancer::set_health).
  bool released = false;  ///< For `health`: the operator says nothing any more; it is as found.
};

[[nodiscard]] constexpr std::string_view name(Event::Kind kind) noexcept {
  constexpr std::array<std::string_view, 11> names{"added",  "removed", "drained", "undrained",
                                                   "weight", "health",  "policy",  "empty",
                                                   "full",   "room",    "warning"};
  auto const index = static_cast<std::size_t>(kind);
  return index < names.size() ? names[index] : "unknown event";
}

/// One backend as a rule sees and changes it.
struct BackendView {
  Backend const& backend;
  std::uint32_t weight;
  HealthState health;   ///< In on_tick: found by rules. In arrange: as picks will see it.
  Admission admission;  ///< In on_tick: first as the operator set it. In arrange: in force now.
  bool const drained;
  void* state_block = nullptr;
  /// A limit of requests in flight for a backend on trial. Retries avoid such a backend. A request
  /// that no other backend takes may exceed the limit.
  std::uint32_t max_on_trial = sync::InFlight::limit;
  /// In arrange: a trial that no policy has begun. The next pick that may go there does. A keyed
  /// policy ignores it, because it would break the affinity of a key.
  bool wants_pick = false;
  /// In arrange, of an unhealthy backend: a request for which the policy and the request's own
  /// condition leave no other backend may go there.
  bool last_resort = false;
  std::uint32_t endpoint_weight = 1;  ///< What `weight` is unless the operator set another one.

  template <class State>
  [[nodiscard]] State& state() const noexcept {
    return *static_cast<State*>(state_block);
  }
};

/// An observer that writes calls into your log, as text: the attempts, their outcomes, and why
/// there was no further one. Only calls that failed or needed more than one attempt.
///
///   poise::Runtime<poise::CycleClock, poise::LogCalls>{.observers = {{log_warning}}}
struct LogCalls {
  std::function<void(std::string const&)> log{};
  void on_call(Called const& called) const {
    if (log) log(message(called.report));
  }
};

/// An observer without hooks: has latencies measured, so that statistics have them.
struct MeasureLatency {
  static constexpr bool uses_time = true;
};

namespace detail {

template <class O>
inline constexpr bool observes_pick_with_state = requires(
    O& observer, Picked const& event, hooks::StateOf<O>& state) { observer.on_pick(event, state); };
template <class O>
inline constexpr bool observes_pick =
    observes_pick_with_state<O> ||
    requires(O& observer, Picked const& event) { observer.on_pick(event); };
template <class O>
inline constexpr bool observes_refused =
    requires(O& observer, Refused const& event) { observer.on_refused(event); };
template <class O>
inline constexpr bool samples_picks =
    requires(O& observer, SampledPick const& pick) { observer.on_sampled_pick(pick); };
template <class O>
inline constexpr bool observes_event =
    requires(O& observer, Event const& event) { observer.on_event(event); };
template <class O>
inline constexpr bool observes_call =
    requires(O& observer, Called const& event) { observer.on_call(event); };
/// What after_tick(tell) is called with.
struct TransitionSink {
  template <class News>
  void operator()(News const&) const noexcept {}
};
template <class O>
inline constexpr bool notifies_others =
    requires(O& observer, TransitionSink const& tell) { observer.after_tick(tell); };
template <class O>
inline constexpr bool observes_tick =
    notifies_others<O> || requires(O& observer) { observer.after_tick(); };
template <class O>
inline constexpr bool observes_finish_with_state =
    requires(O& observer, Finished const& event, hooks::StateOf<O>& state) {
      observer.on_finish(event, state);
    };
template <class O>
inline constexpr bool observes_finish =
    observes_finish_with_state<O> ||
    requires(O& observer, Finished const& event) { observer.on_finish(event); };
template <class O>
inline constexpr bool takes_load_reports =
    requires(O& observer, Reported const& event, hooks::StateOf<O>& state) {
      observer.on_load_report(event, state);
    };
template <class O>
inline constexpr bool rules_on_tick =
    requires(O& rule, Time now, std::span<BackendView> all) { rule.on_tick(now, all); };
template <class O>
inline constexpr bool rule_decides_health = [] {
  if constexpr (requires { O::decides_health; }) return bool{O::decides_health};
  else return false;
}();
template <class O>
inline constexpr bool arranges =
    requires(O& rule, std::span<BackendView> all) { rule.arrange(all); };
template <class O>
inline constexpr bool warns =
    requires(O& observer, Backend const& backend, hooks::StateOf<O>& state, Time now) {
      { observer.warning(backend, state, now) } -> std::convertible_to<std::string>;
    };

/// Names that are easily written for a hook's.
template <class O>
inline constexpr bool has_unknown_observer_hook =
    requires { &O::on_picked; } || requires { &O::on_pick_failed; } ||
    requires { &O::on_refuse; } || requires { &O::on_finished; } || requires { &O::on_end; } ||
    requires { &O::on_ended; } || requires { &O::on_done; } || requires { &O::on_complete; } ||
    requires { &O::on_completed; } || requires { &O::on_events; } || requires { &O::on_called; } ||
    requires { &O::on_transitions; } || requires { &O::on_after_tick; } ||
    requires { &O::on_arrange; } || requires { &O::on_warning; } || requires { &O::warnings; } ||
    requires { &O::on_report; } || requires { &O::on_load_reported; };

/// An argument of any type, for hooks whose parameter is not known here.
struct AnyArgument {
  template <class T>
  operator T const&() const;  // NOLINT(*-explicit-*)
};
template <class O>
inline constexpr bool has_known_hook =
    observes_pick<O> || observes_refused<O> || samples_picks<O> || observes_event<O> ||
    observes_call<O> || observes_tick<O> || observes_finish<O> || rules_on_tick<O> || arranges<O> ||
    warns<O> || takes_load_reports<O> || hooks::declares_time<O> || is_classifier<O> ||
    requires { &O::on_transition; } ||
    requires(O& observer, AnyArgument const& news) { observer.on_transition(news); };

/// Rejects hooks that can't be called as poise calls them: they would be ignored in silence.
/// (Overloaded ones and templates can't be checked.)
template <class O>
consteval bool check_observer() {
  if constexpr (requires { &O::on_pick; })
    static_assert(observes_pick<O>,
                  "a poise observer's on_pick: void on_pick(Picked const&[, State&])");
  if constexpr (requires { &O::on_refused; })
    static_assert(observes_refused<O>,
                  "a poise observer's on_refused: void on_refused(Refused const&)");
  if constexpr (requires { &O::on_sampled_pick; } || requires { &O::wants_pick; })
    static_assert(
        samples_picks<O> &&
            requires(O& observer) {
              { observer.wants_pick() } noexcept -> std::same_as<bool>;
            },
        "a poise observer that samples picks needs two hooks: bool wants_pick() noexcept and "
        "void on_sampled_pick(SampledPick const&)");
  if constexpr (requires { &O::on_finish; })
    static_assert(observes_finish<O>,
                  "a poise observer's on_finish: void on_finish(Finished const&[, State&])");
  if constexpr (requires { &O::on_load_report; })
    static_assert(
        takes_load_reports<O>,
        "a poise observer's on_load_report: void on_load_report(Reported const&, State&)");
  if constexpr (requires { &O::on_event; })
    static_assert(observes_event<O>, "a poise observer's on_event: void on_event(Event const&)");
  if constexpr (requires { &O::on_call; })
    static_assert(observes_call<O>, "a poise observer's on_call: void on_call(Called const&)");
  if constexpr (requires { &O::after_tick; })
    static_assert(observes_tick<O>,
                  "a poise observer's after_tick: void after_tick([Tell const&])");
  if constexpr (requires { &O::on_tick; })
    static_assert(rules_on_tick<O>,
                  "a poise rule's on_tick: void or bool on_tick(Time, std::span<BackendView>)");
  if constexpr (requires { &O::arrange; })
    static_assert(arranges<O>, "a poise rule's arrange: void arrange(std::span<BackendView>)");
  if constexpr (requires { &O::warning; })
    static_assert(warns<O>,
                  "a poise observer's warning: "
                  "std::string warning(Backend const&, State const&, Time now)");
  static_assert(
      !has_unknown_observer_hook<O>,
      "poise has no hook of this name. An observer's hooks are on_pick, on_refused, "
      "on_finish, on_load_report, on_event, on_call, on_transition, on_sampled_pick, wants_pick, "
      "after_tick and "
      "warning; a rule's are on_tick and arrange");
  static_assert(
      has_known_hook<O>,
      "this observer has no hook that poise calls: on_pick, on_refused, on_finish, "
      "on_load_report, on_event, "
      "on_call, on_transition, after_tick, warning, on_tick or arrange (or uses_time = true)");
  return true;
}

/// Which hooks a runtime's observers have.
template <class Observers>
struct ObserverTraits;

template <class... Observers>
struct ObserverTraits<std::tuple<Observers...>> {
  static_assert((check_observer<Observers>() && ...));
  static_assert(
      (std::size_t{rule_decides_health<Observers>} + ... + 0U) < 2,
      "two health monitors in one runtime would undo each other's decisions: keep one, with "
      "the criteria of both");
  static_assert((std::size_t{samples_picks<Observers>} + ... + 0U) < 2,
                "one observer of a runtime may sample picks: the record of a pick is made once");
  static constexpr bool pick = (observes_pick<Observers> || ...);
  static constexpr bool refused = (observes_refused<Observers> || ...);
  static constexpr bool samples = (samples_picks<Observers> || ...);
  static constexpr bool finish = (observes_finish<Observers> || ...);
  static constexpr bool load_report = (takes_load_reports<Observers> || ...);
  static constexpr bool event = (observes_event<Observers> || ...);
  static constexpr bool call = (observes_call<Observers> || ...);
  static constexpr bool tick = (rules_on_tick<Observers> || ...);
  static constexpr bool decides_health = (rule_decides_health<Observers> || ...);
  static constexpr bool after_tick = (observes_tick<Observers> || ...);
  static constexpr bool arrange = (arranges<Observers> || ...);
  static constexpr bool warning = (warns<Observers> || ...);
  static constexpr bool time = (hooks::declares_time<Observers> || ...);
  using States = std::tuple<hooks::StateOf<Observers>...>;
};

}  // namespace detail

}  // namespace poise::inline v0_1_0
