// SPDX-License-Identifier: MIT
#pragma once

// Evaluates the default alert rules on what a meter counted, and writes alerts as lines.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/analysis/alerts.hpp>
#include <poise/analysis/default_rules.hpp>
#include <poise/base/check.hpp>
#include <poise/config/settings.hpp>
#include <poise/observe/snapshot.hpp>
#include <poise/outcome.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::config {

/// *Threads* one at a time. *Errors* ConfigError: settings that make no sense.
class AlertWatch {
 public:
  using Log = std::function<void(std::string const& line)>;

  AlertWatch(AlertSettings const& settings, Log const& log)
      : alerts_{
            analysis::default_rules(objectives(settings)),
            {.on_fire = [log](analysis::Alert const& alert) { log(line("alert ", alert)); },
             .on_clear = [log](analysis::Alert const& alert) { log(line("cleared ", alert)); }}} {}

  /// `list_age`: since discovery last confirmed the list, if there is a source.
  void update(observe::Snapshot const& now, std::optional<Duration> list_age) {
    std::vector<std::string_view> unhealthy;
    for (auto const& each : now.backends)
      if (each.health == HealthState::unhealthy) unhealthy.emplace_back(each.id);
    Totals const totals = totals_of(now);
    if (before_)
      alerts_.update({.now = now.at,
                      .requests = totals.requests - before_->requests,
                      .failures = totals.failures - before_->failures,
                      .backends = static_cast<std::size_t>(now.set.all()),
                      .healthy = static_cast<std::size_t>(now.set.healthy + now.set.degraded),
                      .ejections = totals.ejections - before_->ejections,
                      .panic = now.facts.panicking,
                      .latency = seconds(now.last_60s.p99),
                      .list_age = list_age,
                      .unhealthy = unhealthy});
    before_ = totals;
  }

 private:
  /// What never decreases.
  struct Totals {
    std::uint64_t requests = 0;
    std::uint64_t failures = 0;
    std::uint64_t ejections = 0;
  };

  static analysis::Objectives objectives(AlertSettings const& settings) {
    analysis::Objectives result{.success = settings.success, .list_age = settings.list_age};
    if (settings.latency > Duration::zero()) result.latency = settings.latency;
    return result;
  }
  static std::optional<double> seconds(std::optional<Duration> time) {
    if (!time) return std::nullopt;
    return std::chrono::duration<double>{*time}.count();
  }
  static Totals totals_of(observe::Snapshot const& now) {
    Totals totals{.requests = now.requests.all_completed()};
    for (std::size_t i = 0; i < result_count; ++i)
      if (is_failure(static_cast<Result>(i))) totals.failures += now.requests.completed[i];
    for (auto const& each : now.ejections)
      if (each.enforcement == "enforced") totals.ejections += each.count;
    return totals;
  }
  static std::string line(char const* what, analysis::Alert const& alert) {
    auto text = what + alert.group + ":";
    for (auto const& each : alert.rules)
      text += " " + each.rule + " (" + poise::detail::in_words(each.value) + ", limit " +
              poise::detail::in_words(each.limit) + "): " + each.advice + ";";
    text.pop_back();
    return text;
  }

  analysis::Alerts alerts_;
  std::optional<Totals> before_{};
};

}  // namespace poise::inline v0_1_0::config
