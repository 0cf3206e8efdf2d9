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
#include <ratio>
#include <string>
#include <string_view>
#include <utility>

#include <poise/backend.hpp>
#include <poise/base/check.hpp>
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
  slow_start,  ///< It warms up, with a fraction of its share.
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
/// What ends it.
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
                                        "less load on it",
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
  double value = 0;             ///< What was found, requests in flight, or a fraction ...
  double limit = 0;             ///< ... and what it was compared with.
  std::optional<Time> since{};  ///< If it is known.
  std::optional<Time> until{};  ///< If it ends by itself.
};

/// What the monitor knows of a backend.
struct Health {
  std::optional<health::Phase> phase{};
  std::optional<health::Transition> last{};  ///< The one that led to this phase.
};

/// Of a backend of whose health `health` is known.
[[nodiscard]] inline Why why(Backend const& backend, Health const& health,
                             Request const& request = any_request) {
  auto const stats = BackendStats::of(backend);
  using health::Phase;
  Why result{.id = stats.id};
  auto const by_monitor = [&](Reason reason) {
    result.reason = reason;
    if (!health.last) return result;
    result.cause = health.last->cause;
    result.value = health.last->value;
    result.limit = health.last->limit;
    result.since = health.last->at;
    if (health.last->lasts) result.until = health.last->at + *health.last->lasts;
    return result;
  };
  auto const because = [&](Reason reason, double value = 0, double limit = 0) {
    result.reason = reason;
    result.value = value;
    result.limit = limit;
    return result;
  };
  auto const& admission = stats.admission;
  auto const phase = health.phase.value_or(Phase::healthy);
  if (stats.drained) return because(Reason::drained);
  if (stats.health == HealthState::unhealthy) {
    if (backend.health_is_declared()) return because(Reason::declared);
    if (phase != Phase::ejected) return because(Reason::reported);
    return by_monitor(health.last && health.last->lasts ? Reason::ejected : Reason::down);
  }
  if (stats.weight == 0) return because(Reason::weightless);
  if (request.condition && !request.condition(backend)) {
    result.cause = request.condition.why_not(backend);
    return because(Reason::condition);
  }
  if (backend.reached() < request.after)
    return because(Reason::behind, static_cast<double>(backend.reached()),
                   static_cast<double>(request.after));
  if (excludes(request, stats.serial)) return because(Reason::excluded);
  if (stats.in_flight >= admission.max_in_flight) {
    auto const reason = phase == Phase::probation ? Reason::on_trial : Reason::full;
    return because(reason, stats.in_flight, admission.max_in_flight);
  }
  if (phase == Phase::probation) return by_monitor(Reason::probation);
  if (phase == Phase::slow_start) return by_monitor(Reason::slow_start);
  if (admission.share != Admission{}.share)
    return because(Reason::limited, static_cast<double>(admission.share) * 0x1p-32, 1);
  if (stats.health == HealthState::degraded) return by_monitor(Reason::degraded);
  return result;
}

/// Knows phases and histories of backends by id: health::Monitor.
template <class M>
concept Monitors = requires(M const& monitor, std::string_view id) {
  { monitor.phase(id) } -> std::convertible_to<std::optional<health::Phase>>;
  monitor.history(id);
};

/// What the monitor knows of the backend with this id. *Threads* any.
template <Monitors Monitor>
[[nodiscard]] Health health_of(Monitor const& monitor, std::string_view id) {
  Health health{.phase = monitor.phase(id)};
  for (auto& step : monitor.history(id))
    if (step.from != step.to && step.to == health.phase) health.last = std::move(step);
  return health;
}

/// Of a live balancer and its monitor. *Threads* any. *Cost* O(its history); allocates.
template <class Balancer, Monitors Monitor>
[[nodiscard]] Why why(Balancer const& balancer, Monitor const& monitor, std::string_view id,
                      Request const& request = any_request) {
  auto const backend = balancer.find(id);
  if (!backend) return {.id = std::string{id}, .reason = Reason::unknown};
  return why(*backend, health_of(monitor, id), request);
}
/// Of a balancer without a monitor. *Threads* any.
template <class Balancer>
[[nodiscard]] Why why(Balancer const& balancer, std::string_view id,
                      Request const& request = any_request) {
  auto const backend = balancer.find(id);
  if (!backend) return {.id = std::string{id}, .reason = Reason::unknown};
  return why(*backend, Health{}, request);
}

/// "10.0.0.1:80: ejected (consecutive failures 5, limit 5), for 18.0 s more; then ..."
[[nodiscard]] inline std::string message(Why const& why, Time now) {
  auto const seconds = [](Duration time) {
    auto const tenths = std::chrono::round<std::chrono::duration<std::int64_t, std::deci>>(time);
    return std::to_string(tenths.count() / 10) + '.' + std::to_string(tenths.count() % 10) + " s";
  };
  auto text = poise::detail::escaped(why.id) + ": " + std::string{name(why.reason)};
  if (why.since && now >= *why.since) text += " since " + seconds(now - *why.since);
  if (why.reason == Reason::outscored) {
    text += " (" + poise::detail::in_words(why.value) + ", winner " +
            poise::detail::in_words(why.limit) + ')';
  } else if (!why.cause.empty() || why.limit != 0) {
    text += " (" + why.cause;
    if (why.limit != 0)
      text += (why.cause.empty() ? "" : " ") + poise::detail::in_words(why.value) + ", limit " +
              poise::detail::in_words(why.limit);
    text += ')';
  }
  if (why.until && *why.until > now) text += ", for " + seconds(*why.until - now) + " more";
  else if (why.until) text += ", until the next tick";
  if (auto const what = remedy(why.reason); !what.empty())
    text += (why.until ? "; " : "; ends by: ") + std::string{what};
  return text;
}

}  // namespace poise::inline v0_1_0::analysis
