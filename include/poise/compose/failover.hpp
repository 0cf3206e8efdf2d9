// SPDX-License-Identifier: MIT
#pragma once

// Backends of tier 0 first; those of the next tiers take what the tiers before can't carry.
//
//   poise::Balancer<poise::Failover<poise::P2C>> servers{
//       {{.id = "near", .tier = 0}, {.id = "far", .tier = 1}}};
//
// Use it for a second site, a standby, a dearer provider. With `spill` a tier takes less as soon as
// fewer than 72 % of it are healthy, and the next takes the rest, so that survivors are not
// crushed; with `all_or_nothing` the first tier that has anybody takes everything. Zones that all
// serve at the same time are not tiers: see ZoneAware.
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
#include <poise/compose/forward.hpp>
#include <poise/compose/part.hpp>
#include <poise/fwd.hpp>
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
  // What rounding left over goes to the first that can carry anything; that is somebody healthy
  // even if all are too few to count.
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

namespace detail {

/// The load of each tier, given who may be picked there.
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

/// One policy, a copy for each tier. A tier that nobody is in doesn't count, whatever its number.
/// Drained backends and those of weight 0 are no part of a tier's total. A policy that maps keys
/// has its tier drawn by key.
///
/// If a request excludes all of the drawn tier it gets an untried backend of the next. While some
/// backends are degraded the balancer first divides healthy and degraded ones over all tiers, and
/// each of the two spills by itself: see docs/composition.md.
/// *Cost* one more random number while load spills; 40 bytes of plan a backend.
template <class P>
class Failover<P, void> : public detail::Dividing<P, std::uint32_t> {
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
    Base::share(plan, detail::loads_of(detail::health_of(tiers, candidates), options_.mode));
    return plan;
  }

 private:
  FailoverOptions options_;
};
/// Two policies: the primary for the first tier that anybody is in, the secondary for all others
/// together. It may be a Failover itself: Failover<A, Failover<B, C>>. Retries and timeouts are the
/// primary's business, if it decides on any.
template <class Primary, class Secondary>
class Failover : public detail::Several<Primary, Secondary> {
  using Base = detail::Several<Primary, Secondary>;
  using Step = typename Base::Step;

 public:
  struct Plan {
    detail::Part<Primary> first{};
    detail::Part<Secondary> rest{};
    std::uint64_t load = 0;  // of the first, in percent
    bool keyed = false;
  };

  // NOLINTNEXTLINE(*-explicit-*): a default argument of Balancer
  Failover(FailoverOptions options = {}, Primary primary = {}, Secondary secondary = {})
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
    plan.first = part<0>(candidates, is_first, before ? &before->first : nullptr);
    plan.rest = part<1>(candidates, is_other, before ? &before->rest : nullptr);
    plan.load = detail::loads_of(two, options_.mode)[0];
    plan.keyed = this->keyed();
    return plan;
  }

  [[gnu::always_inline]] std::size_t pick(Plan const& plan, Candidates const&,
                                          Context& context) const {
    auto const path = context.path;
    bool const drawn = plan.load == 100 ||
                       (plan.load != 0 && detail::draw_below(100, plan.keyed, context) < plan.load);
    for (bool const first : {drawn, !drawn}) {
      auto const i =
          first ? plan.first.pick(primary(), context) : plan.rest.pick(secondary(), context);
      if (i != Candidates::none) [[likely]] {
        Step::push(context.path, first ? 0 : 1);
        return i;
      }
      context.path = path;  // nobody whom this request may have
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
  [[nodiscard]] CallLimits limits(Request const& request) const
    requires(hooks::has_limits<Primary> || hooks::has_limits<Secondary>)
  {
    if constexpr (hooks::has_decide<Primary>) return hooks::limits(primary(), request);
    else return hooks::limits(secondary(), request);
  }

 private:
  template <std::size_t Number, class Keep, class Part>
  [[nodiscard]] Part part(Candidates const& candidates, Keep const& keep,
                          Part const* before) const {
    auto const own = Base::own_roster(candidates, Number);
    return Part{this->template child<Number>(), own ? Candidates{*own} : candidates, keep, before};
  }

  FailoverOptions options_;
};

}  // namespace poise
