// SPDX-License-Identifier: MIT
#pragma once

// The [load_reports] of a configuration as an observer, which can be changed while requests run.

#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include <poise/backend.hpp>
#include <poise/config/settings.hpp>
#include <poise/observer.hpp>
#include <poise/sync/relaxed.hpp>
#include <poise/time.hpp>
#include <poise/weighted_by_reports.hpp>

namespace poise::inline v0_1_0::config {

/// A handle: copies share the settings. *Threads* any. Changes take effect at the next tick.
class LoadReports {
 public:
  using State = WeightedByReports::State;

  // NOLINTNEXTLINE(*-explicit-*): settings stand for it in a list of observers
  LoadReports(LoadReportSettings const& settings = {}) { set(settings); }

  /// *Errors* ConfigError.
  void set(LoadReportSettings const& settings) const {
    std::optional<WeightedByReports> rule;
    if (settings.enabled) rule.emplace(settings.weights);
    std::scoped_lock const lock{shared_->mutex};
    shared_->rule = std::move(rule);
    shared_->enabled.store(settings.enabled);
    shared_->error_penalty.store(settings.weights.error_penalty);
  }

  void on_load_report(Reported const& reported, State& state) const noexcept {
    if (shared_->enabled.load())
      WeightedByReports::note(reported.report, shared_->error_penalty.load(), state);
  }
  [[nodiscard]] bool on_tick(Time now, std::span<BackendView> all) const {
    std::scoped_lock const lock{shared_->mutex};
    return shared_->rule ? shared_->rule->on_tick(now, all) : WeightedByReports::forget(all);
  }
  void arrange(std::span<BackendView> all) const { WeightedByReports::arrange(all); }
  [[nodiscard]] std::string warning(Backend const& backend, State const& state, Time now) const {
    return WeightedByReports::warning(backend, state, now);
  }

 private:
  struct Shared {
    std::mutex mutex{};
    std::optional<WeightedByReports> rule{};
    sync::Relaxed<bool> enabled{false};
    sync::Relaxed<double> error_penalty{1};
  };
  std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();
};

}  // namespace poise::inline v0_1_0::config
