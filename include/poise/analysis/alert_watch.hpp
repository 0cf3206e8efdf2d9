// SPDX-License-Identifier: MIT
#pragma once

// Alerts on what a meter counted, and on the live page.
//
//   poise::observe::add_page(handler, metrics, {.notices = poise::analysis::alert_notices()});
//
// For alerts without a page, call AlertWatch::update() once a second with what a Reader reads.
//
// Requests are attempts that ended and picks that found no backend. Failures are those picks, and
// attempts whose result is_failure(): not those that were rejected, cancelled or abandoned.
// PoolState::changed, unfair and breaching are what detectors.hpp finds.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/analysis/alerts.hpp>
#include <poise/analysis/default_rules.hpp>
#include <poise/analysis/detectors.hpp>
#include <poise/analysis/sample.hpp>
#include <poise/backend.hpp>
#include <poise/base/saturating.hpp>
#include <poise/call.hpp>
#include <poise/observe/event_log.hpp>
#include <poise/observe/feed.hpp>
#include <poise/observe/snapshot.hpp>
#include <poise/outcome.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::analysis {

/// Evaluates rules on the snapshots of one balancer. *Threads* one at a time.
class AlertWatch {
 public:
  /// *Errors* ConfigError: see Alerts and the detectors.
  explicit AlertWatch(std::vector<Rule> rules = default_rules(), AlertCallbacks callbacks = {},
                      DetectorOptions const& detectors = {})
      : alerts_{std::move(rules), std::move(callbacks)}, detectors_{detectors} {}
  /// With the default rules, and a forecast of when the objective's latency is reached.
  explicit AlertWatch(Objectives const& objectives, AlertCallbacks callbacks = {})
      : AlertWatch{default_rules(objectives), std::move(callbacks), detectors(objectives)} {}

  /// `list_age`: since discovery last confirmed the list, if there is a source. The first snapshot
  /// is only where the next one counts from.
  void update(observe::Snapshot const& now, std::optional<Duration> list_age = {}) {
    auto const unhealthy = unhealthy_of(now);
    Totals const totals{now};
    detectors_.add(now);
    if (before_)
      alerts_.update({.now = now.at,
                      .requests = totals.requests - before_->requests,
                      .failures = totals.failures - before_->failures,
                      .refusals = totals.refusals - before_->refusals,
                      .backends = static_cast<std::size_t>(now.set.all()),
                      .healthy = static_cast<std::size_t>(now.set.healthy + now.set.degraded),
                      .ejections = totals.ejections - before_->ejections,
                      .panic = now.facts.panic_opens,
                      .latency = in_seconds(now.last_60s.p99),
                      .retry_budget = totals.unretried > before_->unretried ? 0.0 : 1.0,
                      .tick_age = tick_age(now),
                      .list_age = list_age,
                      .unhealthy = unhealthy,
                      .changed = detectors_.changed(),
                      .unfair = detectors_.unfair(),
                      .breaching = detectors_.breaching()});
    before_ = totals;
  }
  /// The alerts in progress.
  [[nodiscard]] std::span<Alert const> alerts() const noexcept { return alerts_.alerts(); }
  /// As Alerts::errors and callback_failures.
  [[nodiscard]] std::span<RuleError const> errors() const noexcept { return alerts_.errors(); }
  [[nodiscard]] std::uint64_t callback_failures() const noexcept {
    return alerts_.callback_failures();
  }

 private:
  static DetectorOptions detectors(Objectives const& objectives) {
    auto const latency = objectives.latency.value_or(Duration{});  // 0: learnt
    return {.forecast = {.objective = seconds_of(latency)}};
  }

  static std::vector<std::string_view> unhealthy_of(observe::Snapshot const& now) {
    std::vector<std::string_view> result;
    for (auto const* some : {&now.backends, &now.unlisted_ill})
      for (auto const& each : *some)
        if (each.health == HealthState::unhealthy) result.emplace_back(each.id);
    return result;
  }

  /// What never decreases.
  struct Totals {
    explicit Totals(observe::Snapshot const& now)
        : requests{now.requests.all_completed() + now.all_refusals()},
          failures{now.requests.all_failures() + now.all_refusals()},
          refusals{now.all_refusals()},
          unretried{now.stopped_calls[static_cast<std::size_t>(StopReason::budget)]} {
      for (auto const& each : now.ejections)
        if (each.enforcement == "enforced") ejections += each.count;
    }
    std::uint64_t requests;
    std::uint64_t failures;
    std::uint64_t refusals;
    std::uint64_t unretried;  // calls that the budget stopped: none of it was left
    std::uint64_t ejections = 0;
  };

  static std::optional<double> in_seconds(std::optional<Duration> time) {
    if (!time) return std::nullopt;
    return seconds_of(*time);
  }
  /// A snapshot knows only that there was no tick for ten seconds.
  Duration tick_age(observe::Snapshot const& now) {
    if (!now.facts.ticks_missing) ticks_missing_since_.reset();
    else if (!ticks_missing_since_) ticks_missing_since_ = now.at;
    if (!ticks_missing_since_) return {};
    return poise::detail::saturating_add(
        poise::detail::saturating_sub(now.at, *ticks_missing_since_), std::chrono::seconds{10});
  }

  Alerts alerts_;
  Detectors detectors_;
  std::optional<Time> ticks_missing_since_{};
  std::optional<Totals> before_{};
};

/// The alerts in progress, as the live page shows them.
[[nodiscard]] inline std::vector<observe::Notice> notices_of(AlertWatch const& watch,
                                                             std::string const& balancer) {
  std::vector<observe::Notice> notices;
  for (auto const& alert : watch.alerts())
    notices.push_back({.level = alert.severity == Severity::page ? observe::Level::error
                                                                 : observe::Level::warning,
                       .text = message(alert),
                       .balancer = balancer,
                       .since = alert.since});
  return notices;
}

namespace detail {

/// Of each balancer that a page shows, in its order; names may occur twice.
class AlertWatches {
 public:
  explicit AlertWatches(Objectives const& objectives) : fresh_{objectives} {}

  /// That of this name, from here on, or a fresh one.
  AlertWatch& at(std::size_t i, std::string const& balancer) {
    auto const from = watches_.begin() + static_cast<std::ptrdiff_t>(i);
    auto const found = std::find_if(from, watches_.end(),
                                    [&](auto const& each) { return each.first == balancer; });
    if (found == watches_.end()) watches_.emplace(from, balancer, fresh_);
    else std::rotate(from, found, found + 1);
    return watches_[i].second;
  }
  /// Forgets all but the first ones.
  void keep(std::size_t count) {
    watches_.erase(watches_.begin() + static_cast<std::ptrdiff_t>(count), watches_.end());
  }

 private:
  AlertWatch fresh_;
  std::vector<std::pair<std::string, AlertWatch>> watches_;
};

}  // namespace detail

/// For FeedOptions::notices: the page shows the alerts of the default rules, of each balancer.
/// *Errors* ConfigError: see default_rules().
[[nodiscard]] inline std::function<std::vector<observe::Notice>(std::span<observe::Snapshot const>)>
alert_notices(Objectives const& objectives = {}) {
  return [watches = detail::AlertWatches{objectives}](
             std::span<observe::Snapshot const> readings) mutable {
    std::vector<observe::Notice> notices;
    for (std::size_t i = 0; i < readings.size(); ++i) {
      auto& watch = watches.at(i, readings[i].balancer);
      watch.update(readings[i]);
      std::ranges::move(notices_of(watch, readings[i].balancer), std::back_inserter(notices));
    }
    watches.keep(readings.size());
    return notices;
  };
}

}  // namespace poise::inline v0_1_0::analysis
