// SPDX-License-Identifier: MIT
#pragma once

// Alerts on what a meter counted, and on the live page.
//
//   poise::observe::add_page(handler, metrics, {.notices = poise::analysis::alert_notices()});
//
// For alerts without a page, call AlertWatch::update() once a second with what a Reader reads.
//
// Requests are attempts and picks that found no backend; both count as failures unless they
// succeeded. PoolState::changed, unfair and breaching are what detectors say (peers.hpp,
// forecast.hpp): a snapshot does not know them, so the rules "changed", "unfair" and "breach ahead"
// are silent here.

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
#include <poise/analysis/sample.hpp>
#include <poise/backend.hpp>
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
  /// *Errors* ConfigError: see Alerts.
  explicit AlertWatch(std::vector<Rule> rules = default_rules(), AlertCallbacks callbacks = {})
      : alerts_{std::move(rules), std::move(callbacks)} {}

  /// `list_age`: since discovery last confirmed the list, if there is a source. The first snapshot
  /// is only where the next one counts from.
  void update(observe::Snapshot const& now, std::optional<Duration> list_age = {}) {
    auto const unhealthy = unhealthy_of(now);
    Totals const totals{now};
    if (before_)
      alerts_.update({.now = now.at,
                      .requests = totals.requests - before_->requests,
                      .failures = totals.failures - before_->failures,
                      .backends = static_cast<std::size_t>(now.set.all()),
                      .healthy = static_cast<std::size_t>(now.set.healthy + now.set.degraded),
                      .ejections = totals.ejections - before_->ejections,
                      .panic = now.facts.panicking,
                      .latency = in_seconds(now.last_60s.p99),
                      .retry_budget = totals.unretried > before_->unretried ? 0.0 : 1.0,
                      .tick_age = tick_age(now),
                      .list_age = list_age,
                      .unhealthy = unhealthy});
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
          failures{now.all_refusals()},
          unretried{now.stopped_calls[static_cast<std::size_t>(StopReason::budget)]} {
      for (std::size_t i = 0; i < result_count; ++i)
        if (is_failure(static_cast<Result>(i))) failures += now.requests.completed[i];
      for (auto const& each : now.ejections)
        if (each.enforcement == "enforced") ejections += each.count;
    }
    std::uint64_t requests;
    std::uint64_t failures;
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
    return ticks_missing_since_ ? now.at - *ticks_missing_since_ + std::chrono::seconds{10}
                                : Duration{};
  }

  Alerts alerts_;
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

/// For FeedOptions::notices: the page shows the alerts of the default rules, of each balancer.
/// *Errors* ConfigError: see default_rules().
[[nodiscard]] inline std::function<std::vector<observe::Notice>(std::span<observe::Snapshot const>)>
alert_notices(Objectives const& objectives = {}) {
  AlertWatch const fresh{default_rules(objectives)};
  return [fresh, watches = std::vector<AlertWatch>{}](
             std::span<observe::Snapshot const> readings) mutable {
    watches.resize(readings.size(), fresh);
    std::vector<observe::Notice> notices;
    for (std::size_t i = 0; i < readings.size(); ++i) {
      watches[i].update(readings[i]);
      std::ranges::move(notices_of(watches[i], readings[i].balancer), std::back_inserter(notices));
    }
    return notices;
  };
}

}  // namespace poise::inline v0_1_0::analysis
