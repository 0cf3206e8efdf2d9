// SPDX-License-Identifier: MIT
#pragma once

// One backend's way through the phases: the table of phase.hpp, with times.
//
// Pure: it reads no clock and has no random source, so every run can be replayed. It needs no
// balancer.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>

#include <poise/base/saturating.hpp>
#include <poise/health/options.hpp>
#include <poise/health/phase.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::health {

/// How long a backend stays out, by what happened of late.
///
/// The n-th ejection takes min(n * base, max); n grows with each and falls by one for each interval
/// that went well. *Source* Envoy, outlier detection: backoff and its decay.
///
/// Where no connection can be made, the cause is mostly a restart: an ejection takes an eighth of
/// the outage so far, at least `min`; from two minutes on a quarter of what exceeds the first one.
/// So a backend is asked soon after its return, and the number of trials grows with the logarithm
/// of the outage only.
class EjectionBackoff {
 public:
  /// Counts one more ejection, and returns how long it takes.
  Duration eject(Duration base, Duration max) noexcept {
    using poise::detail::saturating_mul;
    if (saturating_mul(base, times_) < poise::detail::saturating_add(max, base)) ++times_;
    return std::min(saturating_mul(base, times_), std::max(base, max));
  }
  /// The same where no connection could be made.
  Duration eject_unreachable(Time now, Duration min, Duration max) noexcept {
    if (!outage_began_) outage_began_ = now;
    auto const outage = poise::detail::saturating_sub(now, *outage_began_);
    auto const time = std::max(outage / 8, (outage - std::chrono::minutes{1}) / 4);
    return std::clamp(time, min, std::max(min, max));
  }
  void forgive() noexcept {
    times_ -= times_ != 0 ? 1U : 0U;
    outage_began_.reset();
  }
  [[nodiscard]] std::uint32_t times() const noexcept { return times_; }

 private:
  std::uint32_t times_ = 0;
  std::optional<Time> outage_began_{};
};

/// *Threads* one at a time.
class Machine {
 public:
  [[nodiscard]] Phase phase() const noexcept { return phase_; }
  [[nodiscard]] Time since() const noexcept { return since_; }
  /// Do probes call it down? Then an ejection does not end with its time.
  [[nodiscard]] bool held() const noexcept { return held_; }
  [[nodiscard]] std::uint32_t ejections() const noexcept { return backoff_.times(); }
  /// When the phase ends by itself; nothing if it does not.
  [[nodiscard]] std::optional<Time> until() const noexcept { return until_; }

  /// Follows a signal; false if it leads nowhere. `random` in [0, 1) is for the jitter;
  /// `unreachable`: the cause is that no connection could be made.
  ///
  /// An ejection that requests began has a time, which probes do not shorten: an open port says
  /// nothing about requests that failed. One that probes began has none. Probes that call an
  /// ejected backend down hold it beyond its time.
  bool follow(Signal signal, Time now, Ejection const& ejection, SlowStart const& slow_start,
              double random = 0, bool unreachable = false) {
    if (signal == Signal::down) held_ = true;
    if (signal == Signal::up) held_ = false;
    if (signal == Signal::up && phase_ == Phase::ejected && until_ && now < *until_) return false;
    auto const before = phase_;
    phase_ = next(before, signal);
    if (phase_ == Phase::slow_start && slow_start.window == Duration::zero())
      phase_ = Phase::healthy;
    if (phase_ == before) return extend(signal, now, ejection);
    since_ = now;
    until_.reset();
    if (is_out(before) && !is_out(phase_)) released_ = now;
    if (phase_ == Phase::ejected && signal != Signal::down)
      until_ = later(now, sentence(now, ejection, random, unreachable));
    if (phase_ == Phase::suspect || phase_ == Phase::degraded) until_ = later(now, ejection.base);
    if (phase_ == Phase::slow_start) until_ = later(now, slow_start.window);
    return true;
  }

  /// Is the phase's time over?
  [[nodiscard]] bool is_served(Time now) const noexcept {
    return until_ && now >= *until_ && !(phase_ == Phase::ejected && held_);
  }

  /// At the end of each interval: what went well is credited.
  void forgive(Time now, Duration interval) noexcept {
    if (!is_out(phase_) && poise::detail::saturating_sub(now, released_) >= interval)
      backoff_.forgive();
  }

 private:
  static Time later(Time now, Duration time) noexcept {
    return poise::detail::saturating_add(now, time);
  }

  [[nodiscard]] Duration sentence(Time now, Ejection const& ejection, double random,
                                  bool unreachable) noexcept {
    auto const time = unreachable
                          ? backoff_.eject_unreachable(now, ejection.unreachable, ejection.max)
                          : backoff_.eject(ejection.base, ejection.max);
    return poise::detail::saturating_add(
        time, poise::detail::saturating_scale(time, ejection.jitter * random));
  }

  /// A doubt that is raised again lasts longer, and so does a cause to degrade.
  bool extend(Signal signal, Time now, Ejection const& ejection) noexcept {
    bool const again = (phase_ == Phase::suspect && signal == Signal::doubt) ||
                       (phase_ == Phase::degraded && signal == Signal::degrade);
    if (again) until_ = later(now, ejection.base);
    return false;
  }

  Phase phase_ = Phase::healthy;
  bool held_ = false;
  Time since_{};
  Time released_{};
  std::optional<Time> until_{};
  EjectionBackoff backoff_{};
};

}  // namespace poise::inline v0_1_0::health
