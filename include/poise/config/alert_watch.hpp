// SPDX-License-Identifier: MIT
#pragma once

// Evaluates the default alert rules on what a meter counted, and writes alerts as lines.

#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <poise/analysis/alert_watch.hpp>
#include <poise/analysis/alerts.hpp>
#include <poise/analysis/default_rules.hpp>
#include <poise/config/settings.hpp>
#include <poise/observe/feed.hpp>
#include <poise/observe/snapshot.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::config {

/// *Threads* update() one at a time; notices() any. *Errors* ConfigError: settings that make no
/// sense.
class AlertWatch {
 public:
  using Log = std::function<void(std::string const& line)>;

  AlertWatch(AlertSettings const& settings, Log const& log)
      : watch_{objectives(settings),
               {.on_fire = [log](auto const& alert) { log("alert " + message(alert)); },
                .on_clear = [log](auto const& alert) { log("cleared " + message(alert)); }}} {}

  /// `list_age`: since discovery last confirmed the list, if there is a source.
  void update(observe::Snapshot const& now, std::optional<Duration> list_age) {
    watch_.update(now, list_age);
    auto notices = analysis::notices_of(watch_, now.balancer);
    std::scoped_lock const lock{mutex_};
    notices_.swap(notices);
  }
  /// The alerts in progress, as the live page shows them.
  [[nodiscard]] std::vector<observe::Notice> notices() const {
    std::scoped_lock const lock{mutex_};
    return notices_;
  }

 private:
  static analysis::Objectives objectives(AlertSettings const& settings) {
    analysis::Objectives result{.success = settings.success, .list_age = settings.list_age};
    if (settings.latency > Duration::zero()) result.latency = settings.latency;
    return result;
  }

  analysis::AlertWatch watch_;
  mutable std::mutex mutex_;  // of notices_
  std::vector<observe::Notice> notices_{};
};

}  // namespace poise::inline v0_1_0::config
