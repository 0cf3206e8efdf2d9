// SPDX-License-Identifier: MIT
#pragma once

// A balancer's numbers as plain values, in the order in which its backends were configured.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <poise/backend.hpp>
#include <poise/outcome.hpp>

namespace poise {

struct BackendStats {
  std::string id{};
  std::string address{};
  std::string zone{};
  std::uint32_t tier = 0;
  std::uint32_t weight = 0;
  std::uint64_t serial = 0;
  std::uint32_t in_flight = 0;
  std::uint64_t total = 0;   ///< Picked or recorded, finished or not.
  std::uint64_t failed = 0;  ///< By the backend's fault.
  std::array<std::uint64_t, ending_count>
      endings{};                       ///< By Ending; success is not counted: see below.
  std::optional<Duration> latency{};   ///< Decayed mean; empty if nobody measures.
  std::optional<double> error_rate{};  ///< Decayed, 0 to 1; empty before the first verdict.
  HealthState health = HealthState::healthy;
  bool drained = false;
  Admission admission{};

  /// Requests that ended so. Successes are what is left of the total.
  [[nodiscard]] std::uint64_t ended(Ending ending) const noexcept {
    if (ending != Ending::success) return endings[static_cast<std::size_t>(ending)];
    std::uint64_t others = in_flight;
    for (auto const count : endings) others += count;
    return total > others ? total - others : 0;
  }

  [[nodiscard]] static BackendStats of(Backend const& backend) {
    BackendStats stats{.id = backend.id(),
                       .address = backend.address(),
                       .zone = backend.zone(),
                       .tier = backend.tier(),
                       .weight = backend.weight(),
                       .serial = backend.serial(),
                       .in_flight = backend.in_flight(),
                       .total = backend.total(),
                       .failed = backend.failed(),
                       .latency = backend.latency(),
                       .error_rate = backend.error_rate(),
                       .health = backend.health(),
                       .drained = backend.drained(),
                       .admission = backend.admission()};
    for (std::size_t ending = 0; ending < ending_count; ++ending)
      stats.endings[ending] = backend.ended(static_cast<Ending>(ending));
    return stats;
  }
};

struct Stats {
  std::string policy{};                  ///< The name of the policy in use.
  std::vector<BackendStats> backends{};  ///< In configured order.
  std::size_t retired_snapshots = 0;     ///< Replaced, but perhaps still being read.
  std::size_t stranded_snapshots = 0;    ///< Kept for ever: the kernel refuses membarrier.
  std::uint64_t observer_failures = 0;   ///< Hooks of observers or of the policy that threw.
};

}  // namespace poise
