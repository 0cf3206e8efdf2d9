// SPDX-License-Identifier: MIT
#pragma once

// Backends of tier 0 first; those of the next tiers take what the tiers before can't carry.
//
//   poise::Balancer<poise::Failover<poise::P2C>> servers{
//       {{.id = "near", .tier = 0}, {.id = "far", .tier = 1}}};
//
// Use it for a second site, a standby, a dearer provider. With `spill` a tier takes less as soon as
// fewer than 72 % of it are healthy, and the next takes the rest, so that survivors are not crushed;
// with `all_or_nothing` the first tier that has anybody takes everything. Zones that all serve at
// the same time are not tiers: see ZoneAware.
//
// Source: Envoy, priority levels, overprovisioning 140 %. health(tier) = min(100, 140 * healthy /
// total), in whole percent, of N = min(100, the sum of all health); load = health * 100 / N, the
// tiers in order, each at most what remains. Here rounded to the nearest, as Envoy's documentation
// has it (25, 25, 20 % healthy give 36, 36, 28; its code cuts off and gives 37, 35, 28).

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <poise/backend.hpp>
#include <poise/candidates.hpp>
#include <poise/compose/divided.hpp>
#include <poise/policy.hpp>

namespace poise {

struct FailoverOptions {
  enum class Mode : std::uint8_t { spill, all_or_nothing };
  Mode mode = Mode::spill;
};

namespace detail {

struct TierHealth {
  std::uint64_t healthy = 0;
  std::uint64_t total = 0;
};

/// The load of each tier in percent, 100 in all if anybody is healthy.
[[nodiscard]] inline std::vector<std::uint64_t> tier_loads(std::vector<TierHealth> const& tiers) {
  std::vector<std::uint64_t> loads(tiers.size());
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < tiers.size(); ++i) {
    loads[i] = tiers[i].total == 0
                   ? 0
                   : std::min<std::uint64_t>(100, 140 * tiers[i].healthy / tiers[i].total);
    sum += loads[i];
  }
  std::uint64_t const whole = std::min<std::uint64_t>(100, sum);
  std::uint64_t remaining = 100;
  for (auto& load : loads) {
    if (whole != 0) load = std::min(remaining, (load * 100 + whole / 2) / whole);
    remaining -= load;
  }
  // What rounding left over goes to the first that can carry anything; that is somebody healthy even
  // if all are too few to count.
  for (std::size_t i = 0; i < tiers.size(); ++i)
    if (tiers[i].healthy != 0 && (loads[i] != 0 || whole == 0)) {
      loads[i] += remaining;
      break;
    }
  return loads;
}

/// How many of each tier may be picked, of those that nobody took out; tiers in ascending order.
[[nodiscard]] inline std::vector<TierHealth> health_of(std::vector<std::uint32_t> const& tiers,
                                                       Candidates const& candidates) {
  std::vector<TierHealth> result(tiers.size());
  for (std::size_t position = 0; position < candidates.members(); ++position) {
    if (candidates.drained(position) || candidates.member_weight(position) == 0) continue;
    auto const tier =
        std::lower_bound(tiers.begin(), tiers.end(), candidates.member(position).tier());
    auto& health = result[static_cast<std::size_t>(tier - tiers.begin())];
    ++health.total;
    if (candidates.index_of(position) != Candidates::none) ++health.healthy;
  }
  return result;
}

/// The tiers that members are in, in ascending order.
[[nodiscard]] inline std::vector<std::uint32_t> tiers_of(Candidates const& candidates) {
  std::vector<std::uint32_t> tiers;
  for (std::size_t position = 0; position < candidates.members(); ++position)
    tiers.push_back(candidates.member(position).tier());
  std::sort(tiers.begin(), tiers.end());
  tiers.erase(std::unique(tiers.begin(), tiers.end()), tiers.end());
  return tiers;
}

}  // namespace detail

/// Tiers that nobody is in don't count, whatever their numbers. Drained backends and those of weight
/// 0 are no part of a tier's total. A policy that maps keys has its tier drawn by key.
///
/// If a request excludes all of the drawn tier it gets an untried backend of the next. While some
/// backends are degraded the balancer first divides healthy and degraded ones over all tiers, and
/// each of the two spills by itself: see docs/composition.md.
/// *Cost* one more random number while load spills; 40 bytes of plan a backend.
template <class P>
class Failover : public detail::Dividing<P, std::uint32_t> {
  using Base = detail::Dividing<P, std::uint32_t>;

 public:
  using Plan = typename Base::Plan;

  // NOLINTNEXTLINE(*-explicit-*): a default argument of Balancer
  Failover(FailoverOptions options = {}, P inner = {})
      : Base{std::move(inner)}, options_{options} {}

  [[nodiscard]] std::string name() const { return "failover(" + hooks::name(this->inner()) + ")"; }

  [[nodiscard]] Plan plan(Candidates const& candidates, Plan const* before) const {
    auto const tiers = detail::tiers_of(candidates);
    auto plan = this->divide(tiers, candidates, before, [](Backend const& backend, auto tier) {
      return backend.tier() == tier;
    });
    auto loads = detail::tier_loads(detail::health_of(tiers, candidates));
    if (options_.mode == FailoverOptions::Mode::all_or_nothing) {
      bool taken = false;
      for (std::size_t i = 0; i < loads.size(); ++i) {
        loads[i] = !taken && plan.groups[i].part.size() != 0 ? 100 : 0;
        taken = taken || loads[i] != 0;
      }
    }
    Base::share(plan, loads);
    return plan;
  }

 private:
  FailoverOptions options_;
};

}  // namespace poise
