// SPDX-License-Identifier: MIT
#pragma once

// The numbers of a balancer at one moment, as plain values: what every format is written from.

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <poise/backend.hpp>
#include <poise/call.hpp>
#include <poise/health/journal.hpp>
#include <poise/health/phase.hpp>
#include <poise/observe/histogram.hpp>
#include <poise/outcome.hpp>
#include <poise/pool/options.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::observe {

/// Why a request found no backend, as one word.
enum class Refusal : std::uint8_t {
  empty,       ///< No backends are configured.
  limit,       ///< Some may be picked, but are at a limit, filtered out, or not what was asked for.
  unhealthy,   ///< The others are unhealthy.
  drained,     ///< The others are drained by an operator.
  weightless,  ///< All have weight 0.
  closed,      ///< The balancer is gone.
};
inline constexpr std::size_t refusal_count = 6;

[[nodiscard]] constexpr std::string_view name(Refusal refusal) noexcept {
  constexpr std::array<std::string_view, refusal_count> names{"empty",   "limit",      "unhealthy",
                                                              "drained", "weightless", "closed"};
  auto const index = static_cast<std::size_t>(refusal);
  return index < names.size() ? names[index] : "unknown refusal";
}

/// The requests of one backend, of several, or of all. Completed requests never decrease.
struct Requests {
  std::array<std::uint64_t, result_count> completed{};  ///< By Result.
  std::uint64_t in_flight = 0;

  [[nodiscard]] std::uint64_t all_completed() const noexcept {
    std::uint64_t sum = 0;
    for (auto const count : completed) sum += count;
    return sum;
  }
  /// Those that the backends are to blame for.
  [[nodiscard]] std::uint64_t all_failures() const noexcept {
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < result_count; ++i)
      if (is_failure(static_cast<Result>(i))) sum += completed[i];
    return sum;
  }
};

/// Latencies of attempts: how many and how long together never decrease.
struct LatencySummary {
  std::uint64_t count = 0;
  double sum_s = 0;
  Percentiles recent{};
};

/// One backend by name.
struct BackendSnapshot {
  std::string id{};
  std::string address{};
  std::string zone{};
  std::uint32_t tier = 0;
  Requests requests{};
  LatencySummary latency{};
  HealthState health{};
  bool declared = false;  ///< `health` is what the operator says, Balancer::set_health().
  health::Phase phase{};  ///< As a health monitor of the same runtime told.
  /// How it came into its phase: since when, why, and how long it takes. Null if it never left
  /// `healthy`.
  std::shared_ptr<health::Transition const> transition{};
  bool drained = false;
  /// When the operator drained it or declared its health: the reading that found it so.
  std::optional<Time> held_since{};
  std::uint32_t weight = 0;         ///< As picks see it; 0 if drained.
  double admitted = 1;              ///< The fraction of its picks that it accepts: slow start.
  std::uint32_t max_in_flight = 0;  ///< 2^23 if there is no limit.
  /// The fraction of all requests that weights, health and slow start intend for it. Keyed policies
  /// and filters choose otherwise.
  double intended_share = 0;
  /// The fraction of all keys whose first choice it is now: of keyed policies, with
  /// ReaderOptions::arc_shares.
  std::optional<double> arc_share{};
  double observed_share = 0;  ///< The fraction of all requests that it completed recently.
  std::optional<BucketCounts> attempts{};  ///< With ReaderOptions::histograms.
  std::optional<pool::Numbers> pool{};     ///< Of its connection pool, if its payload is one.
};

/// A health decision that took a backend out, or would have.
struct Ejections {
  std::string cause{};
  std::string enforcement{};  ///< "enforced", "watched", "capped" or "together".
  std::uint64_t count = 0;
};

/// How many backends there are, each counted once, under the first that holds.
struct BackendCounts {
  std::uint64_t drained = 0;
  std::uint64_t unhealthy = 0;
  std::uint64_t degraded = 0;
  std::uint64_t healthy = 0;
  [[nodiscard]] std::uint64_t all() const noexcept {
    return drained + unhealthy + degraded + healthy;
  }
};

/// When a balancer was found to be gone.
struct Gone {
  Time since{};  ///< By its clock, which the steady clock has replaced.
  std::chrono::system_clock::time_point wall{};
};

/// What only the balancer itself knows.
struct BalancerFacts {
  std::string policy{};        ///< Empty once the balancer is gone.
  std::optional<Gone> gone{};  ///< Its other numbers are then the last ones.
  std::uint64_t retired_snapshots = 0;
  std::uint64_t stranded_snapshots = 0;
  std::uint64_t observer_failures = 0;
  bool ticks_missing = false;
  bool panicking = false;
  /// A panic rules, and backends that are ill are picked. Not if it is closed, or if all that are
  /// ill were declared so.
  bool panic_opens = false;
};

/// The retry budget's last second.
struct BudgetUse {
  std::string name{};
  std::uint64_t requests = 0;
  std::uint64_t retries = 0;
  std::uint64_t hedges = 0;
};

struct Snapshot {
  std::string balancer{};
  Time at{};
  BalancerFacts facts{};
  std::vector<BackendSnapshot> backends{};  ///< Those that have a name, in configured order.
  Requests other{};                         ///< All the rest, also what left.
  LatencySummary other_latency{};
  std::uint64_t unlisted = 0;  ///< How many backends `other` stands for now.
  /// Up to 20 of these that are unhealthy or degraded, for people. Their counts are in `other`, and
  /// begin anew when a backend is replaced.
  std::vector<BackendSnapshot> unlisted_ill{};
  BackendCounts set{};
  std::uint64_t set_changes = 0;
  std::uint64_t fingerprint = 0;  ///< Of ids and addresses, 53 bits; the same in any order.

  Requests requests{};  ///< Of all, also what left.
  bool measures_latency = false;
  unsigned sampling = 0;    ///< One latency in 2^sampling is counted.
  BucketCounts attempts{};  ///< Latencies of all attempts, ever.
  double attempts_sum_s = 0;
  Percentiles last_10s{};
  Percentiles last_60s{};
  BucketCounts calls{};  ///< Of calls that failed or needed more than one attempt.
  double calls_sum_s = 0;

  std::array<std::uint64_t, refusal_count> refusals{};
  std::array<std::uint64_t, stop_reason_count> stopped_calls{};  ///< By StopReason; as `calls`.
  std::uint64_t retries = 0;
  std::uint64_t hedges = 0;
  std::uint64_t hedges_won = 0;
  std::vector<Ejections> ejections{};
  std::vector<BudgetUse> budgets{};
  std::optional<pool::Numbers> pools{};  ///< Of all connection pools, also of those that are gone.

  [[nodiscard]] std::uint64_t all_refusals() const noexcept {
    return std::accumulate(refusals.begin(), refusals.end(), std::uint64_t{0});
  }
};

/// How many backends of each state are not among these, which are of the snapshot.
[[nodiscard]] inline BackendCounts all_but(BackendCounts rest,
                                           std::span<BackendSnapshot const> listed) noexcept {
  for (auto const& each : listed) {
    auto& count = each.drained                            ? rest.drained
                  : each.health == HealthState::unhealthy ? rest.unhealthy
                  : each.health == HealthState::degraded  ? rest.degraded
                                                          : rest.healthy;
    if (count > 0) --count;  // one may have changed between the two readings
  }
  return rest;
}

}  // namespace poise::inline v0_1_0::observe
