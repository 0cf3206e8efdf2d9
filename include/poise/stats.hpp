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

namespace poise::inline v0_1_0 {

/// The numbers of one backend, copied.
struct BackendStats {
  std::string id{};
  std::string address{};
  std::string zone{};
  std::uint32_t tier = 0;
  std::uint32_t weight = 0;           ///< Before rules change it.
  std::uint32_t endpoint_weight = 0;  ///< As configured or discovered.
  bool weight_is_set = false;         ///< By the operator: updates don't change the weight.
  std::uint64_t serial = 0;
  // Summed over all backends that had this id since it was added. These numbers never decrease;
  // total is the sum of in_flight and all results.
  std::uint32_t in_flight = 0;
  std::uint64_t total = 0;   ///< Picked or recorded, completed or not.
  std::uint64_t failed = 0;  ///< By the backend's fault.
  std::array<std::uint64_t, result_count>
      results{};                       ///< By Result; success is not counted: see ended().
  std::optional<Duration> latency{};   ///< Decayed mean; empty if latency is not measured.
  std::optional<double> error_rate{};  ///< Decayed, 0 to 1; empty before the first verdict.
  HealthState health = HealthState::healthy;
  bool drained = false;
  Admission admission{};
  std::uint64_t reached = 0;  ///< Backend::reached()

  /// Requests with this result. Successes are the rest of the total.
  [[nodiscard]] std::uint64_t ended(Result result) const noexcept {
    if (result != Result::success) return results[static_cast<std::size_t>(result)];
    std::uint64_t others = in_flight;
    for (auto const count : results) others += count;
    return total > others ? total - others : 0;
  }

  [[nodiscard]] static BackendStats of(Backend const& backend) {
    BackendStats stats{.id = backend.id(),
                       .address = backend.address(),
                       .zone = backend.zone(),
                       .tier = backend.tier(),
                       .weight = backend.weight(),
                       .endpoint_weight = backend.endpoint_weight(),
                       .weight_is_set = backend.weight_is_set(),
                       .serial = backend.serial(),
                       .latency = backend.latency(),
                       .error_rate = backend.error_rate(),
                       .health = backend.health(),
                       .drained = backend.drained(),
                       .admission = backend.admission(),
                       .reached = backend.reached()};
    auto const counts = backend.counts();
    stats.in_flight = static_cast<std::uint32_t>(counts.in_flight);
    stats.total = counts.total;
    for (std::size_t result = 1; result < result_count; ++result) {
      stats.results[result] = counts.results[result];
      if (is_failure(static_cast<Result>(result))) stats.failed += counts.results[result];
    }
    return stats;
  }
};

struct Stats {
  std::string policy{};                  ///< The name of the policy in use.
  std::vector<BackendStats> backends{};  ///< In configured order.
  std::size_t retired_snapshots = 0;     ///< Replaced, but perhaps still being read.
  std::size_t stranded_snapshots = 0;    ///< Kept for ever: the kernel refuses membarrier.
  /// A health monitor gets no ticks, or got none for a long time: see poise::Ticker.
  bool ticks_missing = false;
  /// Uses that are probably not meant, as sentences: retries without calls, keyed policies
  /// without keys, missing ticks, and what observers say (observe::LeaseWatch).
  std::vector<std::string> warnings{};
  std::uint64_t observer_failures = 0;  ///< Hooks of observers or of the policy that threw.
};

}  // namespace poise::inline v0_1_0
