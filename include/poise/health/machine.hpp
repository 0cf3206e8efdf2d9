// SPDX-License-Identifier: MIT
#pragma once

// One backend's way through the phases: the table of phase.hpp, with times.
//
// Pure: it reads no clock and draws no chance, so that every run can be replayed. A balancer isn't
// needed either.

#include <algorithm>
#include <cstdint>
#include <optional>

#include <poise/health/options.hpp>
#include <poise/health/phase.hpp>
#include <poise/time.hpp>

namespace poise::health {

/// How often a backend was ejected of late, and how long it therefore stays out.
///
/// The n-th ejection takes min(n * base, max); n grows with each and falls by one for each interval
/// that went well. *Source* Envoy, outlier detection: backoff and its decay.
class Recidivism {
 public:
  /// Counts one more, and says how long it takes.
  Duration eject(Duration base, Duration max) noexcept {
    if (base * times_ < max + base) ++times_;
    return std::min(base * times_, std::max(base, max));
  }
  void forgive() noexcept { times_ -= times_ != 0 ? 1U : 0U; }
  [[nodiscard]] std::uint32_t times() const noexcept { return times_; }

 private:
  std::uint32_t times_ = 0;
};

/// *Threads* one at a time.
class Machine {
 public:
  [[nodiscard]] Phase phase() const noexcept { return phase_; }
  [[nodiscard]] Time since() const noexcept { return since_; }
  /// Do probes say that it is down? Then serving its time does not end an ejection.
  [[nodiscard]] bool held() const noexcept { return held_; }
  [[nodiscard]] std::uint32_t ejections() const noexcept { return recidivism_.times(); }
  /// When the phase ends by itself; nothing if it does not.
  [[nodiscard]] std::optional<Time> until() const noexcept { return until_; }

  /// Follows a signal; false if it leads nowhere. `chance` in [0, 1) is for the jitter; `base` how
  /// long a first ejection takes. Probes release only what probes hold: that a port is open again
  /// says nothing about requests that failed.
  bool follow(Signal signal, Time now, Ejection const& ejection, SlowStart const& slow_start,
              double chance = 0, std::optional<Duration> base = {}) {
    if (signal == Signal::up && phase_ == Phase::ejected && !held_) return false;
    if (signal == Signal::down) held_ = true;
    if (signal == Signal::up) held_ = false;
    auto const before = phase_;
    phase_ = next(before, signal);
    if (phase_ == Phase::slow_start && slow_start.window == Duration::zero())
      phase_ = Phase::healthy;
    if (phase_ == before) return extend(signal, now, ejection);
    since_ = now;
    until_.reset();
    if (is_out(before) && !is_out(phase_)) released_ = now;
    if (phase_ == Phase::ejected) {
      auto const time = recidivism_.eject(base.value_or(ejection.base), ejection.max);
      until_ = now + time + part_of(time, ejection.jitter * chance);
    }
    if (phase_ == Phase::suspect || phase_ == Phase::degraded) until_ = now + ejection.base;
    if (phase_ == Phase::slow_start) until_ = now + slow_start.window;
    return true;
  }

  /// Has the phase's time been served?
  [[nodiscard]] bool is_served(Time now) const noexcept {
    return until_ && now >= *until_ && !(phase_ == Phase::ejected && held_);
  }

  /// At the end of each interval: what went well is credited.
  void forgive(Time now, Duration interval) noexcept {
    if (!is_out(phase_) && now - released_ >= interval) recidivism_.forgive();
  }

 private:
  static Duration part_of(Duration time, double share) noexcept {
    return Duration{static_cast<Duration::rep>(static_cast<double>(time.count()) * share)};
  }

  /// A doubt that is raised again lasts longer, and so does a cause to degrade.
  bool extend(Signal signal, Time now, Ejection const& ejection) noexcept {
    bool const again = (phase_ == Phase::suspect && signal == Signal::doubt) ||
                       (phase_ == Phase::degraded && signal == Signal::degrade);
    if (again) until_ = now + ejection.base;
    return false;
  }

  Phase phase_ = Phase::healthy;
  bool held_ = false;
  Time since_{};
  Time released_{};
  std::optional<Time> until_{};
  Recidivism recidivism_{};
};

}  // namespace poise::health
