// SPDX-License-Identifier: MIT
#pragma once

// The state of a backend that every health monitor keeps, for any criteria.

#include <cstdint>
#include <limits>
#include <optional>
#include <string>

#include <poise/backend.hpp>
#include <poise/health/criteria.hpp>
#include <poise/health/journal.hpp>
#include <poise/health/machine.hpp>
#include <poise/health/phase.hpp>
#include <poise/observer.hpp>
#include <poise/sync/relaxed.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::health::detail {

/// A backend's recent results.
enum class Activity : std::uint8_t {
  idle,     // no recent result
  serving,  // the last verdict was a success
  failing,  // the last verdict was a failure
};

/// A conviction that the cap held back.
struct HeldBack {
  std::string cause{};
  Finding finding{};
  std::uint64_t successes = 0;  // so far
};

/// *Threads* the Relaxed numbers: any; the rest: under the balancer's lock. Times that requests
/// write are the clock's; others are the monitor's own, which never runs backwards.
struct Member {
  static constexpr auto never = std::numeric_limits<std::int64_t>::min();

  sync::Relaxed<Phase> phase{};
  sync::Relaxed<std::uint32_t> run{};    // failures since the last success
  sync::Relaxed<std::uint32_t> noted{};  // above 0: a notice waits for the next review
  sync::Relaxed<bool> rejecting{};       // was ejected for rejecting requests
  sync::Relaxed<std::int64_t> run_began{};
  sync::Relaxed<std::int64_t> failed_at{never};
  sync::Relaxed<std::int64_t> recovered_at{never};  // the last success that ended a run
  sync::Relaxed<std::int64_t> probation_began{};
  sync::Relaxed<std::uint32_t> before_trial{};  // in flight since before the probation

  bool known = false;          // a tick has seen it
  std::uint64_t replaced = 0;  // the turn in which it replaced another backend of its id
  Machine machine{};
  HealthState published = HealthState::healthy;  // as this monitor last published it
  Tally at_interval{};
  std::optional<Time> heard_probe{};
  std::string called_down{};         // why, the last time
  std::optional<Outlook> outlook{};  // as it was told to the journal

  // Read at the last tick or review.
  std::uint64_t successes = 0;
  std::uint64_t total = 0;
  std::optional<Time> served_at{};  // of the last read that found a new success
  Time served_since{};              // by the clock: that success is not older than this
  std::optional<Time> asked_at{};   // of the last read that found a new pick
  Activity activity = Activity::idle;

  bool proven = false;                  // fails every request while others of its tier succeed
  bool discounted = false;              // does not count for panic
  bool trickles = false;                // degraded, and gets a few requests only
  std::optional<HeldBack> held_back{};  // why it is degraded

  // Probation.
  bool wants_pick = false;            // no policy picks it by itself
  std::uint32_t trials = 1;           // the limit of concurrent trial requests
  std::optional<Time> trials_full{};  // since when that limit is reached

  // Slow start.
  bool joined_outside = false;  // of the rotation: drained or with weight 0, and still is
  double pace = 0;              // the fraction of picks that it accepts
  double got = 0;               // picks since the pace was set
  double due = 0;               // picks that it should have got
  std::uint64_t total_at_pace = 0;
};

/// Finds the member behind a view. A pointer, because only Monitor knows the type of the state.
using MemberOf = Member& (*)(BackendView const&);

/// True unless the operator drained it or set its weight to 0.
[[nodiscard]] inline bool in_rotation(BackendView const& each) noexcept {
  return !each.drained && each.weight != 0;
}
/// True if the operator declared it unhealthy: the balancer's health differs from the monitor's.
[[nodiscard]] inline bool is_barred(BackendView const& each, Member const& member) noexcept {
  return each.backend.health() == HealthState::unhealthy &&
         member.published != HealthState::unhealthy;
}

}  // namespace poise::inline v0_1_0::health::detail
