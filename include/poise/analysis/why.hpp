// SPDX-License-Identifier: MIT
#pragma once

// Why a backend gets no requests, or fewer than its share: the first reason, its numbers, and when
// it ends.
//
//   auto const& monitor = servers.observer<poise::health::Standard>();
//   std::cout << message(poise::analysis::why(servers, monitor, "10.0.0.1:80"), now);
//
//   10.0.0.1:80: ejected since 12.0 s (consecutive failures 5, limit 5), for 18.0 s more; then one
//   trial request decides
//
// Reasons are tried in the order in which a pick meets them. What a policy does among the eligible
// backends (a filter, a tier, a zone) is no property of the backend: explain.hpp tells it.

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <poise/backend.hpp>
#include <poise/base/check.hpp>
#include <poise/base/saturating.hpp>
#include <poise/error.hpp>
#include <poise/health/journal.hpp>
#include <poise/health/phase.hpp>
#include <poise/request.hpp>
#include <poise/stats.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::analysis {

/// Why a backend gets no requests, or fewer.
enum class Reason : std::uint8_t {
  none,        ///< It is eligible like any other.
  unknown,     ///< The balancer has no backend of this id.
  drained,     ///< By the operator.
  declared,    ///< Declared unhealthy by the operator.
  reported,    ///< Reported unhealthy, and the monitor has not decided about it; or there is none.
  ejected,     ///< For a time.
  down,        ///< Probes call it down.
  weightless,  ///< Weight 0.
  condition,   ///< The request's condition does not hold for it.
  behind,      ///< It has not reached the position that the request asks for.
  excluded,    ///< The request excludes it: it was tried before.
  on_trial,    ///< Probation: as many trial requests as it may have are in flight.
  full,        ///< As many requests as its limit are in flight.
  probation,   ///< It gets trial requests only.
  slow_start,  ///< It warms up, with a fraction of its share; or joined since the last tick.
  limited,     ///< It accepts a fraction of its picks, for another reason.
  degraded,    ///< It gets what the healthy backends can't carry.
  // Of one pick; only explain() knows these.
  other_group,   ///< The draw between healthy and degraded backends fell on the degraded ones.
  filtered,      ///< By a Filter.
  other_subset,  ///< Of another client.
  other_tier,
  other_zone,
  refused,       ///< By the policy: over its bound, or shed.
  not_owner,     ///< The key has another owner.
  not_its_turn,  ///< In a rotation.
  not_drawn,     ///< At random.
  outscored,     ///< By the winner.
  tied,          ///< With the winner; the draw decided.
};
[[nodiscard]] constexpr std::string_view name(Reason reason) noexcept {
  constexpr std::string_view names[]{"eligible",
                                     "unknown",
                                     "drained",
                                     "declared unhealthy",
                                     "reported unhealthy",
                                     "ejected",
                                     "down",
                                     "weight 0",
                                     "refused by the condition",
                                     "behind",
                                     "excluded",
                                     "on trial",
                                     "at its limit",
                                     "on probation",
                                     "warming up",
                                     "limited",
                                     "degraded",
                                     "in the group that was not drawn",
                                     "filtered out",
                                     "in another subset",
                                     "in another tier",
                                     "in another zone",
                                     "refused by the policy",
                                     "not the key's owner",
                                     "not its turn",
                                     "not drawn",
                                     "outscored",
                                     "tied with the winner"};
  return names[static_cast<std::size_t>(reason)];
}
/// What mostly ends it; see Why::ends_by.
[[nodiscard]] constexpr std::string_view remedy(Reason reason) noexcept {
  constexpr std::string_view remedies[]{"",
                                        "add() or update()",
                                        "undrain()",
                                        "set_health(id, nullopt)",
                                        "another report",
                                        "then one trial request decides",
                                        "a report that it is well, or probes that pass",
                                        "set_weight()",
                                        "another request",
                                        "replication",
                                        "another request",
                                        "the trial request in flight decides",
                                        "requests in flight that end, or set_admission()",
                                        "a trial request that succeeds",
                                        "",
                                        "set_admission(), or the rule that limits it",
                                        "time without failures",
                                        "",
                                        "another filter",
                                        "another subset",
                                        "tiers before it that can't carry the load",
                                        "another draw of the zone",
                                        "time, or fewer requests",
                                        "",
                                        "",
                                        "",
                                        "",
                                        ""};
  return remedies[static_cast<std::size_t>(reason)];
}

/// The answer.
struct Why {
  std::string id;
  Reason reason{};
  std::string cause{};          ///< A criterion's name, or what a probe said. Empty: none is known.
  bool has_numbers = false;     ///< Were numbers compared?
  double value = 0;             ///< What was found, requests in flight, or a fraction ...
  double limit = 0;             ///< ... and what it was compared with.
  std::string held_by{};        ///< What prolongs it, or keeps worse from it. Empty: nothing.
  std::optional<Time> since{};  ///< If it is known.
  std::optional<Time> until{};  ///< If it ends by itself, and nothing holds it.
  std::string_view ends_by{};   ///< If that is not remedy(reason).
};
/// What ends it.
[[nodiscard]] constexpr std::string_view remedy(Why const& why) noexcept {
  return why.ends_by.empty() ? remedy(why.reason) : why.ends_by;
}

/// What the monitor knows of a backend.
struct Health {
  std::optional<health::Phase> phase{};
  std::optional<health::Transition> last{};  ///< The one that led to this phase.
  std::optional<health::Outlook> outlook{};  ///< How the phase will end.
};

namespace detail {

/// From what is known of one backend to the first reason.
class Judging {
 public:
  Judging(Backend const& backend, Health const& health)
      : backend_{backend}, stats_{BackendStats::of(backend)}, health_{health} {
    if (health.outlook) outlook_ = *health.outlook;
    else if (health.last) outlook_ = of(*health.last);
    if (!outlook_.joins) phase_ = health.phase.value_or(health::Phase::healthy);
  }

  [[nodiscard]] Why why(Request const& request) const {
    if (stats_.drained) return because(Reason::drained);
    if (stats_.health == HealthState::unhealthy) return of_unhealthy();
    if (stats_.weight == 0) return because(Reason::weightless);
    if (request.condition && !request.condition(backend_))
      return because(Reason::condition, request.condition.why_not(backend_));
    if (backend_.reached() < request.after)
      return because(Reason::behind, static_cast<double>(backend_.reached()),
                     static_cast<double>(request.after));
    if (excludes(request, stats_.serial)) return because(Reason::excluded);
    return of_eligible();
  }

 private:
  /// What a transition says of the phase that it began.
  static health::Outlook of(health::Transition const& last) {
    health::Outlook result;
    if (last.lasts) result.until = poise::detail::saturating_add(last.at, *last.lasts);
    result.capped = last.note == health::Transition::Note::capped;
    return result;
  }

  [[nodiscard]] Why of_unhealthy() const {
    if (backend_.health_is_declared()) return because(Reason::declared);
    if (phase_ != health::Phase::ejected) return because(Reason::reported);
    bool const for_a_time = health_.last && health_.last->lasts;
    auto result = by_monitor(for_a_time ? Reason::ejected : Reason::down);
    if (!outlook_.held) return result;
    result.ends_by =
        outlook_.by_probes ? "probes that pass, or that fall silent" : remedy(Reason::down);
    if (for_a_time) result.held_by = outlook_.by_probes ? "failing probes" : "a report";
    if (for_a_time && !outlook_.cause.empty()) result.held_by += ": " + outlook_.cause;
    if (!for_a_time) result.cause = outlook_.cause;
    return result;
  }
  [[nodiscard]] Why of_eligible() const {
    using health::Phase;
    auto const& admission = stats_.admission;
    if (stats_.in_flight >= admission.max_in_flight) return of_full();
    if (phase_ == Phase::probation) return by_monitor(Reason::probation);
    if (phase_ == Phase::slow_start) return by_monitor(Reason::slow_start);
    if (phase_ == Phase::degraded && outlook_.capped) return of_capped();
    if (admission.share != Admission{}.share) return of_limited();
    if (stats_.health == HealthState::degraded) return of_degraded();
    return because(Reason::none);
  }
  [[nodiscard]] Why of_full() const {
    auto const limit = stats_.admission.max_in_flight;
    bool const on_trial = phase_ == health::Phase::probation;
    auto result = because(on_trial ? Reason::on_trial : Reason::full, stats_.in_flight, limit);
    if (!on_trial && limit == 0) result.ends_by = "set_admission()";
    return result;
  }
  [[nodiscard]] Why of_capped() const {
    auto result = by_monitor(Reason::degraded);
    result.held_by = "the cap on ejections";
    result.ends_by = "requests that succeed, or its ejection once the cap has room";
    return result;
  }
  [[nodiscard]] Why of_limited() const {
    auto const share = static_cast<double>(stats_.admission.share) * 0x1p-32;
    auto result = because(outlook_.joins ? Reason::slow_start : Reason::limited, share, 1);
    if (!outlook_.joins) return result;
    result.cause = "joined";
    result.ends_by = "the next tick";
    return result;
  }
  [[nodiscard]] Why of_degraded() const {
    bool const declared = backend_.health_is_declared();
    if (!declared && phase_ == health::Phase::degraded) return by_monitor(Reason::degraded);
    auto result = because(Reason::degraded, declared ? "declared by the operator" : "reported");
    result.ends_by = remedy(declared ? Reason::declared : Reason::reported);
    return result;
  }

  [[nodiscard]] Why by_monitor(Reason reason) const {
    auto result = because(reason);
    result.until = outlook_.until;
    if (!health_.last) return result;
    result.cause = health_.last->cause;
    result.value = health_.last->value;
    result.limit = health_.last->limit;
    result.has_numbers = result.value != 0 || result.limit != 0;
    result.since = health_.last->at;
    return result;
  }
  [[nodiscard]] Why because(Reason reason, std::string cause = {}) const {
    return {.id = stats_.id, .reason = reason, .cause = std::move(cause)};
  }
  [[nodiscard]] Why because(Reason reason, double value, double limit) const {
    return {.id = stats_.id, .reason = reason, .has_numbers = true, .value = value, .limit = limit};
  }

  Backend const& backend_;
  BackendStats stats_;
  Health const& health_;
  health::Outlook outlook_{};
  health::Phase phase_ = health::Phase::healthy;
};

}  // namespace detail

/// Of a backend of whose health `health` is known.
[[nodiscard]] inline Why why(Backend const& backend, Health const& health,
                             Request const& request = any_request) {
  return detail::Judging{backend, health}.why(request);
}

/// Knows phases and histories of backends by id: health::Monitor.
template <class M>
concept Monitors = requires(M const& monitor, std::string_view id) {
  { monitor.phase(id) } -> std::convertible_to<std::optional<health::Phase>>;
  monitor.history(id);
};

/// What the monitor knows of this backend. *Threads* any.
template <Monitors Monitor>
[[nodiscard]] Health health_of(Monitor const& monitor, Backend const& backend) {
  Health health{.phase = monitor.phase(backend.id())};
  for (auto& step : monitor.history(backend.id()))
    if (step.from != step.to && step.to == health.phase) health.last = std::move(step);
  if constexpr (requires { monitor.outlook(backend); }) health.outlook = monitor.outlook(backend);
  return health;
}

/// Of a live balancer and its monitor. *Threads* any. *Cost* O(its history); allocates.
template <class Balancer, Monitors Monitor>
[[nodiscard]] Why why(Balancer const& balancer, Monitor const& monitor, std::string_view id,
                      Request const& request = any_request) {
  auto const backend = balancer.find(id);
  if (!backend) return {.id = std::string{id}, .reason = Reason::unknown};
  return why(*backend, health_of(monitor, *backend), request);
}
/// Of a balancer without a monitor. *Threads* any.
template <class Balancer>
[[nodiscard]] Why why(Balancer const& balancer, std::string_view id,
                      Request const& request = any_request) {
  auto const backend = balancer.find(id);
  if (!backend) return {.id = std::string{id}, .reason = Reason::unknown};
  return why(*backend, Health{}, request);
}

namespace detail {

/// "12.3 s"
[[nodiscard]] inline std::string in_tenths(Duration time) {
  using namespace std::chrono_literals;
  auto const tenths = poise::detail::saturating_add(time, 50ms) / 100ms;
  return std::to_string(tenths / 10) + '.' + std::to_string(tenths % 10) + " s";
}
/// " (consecutive failures 5, limit 5)"; empty if nothing is known.
[[nodiscard]] inline std::string evidence(Why const& why) {
  using poise::detail::in_words;
  auto const value = in_words(why.value);
  if (why.reason == Reason::outscored)
    return " (" + value + ", winner " + in_words(why.limit) + ')';
  auto text = poise::detail::escaped(why.cause);
  if (why.has_numbers) text += (text.empty() ? "" : " ") + value + ", limit " + in_words(why.limit);
  return text.empty() ? text : " (" + text + ')';
}

}  // namespace detail

/// "10.0.0.1:80: ejected (consecutive failures 5, limit 5), for 18.0 s more; then ..."
[[nodiscard]] inline std::string message(Why const& why, Time now) {
  using poise::detail::saturating_sub;
  auto text = poise::detail::escaped(why.id) + ": " + std::string{name(why.reason)};
  if (why.since && now >= *why.since)
    text += " since " + detail::in_tenths(saturating_sub(now, *why.since));
  text += detail::evidence(why);
  if (!why.held_by.empty()) text += ", held back by " + poise::detail::escaped(why.held_by);
  if (why.until && *why.until > now)
    text += ", for " + detail::in_tenths(saturating_sub(*why.until, now)) + " more";
  else if (why.until) text += ", until one of the next ticks";
  if (auto const what = remedy(why); !what.empty())
    text += (why.until ? "; " : "; ends by: ") + std::string{what};
  return text;
}

}  // namespace poise::inline v0_1_0::analysis
