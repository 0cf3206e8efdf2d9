// SPDX-License-Identifier: MIT
#pragma once

// Alerts on what a meter counted, and on the live page.
//
//   poise::observe::add_page(handler, metrics, {.notices = poise::analysis::alert_notices()});
//
// For alerts without a page, call AlertWatch::update() once a second with what a Reader reads.

#include <algorithm>
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
    std::vector<std::string_view> unhealthy;
    for (auto const& each : now.backends)
      if (each.health == HealthState::unhealthy) unhealthy.emplace_back(each.id);
    Totals const totals{now};
    if (before_)
      alerts_.update({.now = now.at,
                      .requests = totals.requests - before_->requests,
                      .failures = totals.failures - before_->failures,
                      .backends = static_cast<std::size_t>(now.set.all()),
                      .healthy = static_cast<std::size_t>(now.set.healthy + now.set.degraded),
                      .ejections = totals.ejections - before_->ejections,
                      .panic = now.facts.panicking,
                      .latency = latency_of(now.last_60s.p99),
                      .list_age = list_age,
                      .unhealthy = unhealthy});
    before_ = totals;
  }
  /// The alerts in progress.
  [[nodiscard]] std::span<Alert const> alerts() const noexcept { return alerts_.alerts(); }

 private:
  /// What never decreases.
  struct Totals {
    explicit Totals(observe::Snapshot const& now) : requests{now.requests.all_completed()} {
      for (std::size_t i = 0; i < result_count; ++i)
        if (is_failure(static_cast<Result>(i))) failures += now.requests.completed[i];
      for (auto const& each : now.ejections)
        if (each.enforcement == "enforced") ejections += each.count;
    }
    std::uint64_t requests;
    std::uint64_t failures = 0;
    std::uint64_t ejections = 0;
  };

  static std::optional<double> latency_of(std::optional<Duration> time) {
    if (!time) return std::nullopt;
    return seconds_of(*time);
  }

  Alerts alerts_;
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
