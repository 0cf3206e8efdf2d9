// SPDX-License-Identifier: MIT
#pragma once

// The limits of a configuration as an observer: a number for all backends, one that adapts, or
// both. They can be changed while requests run.

#include <algorithm>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>

#include <poise/config/settings.hpp>
#include <poise/health/limit.hpp>
#include <poise/observer.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::config {

/// A handle: copies share the settings. *Threads* any. Changes take effect at the next tick.
class Limits {
 public:
  static constexpr bool uses_time = true;
  using State = health::AdaptiveLimit::State;

  // NOLINTNEXTLINE(*-explicit-*): settings stand for it in a list of observers
  Limits(LimitSettings const& settings = {}) { set(settings); }

  /// *Errors* ConfigError.
  void set(LimitSettings const& settings) const {
    std::optional<health::AdaptiveLimit> adaptive;
    if (settings.adapts) adaptive.emplace(settings.adaptive);
    std::scoped_lock const lock{shared_->mutex};
    shared_->max_in_flight = settings.max_in_flight;
    shared_->adaptive = adaptive;
  }

  void on_tick(Time now, std::span<BackendView> all) const {
    std::scoped_lock const lock{shared_->mutex};
    for (auto& each : all)
      each.admission.max_in_flight = std::min(each.admission.max_in_flight, shared_->max_in_flight);
    if (shared_->adaptive) shared_->adaptive->on_tick(now, all);
  }

 private:
  struct Shared {
    std::mutex mutex{};
    std::uint32_t max_in_flight = unlimited;
    std::optional<health::AdaptiveLimit> adaptive{};
  };
  std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();
};

}  // namespace poise::inline v0_1_0::config
