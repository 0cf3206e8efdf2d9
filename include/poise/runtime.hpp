// SPDX-License-Identifier: MIT
#pragma once

// What a balancer takes from its surroundings: a clock, chance, and those who watch.
//
// Observers are values listed in the runtime's type; each may have any of these hooks, and one that
// is missing costs nothing. They run outside read sections and locks, so they may use the balancer;
// what they throw is swallowed and counted (Stats::observer_failures).
//
//   on_pick(Picked)                    a backend was picked
//   on_refused(Refused)                no backend could be picked
//   on_finish(Finished)                a request ended
//   on_event(Event)                    backends came, went or changed
//   on_call(Called)                    a call failed, or needed more than one attempt
//   after_tick()                       the rules had their turn: what they want to tell goes here
//   after_tick(tell)                   the same, to all: tell(news) calls every on_transition(news)
//   on_transition(health::Transition)  a health monitor of this runtime moved a backend, and why
//
// A rule is an observer that also decides. These two run under the balancer's lock, and must not
// call it:
//   on_tick(Time, span<Standing>)      periodic: may change found health and admission; may return
//                                      true to have arrange called although nothing else changed
//   arrange(span<Standing>)            at each publication: may change weight, health and admission
//                                      as picks see them, but not what the operator declared
//
// Admission starts each tick from what the operator set, and each rule sees what those before it
// made of it: a rule that takes the lesser of that and its own never undoes another's.
//
//   State               per-backend data of the observer's own, for on_finish(Finished, State&)
//   uses_time = true    latencies are measured for it

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
#include <poise/error.hpp>
#include <poise/outcome.hpp>
#include <poise/policy.hpp>
#include <poise/request.hpp>
#include <poise/time.hpp>

namespace poise {

struct Picked {
  Request const& request;
  Backend const& backend;
  Time now;  ///< Set only if somebody uses time.
};

struct Refused {
  Request const& request;
  Error error;
};

namespace detail {

/// The way from an observer back to the balancer whose type it doesn't know.
struct Reporter {
  void* balancer;
  void (*report)(void* balancer, Backend const& backend, HealthState health) noexcept;
  void (*review)(void* balancer, Time now) noexcept;
};

}  // namespace detail

/// How a request ended, and a way to act on it at once.
struct Finished {
  Backend const& backend;
  Outcome outcome;
  std::optional<Duration> latency;
  Time now;  ///< Set only if somebody uses time.

  /// Declares what this rule found: published before the call returns; picks never wait for it.
  void report(HealthState health) const noexcept {
    reporter.report(reporter.balancer, backend, health);
  }

  /// Gives the rules their turn now, as a tick would: for what can't wait for the next one, and
  /// needs the whole set to be decided. Published before the call returns; picks never wait for it.
  /// *Requires* that somebody uses time.
  void review() const noexcept { reporter.review(reporter.balancer, now); }

  detail::Reporter reporter;
};

/// A call that failed, or needed more than one attempt.
struct Called {
  Request const& request;  ///< With the number of its last attempt.
  CallReport const& report;
};

struct Event {
  enum class Kind : std::uint8_t { added, removed, drained, undrained, weight, health, policy };
  Kind kind;
  std::string id;  ///< The backend's; empty for a change of policy.
  HealthState health = HealthState::healthy;
  std::uint32_t weight = 0;
};

[[nodiscard]] constexpr std::string_view name(Event::Kind kind) noexcept {
  constexpr std::array<std::string_view, 7> names{"added",  "removed", "drained", "undrained",
                                                  "weight", "health",  "policy"};
  auto const index = static_cast<std::size_t>(kind);
  return index < names.size() ? names[index] : "unknown event";
}

/// One backend as a rule sees and changes it.
struct Standing {
  Backend const& backend;
  std::uint32_t weight;
  HealthState health;   ///< In on_tick what rules found; in arrange what picks will see.
  Admission admission;  ///< In on_tick at first what the operator set; in arrange what is in force.
  bool const drained;
  void* state_block = nullptr;

  template <class State>
  [[nodiscard]] State& state() const noexcept {
    return *static_cast<State*>(state_block);
  }
};

/// An observer that writes such calls into your log, as text: what was tried, how it ended, why it
/// went no further.
///
///   poise::Runtime<poise::SteadyClock, poise::LogCalls>{.observers = {{log_warning}}}
struct LogCalls {
  std::function<void(std::string const&)> log{};
  void on_call(Called const& called) const {
    if (log) log(message(called.report));
  }
};

/// An observer without hooks: asks for latencies to be measured, so that statistics have them.
struct MeasureLatency {
  static constexpr bool uses_time = true;
};

/// The default surroundings: real time and fresh chance, plus the observers you name.
///
/// With a seed the balancer is deterministic: all threads share one cursor and one source of
/// chance. That is for tests and simulations; in production every thread would write the same
/// lines.
template <class Clock, class... Observers>
struct Runtime {
  Clock clock{};
  std::optional<std::uint64_t> seed{};
  std::tuple<Observers...> observers{};
};

/// Real time, and latencies measured: `Balancer<P2C, void, Measured>`.
using Measured = Runtime<SteadyClock, MeasureLatency>;

namespace detail {

template <class O>
inline constexpr bool observes_pick =
    requires(O& observer, Picked const& event) { observer.on_pick(event); };
template <class O>
inline constexpr bool observes_refused =
    requires(O& observer, Refused const& event) { observer.on_refused(event); };
template <class O>
inline constexpr bool observes_event =
    requires(O& observer, Event const& event) { observer.on_event(event); };
template <class O>
inline constexpr bool observes_call =
    requires(O& observer, Called const& event) { observer.on_call(event); };
/// What an after_tick that wants to tell others something is called with.
struct Teller {
  template <class News>
  void operator()(News const&) const noexcept {}
};
template <class O>
inline constexpr bool tells_others =
    requires(O& observer, Teller const& tell) { observer.after_tick(tell); };
template <class O>
inline constexpr bool observes_tick =
    tells_others<O> || requires(O& observer) { observer.after_tick(); };
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
inline constexpr bool rules_on_tick =
    requires(O& rule, Time now, std::span<Standing> all) { rule.on_tick(now, all); };
template <class O>
inline constexpr bool arranges = requires(O& rule, std::span<Standing> all) { rule.arrange(all); };

/// Refuses hooks that can't be called as poise calls them: they would be ignored in silence.
/// (Overloaded ones and templates can't be asked.)
template <class O>
consteval bool check_observer() {
  if constexpr (requires { &O::on_pick; })
    static_assert(observes_pick<O>, "a poise observer's on_pick: void on_pick(Picked const&)");
  if constexpr (requires { &O::on_refused; })
    static_assert(observes_refused<O>,
                  "a poise observer's on_refused: void on_refused(Refused const&)");
  if constexpr (requires { &O::on_finish; })
    static_assert(observes_finish<O>,
                  "a poise observer's on_finish: void on_finish(Finished const&[, State&])");
  if constexpr (requires { &O::on_event; })
    static_assert(observes_event<O>, "a poise observer's on_event: void on_event(Event const&)");
  if constexpr (requires { &O::on_call; })
    static_assert(observes_call<O>, "a poise observer's on_call: void on_call(Called const&)");
  if constexpr (requires { &O::after_tick; })
    static_assert(observes_tick<O>,
                  "a poise observer's after_tick: void after_tick([Tell const&])");
  if constexpr (requires { &O::on_tick; })
    static_assert(rules_on_tick<O>,
                  "a poise rule's on_tick: void or bool on_tick(Time, std::span<Standing>)");
  if constexpr (requires { &O::arrange; })
    static_assert(arranges<O>, "a poise rule's arrange: void arrange(std::span<Standing>)");
  return true;
}

/// What the core needs to know of a runtime's observers, at compile time.
template <class Observers>
struct Watch;

template <class... Observers>
struct Watch<std::tuple<Observers...>> {
  static_assert((check_observer<Observers>() && ...));
  static constexpr bool pick = (observes_pick<Observers> || ...);
  static constexpr bool refused = (observes_refused<Observers> || ...);
  static constexpr bool finish = (observes_finish<Observers> || ...);
  static constexpr bool event = (observes_event<Observers> || ...);
  static constexpr bool call = (observes_call<Observers> || ...);
  static constexpr bool tick = (rules_on_tick<Observers> || ...);
  static constexpr bool after_tick = (observes_tick<Observers> || ...);
  static constexpr bool arrange = (arranges<Observers> || ...);
  static constexpr bool time = ((hooks::time_use<Observers> == hooks::UsesTime::always) || ...);
  using States = std::tuple<hooks::StateOf<Observers>...>;
};

}  // namespace detail

}  // namespace poise
