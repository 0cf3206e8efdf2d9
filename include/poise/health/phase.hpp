// SPDX-License-Identifier: MIT
#pragma once

// The one state machine of a backend's health, as a table: in which phase what leads where.
//
//   healthy     picked like any other
//   suspect     picked like any other; something spoke against it that was not enough, or was only
//               to be watched: probes come faster
//   degraded    picked for what healthy ones can't carry: mildly ill, or too many are out already
//   ejected     not picked, until its time is over and probes do not call it down
//   probation   one trial request at a time, whose result decides
//   slow_start  picked for a growing fraction
//
// Criteria, probes and report_health send signals; nothing else moves a backend. A signal that is
// not in the table for a phase changes nothing.

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include <poise/backend.hpp>

namespace poise::inline v0_1_0::health {

enum class Phase : std::uint8_t { healthy, suspect, degraded, ejected, probation, slow_start };

inline constexpr std::size_t phase_count = 6;

/// What moves a backend from one phase to the next.
enum class Signal : std::uint8_t {
  doubt,     ///< Something spoke against it, without consequence.
  degrade,   ///< It is to get less.
  eject,     ///< It is to be taken out, and may be: the cap allows it.
  served,    ///< The time of its phase is over.
  passed,    ///< A trial request succeeded, or a backend that the cap protects recovered.
  failed,    ///< A request on probation failed.
  down,      ///< Probes can't reach it.
  up,        ///< Probes can.
  appeared,  ///< It joined a set that was running.
};

inline constexpr std::size_t signal_count = 9;

[[nodiscard]] constexpr std::string_view name(Phase phase) noexcept {
  constexpr std::array<std::string_view, phase_count> names{"healthy", "suspect",   "degraded",
                                                            "ejected", "probation", "slow start"};
  auto const index = static_cast<std::size_t>(phase);
  return index < names.size() ? names[index] : "unknown phase";
}

[[nodiscard]] constexpr std::string_view name(Signal signal) noexcept {
  constexpr std::array<std::string_view, signal_count> names{
      "doubt", "degrade", "eject", "served", "passed", "failed", "down", "up", "appeared"};
  auto const index = static_cast<std::size_t>(signal);
  return index < names.size() ? names[index] : "unknown signal";
}

/// One step of the machine.
struct Step {
  Phase from;
  Signal signal;
  Phase to;
};

/// All of them.
inline constexpr std::array<Step, 23> steps{{
    {Phase::healthy, Signal::doubt, Phase::suspect},
    {Phase::healthy, Signal::degrade, Phase::degraded},
    {Phase::healthy, Signal::eject, Phase::ejected},
    {Phase::healthy, Signal::down, Phase::ejected},
    {Phase::healthy, Signal::appeared, Phase::slow_start},
    {Phase::suspect, Signal::served, Phase::healthy},
    {Phase::suspect, Signal::up, Phase::healthy},
    {Phase::suspect, Signal::degrade, Phase::degraded},
    {Phase::suspect, Signal::eject, Phase::ejected},
    {Phase::suspect, Signal::down, Phase::ejected},
    {Phase::degraded, Signal::served, Phase::healthy},
    {Phase::degraded, Signal::passed, Phase::healthy},
    {Phase::degraded, Signal::eject, Phase::ejected},
    {Phase::degraded, Signal::down, Phase::ejected},
    {Phase::ejected, Signal::served, Phase::probation},
    {Phase::ejected, Signal::up, Phase::probation},
    {Phase::probation, Signal::passed, Phase::slow_start},
    {Phase::probation, Signal::failed, Phase::ejected},
    {Phase::probation, Signal::down, Phase::ejected},
    {Phase::slow_start, Signal::served, Phase::healthy},
    {Phase::slow_start, Signal::degrade, Phase::degraded},
    {Phase::slow_start, Signal::eject, Phase::ejected},
    {Phase::slow_start, Signal::down, Phase::ejected},
}};

/// Where a signal leads; the same phase if it changes nothing.
[[nodiscard]] constexpr Phase next(Phase phase, Signal signal) noexcept {
  for (auto const& step : steps)
    if (step.from == phase && step.signal == signal) return step.to;
  return phase;
}

/// What the world sees of a phase.
[[nodiscard]] constexpr HealthState public_state(Phase phase) noexcept {
  if (phase == Phase::ejected) return HealthState::unhealthy;
  return phase == Phase::degraded ? HealthState::degraded : HealthState::healthy;
}

/// Not carrying its share: ejected, or only on probation.
[[nodiscard]] constexpr bool is_out(Phase phase) noexcept {
  return phase == Phase::ejected || phase == Phase::probation;
}

}  // namespace poise::inline v0_1_0::health
