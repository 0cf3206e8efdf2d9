// SPDX-License-Identifier: MIT
#pragma once

// Backends of tier 0 first; later tiers take the traffic that earlier tiers cannot carry.
//
//   poise::Balancer<poise::Failover<poise::P2C>> servers{
//       {{.id = "near", .tier = 0}, {.id = "far", .tier = 1}}};
//
// Use it for a second site, a standby, a more expensive provider. With `spill` a tier takes less as
// soon as fewer than 72 % of it are healthy, and the next tier takes the rest, so that the healthy
// backends are not overloaded. With `all_or_nothing` the first tier with a healthy backend takes
// everything. Zones that all serve at the same time are not tiers: see ZoneAware.
//
// Source: Envoy, priority levels. base/overprovision.hpp has the formula; each tier gets at most
// what remains of 100 %.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <poise/backend.hpp>
#include <poise/base/overprovision.hpp>
#include <poise/candidates.hpp>
#include <poise/compose/partition.hpp>
#include <poise/compose/planned_subset.hpp>
#include <poise/compose/wrapper.hpp>
#include <poise/fwd.hpp>
#include <poise/policy.hpp>

namespace poise::inline v0_1_0 {

/// How load moves from one tier to the next.
struct FailoverOptions {
  enum class Mode : std::uint8_t { spill, all_or_nothing };
  Mode mode = Mode::spill;
};

namespace detail {

struct TierHealth {
  std::uint64_t healthy = 0;
  std::uint64_t total = 0;
};

/// The load of each tier in percent: 100 in all if any backend is healthy.
[[nodiscard]] inline std::vector<std::uint64_t> tier_loads(std::vector<TierHealth> const& tiers) {
  std::vector<std::uint64_t> loads(tiers.size());
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < tiers.size(); ++i)
    sum += loads[i] = capacity_percent(tiers[i].healthy, tiers[i].total);
  std::uint64_t remaining = 100;
  for (auto& load : loads) {
    if (sum != 0) load = std::min(remaining, load_percent(load, sum));
    remaining -= load;
  }
  // The rest that rounding leaves goes to the first tier with a load. If there is none, because too
  // few are healthy to make a percent, it goes to the first tier with a healthy backend.
  for (std::size_t i = 0; i < tiers.size(); ++i)
    if (tiers[i].healthy != 0 && (loads[i] != 0 || sum == 0)) {
      loads[i] += remaining;
      break;
    }
  return loads;
}

/// Eligible backends per tier, of those with a weight that are not drained; tiers in ascending
/// order.
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

/// The load of each tier in percent.
[[nodiscard]] inline std::vector<std::uint64_t> loads_of(std::vector<TierHealth> const& tiers,
                                                         FailoverOptions::Mode mode) {
  if (mode == FailoverOptions::Mode::spill) return tier_loads(tiers);
  std::vector<std::uint64_t> loads(tiers.size());
  auto const first = std::find_if(tiers.begin(), tiers.end(),
                                  [](TierHealth const& tier) { return tier.healthy != 0; });
  if (first != tiers.end()) loads[static_cast<std::size_t>(first - tiers.begin())] = 100;
  return loads;
}

}  // namespace detail

/// One policy, with a copy for each tier. Tier numbers need not be consecutive. Drained backends
/// and backends of weight 0 do not count in a tier's total. For a keyed policy the key selects the
/// tier.
///
/// A request that excludes all backends of the drawn tier gets an untried backend of the next tier.
/// While some backends are degraded the balancer first divides traffic between healthy and degraded
/// ones over all tiers, and each of the two groups spills by itself: see docs/composition.md.
/// *Cost* one more random number while load spills; 40 bytes of plan per backend.
template <class P>
class Failover<P, void> : public detail::PartitionedPolicy<P, std::uint32_t> {
  using Base = detail::PartitionedPolicy<P, std::uint32_t>;

 public:
  using Plan = typename Base::Plan;

  // NOLINTNEXTLINE(*-explicit-*): a default argument of Balancer
  Failover(FailoverOptions options = {}, P inner = detail::default_policy<P>())
      : Base{std::move(inner)}, options_{options} {}

  [[nodiscard]] std::string name() const { return "failover(" + hooks::name(this->inner()) + ")"; }

  [[nodiscard]] Plan plan(Candidates const& candidates, Plan const* before) const {
    auto const tiers = detail::tiers_of(candidates);
    auto plan = this->divide(tiers, candidates, before, [](Backend const& backend, auto tier) {
      return backend.tier() == tier;
    });
    Base::set_loads(plan, detail::loads_of(detail::health_of(tiers, candidates), options_.mode));
    return plan;
  }

 private:
  FailoverOptions options_;
};

/// Two policies: the primary for the first tier that has backends, the secondary for all other
/// tiers together. The secondary may be a Failover itself: Failover<A, Failover<B, C>>. The primary
/// decides on retries and timeouts if it has those hooks, otherwise the secondary.
template <class Primary, class Secondary>
class Failover : public detail::Several<Primary, Secondary> {
  using Base = detail::Several<Primary, Secondary>;
  using Step = typename Base::Step;

 public:
  struct Plan {
    detail::PlannedSubset<Primary> first{};
    detail::PlannedSubset<Secondary> rest{};
    std::uint64_t load = 0;  // of the first, in percent
    bool keyed = false;
    std::uint64_t salt = 0;
  };

  // NOLINTNEXTLINE(*-explicit-*): a default argument of Balancer
  Failover(FailoverOptions options = {}, Primary primary = detail::default_policy<Primary>(),
           Secondary secondary = detail::default_policy<Secondary>())
      : Base{std::move(primary), std::move(secondary)}, options_{options} {}

  [[nodiscard]] Primary const& primary() const noexcept { return this->template child<0>(); }
  [[nodiscard]] Secondary const& secondary() const noexcept { return this->template child<1>(); }
  [[nodiscard]] std::string name() const {
    return "failover(" + hooks::name(primary()) + ", " + hooks::name(secondary()) + ")";
  }

  [[nodiscard]] Plan plan(Candidates const& candidates, Plan const* before) const {
    auto const tiers = detail::tiers_of(candidates);
    auto const health = detail::health_of(tiers, candidates);
    std::vector<detail::TierHealth> two{health[0], {}};
    for (std::size_t tier = 1; tier < health.size(); ++tier) {
      two[1].healthy += health[tier].healthy;
      two[1].total += health[tier].total;
    }
    auto const is_first = [&](Backend const& backend) { return backend.tier() == tiers[0]; };
    auto const is_other = [&](Backend const& backend) { return !is_first(backend); };
    Plan plan;
    plan.first = subset<0>(candidates, is_first, before ? &before->first : nullptr);
    plan.rest = subset<1>(candidates, is_other, before ? &before->rest : nullptr);
    plan.load = detail::loads_of(two, options_.mode)[0];
    plan.keyed = this->traits().keyed;
    plan.salt = tiers[0];
    return plan;
  }

  [[gnu::always_inline]] std::size_t pick(Plan const& plan, Candidates const&,
                                          Context& context) const {
    auto const path = context.path;
    auto* const trace = context.trace();  // read here, where it is known to be null
    auto const depth = trace == nullptr ? 0 : trace->depth();
    bool const drawn =
        plan.load == 100 ||
        (plan.load != 0 && detail::draw_below(100, plan.keyed, plan.salt, context) < plan.load);
    for (bool const first : {drawn, !drawn}) {
      if (trace != nullptr) [[unlikely]]
        trace->narrow(Candidates{first ? plan.first.roster() : plan.rest.roster()},
                      LeftOutBy::tier);
      auto const i =
          first ? plan.first.pick(primary(), context) : plan.rest.pick(secondary(), context);
      if (i != Candidates::none) [[likely]] {
        Step::push(context.path, first ? 0 : 1);
        return i;
      }
      context.path = path;  // no usable backend there
      context.note_asked();
      if (trace != nullptr) [[unlikely]]
        trace->widen(depth);
    }
    return Candidates::none;
  }

  [[nodiscard]] bool admit(Plan const& plan, Candidates const&, std::size_t i,
                           std::uint32_t in_flight, Context& context) const
    requires(hooks::has_admit<Primary> || hooks::has_admit<Secondary>)
  {
    auto const path = context.path;
    (void)Step::pop(context.path);
    bool const first = plan.first.holds(i);
    if (first ? plan.first.admit(primary(), i, in_flight, context)
              : plan.rest.admit(secondary(), i, in_flight, context)) {
      Step::push(context.path, first ? 0 : 1);
      return true;
    }
    context.path = path;
    return false;
  }

  [[nodiscard]] Decision decide(Attempt const& attempt) const
    requires(hooks::has_decide<Primary> || hooks::has_decide<Secondary>)
  {
    if constexpr (hooks::has_decide<Primary>) return hooks::decide(primary(), attempt);
    else return hooks::decide(secondary(), attempt);
  }
  [[nodiscard]] CallTimeouts timeouts(Request const& request) const
    requires(hooks::has_timeouts<Primary> || hooks::has_timeouts<Secondary>)
  {
    if constexpr (hooks::has_decide<Primary>) return hooks::timeouts(primary(), request);
    else return hooks::timeouts(secondary(), request);
  }

 private:
  template <std::size_t Number, class Keep, class Subset>
  [[nodiscard]] Subset subset(Candidates const& candidates, Keep const& keep,
                              Subset const* before) const {
    auto const own = Base::own_roster(candidates, Number);
    return Subset{this->template child<Number>(), own ? Candidates{*own} : candidates, keep,
                  before};
  }

  FailoverOptions options_;
};

template <class P>
Failover(FailoverOptions, P) -> Failover<P>;

}  // namespace poise::inline v0_1_0
