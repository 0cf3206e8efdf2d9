// SPDX-License-Identifier: MIT
#pragma once

// Picks only backends for which a condition holds: a label, a zone, a tier, or any other test of a
// backend's identity.
//
//   poise::Filter{poise::HasLabel{"disk", "ssd"}, poise::P2C{}}
//   poise::Filter{[](poise::Backend const& b) { return b.id().starts_with("eu-"); }, poise::P2C{}}
//
// Use it to give a class of requests its own backends (PriorityRouter), or a balancer some of the
// backends that discovery finds. A backend that is filtered out is never picked, even if no other
// is left. If a second choice is better than an error, use Failover or ZoneAware.

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include <poise/backend.hpp>
#include <poise/compose/planned_subset.hpp>
#include <poise/compose/wrapper.hpp>
#include <poise/policy/trace.hpp>

namespace poise::inline v0_1_0 {

/// Backends with this label.
struct HasLabel {
  std::string key{};
  std::string value{};
  bool operator()(Backend const& backend) const {
    for (auto const& label : backend.labels())
      if (label.key == key && label.value == value) return true;
    return false;
  }
};

/// Backends in this zone.
struct InZone {
  std::string zone{};
  bool operator()(Backend const& backend) const { return backend.zone() == zone; }
};

/// Backends of this tier.
struct InTier {
  std::uint32_t tier = 0;
  bool operator()(Backend const& backend) const { return backend.tier() == tier; }
};

/// Calls `keep` when the set of backends or their eligibility changes, never in a pick. It must
/// give the same answer for the same backend. If it throws, the change throws and has no effect.
/// *Errors* if no backend passes, picks fail: "at a limit or filtered out".
/// *Cost* one load in a pick, one in its admission; 40 bytes of plan per backend.
template <class P, class Keep>
class Filter : public detail::Around<P> {
  static_assert(std::predicate<Keep const&, Backend const&>,
                "a poise filter needs: bool operator()(Backend const&) const");

 public:
  using Plan = detail::PlannedSubset<P>;

  // NOLINTNEXTLINE(*-explicit-*): a default argument of Balancer
  Filter(Keep keep = {}, P inner = detail::default_policy<P>())
      : detail::Around<P>{std::move(inner)}, keep_{std::move(keep)} {}

  [[nodiscard]] std::string name() const { return "filter(" + hooks::name(this->inner()) + ")"; }

  [[nodiscard]] Plan plan(Candidates const& candidates, Plan const* before) const {
    return Plan{this->inner(), candidates, keep_, before};
  }
  [[gnu::always_inline]] std::size_t pick(Plan const& plan, Candidates const&,
                                          Context& context) const {
    if (auto* trace = context.trace(); trace != nullptr) [[unlikely]]
      trace->narrow(Candidates{plan.roster()}, LeftOutBy::filter);
    return plan.pick(this->inner(), context);
  }
  /// Applies to backends that a scan found, too.
  [[nodiscard]] bool admit(Plan const& plan, Candidates const&, std::size_t i,
                           std::uint32_t in_flight, Context& context) const {
    return plan.admit(this->inner(), i, in_flight, context);
  }

 private:
  [[no_unique_address]] Keep keep_;
};

template <class Keep, class P>
Filter(Keep, P) -> Filter<P, Keep>;

}  // namespace poise::inline v0_1_0
