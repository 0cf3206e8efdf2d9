// SPDX-License-Identifier: MIT
#pragma once

// Makes the next snapshot from a draft: rosters, plans, and the policy's state of each backend.
// Nothing after it can throw, and it changes no record in use.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include <poise/backend.hpp>
#include <poise/base/overprovision.hpp>
#include <poise/candidates.hpp>
#include <poise/engine/draft.hpp>
#include <poise/engine/snapshot.hpp>
#include <poise/observer.hpp>
#include <poise/policy.hpp>
#include <poise/policy/pick_info.hpp>

namespace poise::inline v0_1_0::detail {

/// Builds the snapshot of a draft. *Requires* the balancer's lock, under which `before` stays.
template <class Record, class P>
class SnapshotBuilder {
 public:
  using Snapshot = detail::Snapshot<Record, P>;
  using Draft = detail::Draft<Record, P>;

  SnapshotBuilder(Draft const& draft, std::vector<BackendView> const& views, Snapshot const* before,
                  std::uint64_t generation)
      : draft_{draft},
        views_{views},
        before_{before},
        same_policy_{before != nullptr && before->policy == draft.policy},
        generation_{generation + (tables_are_stale() ? 1U : 0U)} {}

  [[nodiscard]] std::uint64_t generation() const noexcept { return generation_; }

  [[nodiscard]] std::unique_ptr<Snapshot> build(
      std::shared_ptr<Membership<Record> const> membership) const {
    auto snapshot = std::make_unique<Snapshot>();
    snapshot->policy = draft_.policy;
    snapshot->flags = flags();
    snapshot->membership = std::move(membership);
    snapshot->states = make_states();
    form_groups(*snapshot);
    form_last_resort(*snapshot);
    list_wanted(*snapshot);
    if (needs_slow_path(*snapshot)) snapshot->flags |= Run::slow_path;
    return snapshot;
  }

 private:
  /// True if members, weights, or weights that rules arrange have changed, or replan() asks for it.
  /// Then the generation changes, and policies rebuild tables that depend on them.
  [[nodiscard]] bool tables_are_stale() const noexcept {
    if (draft_.members_changed || draft_.weights_changed || draft_.replanned) return true;
    if (before_ == nullptr) return false;
    Candidates const last{before_->healthy.roster};
    for (std::size_t i = 0; i < views_.size(); ++i)
      if (views_[i].weight != last.member_weight(i)) return true;
    return false;
  }

  /// Trials that no policy has begun.
  void list_wanted(Snapshot& snapshot) const {
    auto const& roster = snapshot.healthy.roster;
    for (std::size_t i = 0; i < views_.size(); ++i)
      if (views_[i].wants_pick && roster.places[i] < roster.eligible)
        snapshot.wanted.push_back(roster.places[i]);
    if (!snapshot.wanted.empty() && hooks::traits(*snapshot.policy).keyed) snapshot.wanted.clear();
  }

  /// True if a trial is wanted, if a backend is degraded, if none is healthy, or if the policy can
  /// reject but its type does not say so. (A policy with its own propose() calls its own admit().)
  [[nodiscard]] static bool needs_slow_path(Snapshot const& snapshot) {
    return !snapshot.wanted.empty() || snapshot.degraded.roster.eligible != 0 ||
           snapshot.healthy.roster.eligible == 0 ||
           (hooks::asks_may_refuse<P> && !proposes<P> &&
            hooks::traits(*snapshot.policy).may_refuse);
  }

  /// Run::Flag: the policy's generation and its traits.
  [[nodiscard]] std::uint32_t flags() const {
    auto const generation =
        before_ == nullptr ? 0U
                           : (before_->flags >> Run::generation_shift) + (same_policy_ ? 0U : 1U);
    auto const traits = hooks::traits(*draft_.policy);
    return generation << Run::generation_shift | (traits.uses_time ? Run::timed : 0U) |
           (traits.wants_finish ? Run::heard : 0U) | (traits.keyed ? Run::keyed : 0U);
  }

  /// The policy's state of each backend: carried over, or fresh for a new backend or policy.
  [[nodiscard]] std::vector<std::shared_ptr<void>> make_states() const {
    std::vector<std::shared_ptr<void>> states;
    bool const carry = same_policy_ && !before_->states.empty();
    for (auto const& entry : draft_.entries) {
      auto const position = entry.record->position();
      bool const known = carry && position < before_->states.size() &&
                         before_->membership->records[position] == entry.record;
      auto state = known ? before_->states[position] : hooks::make_state(*draft_.policy);
      if (!state) return {};  // a policy has states for all backends or for none
      states.push_back(std::move(state));
    }
    return states;
  }

  [[nodiscard]] std::uint32_t weight(std::size_t i) const {
    return views_.empty() ? draft_.entries[i].weight : views_[i].weight;
  }
  [[nodiscard]] HealthState health(std::size_t i) const {
    return views_.empty() ? draft_.entries[i].condition.health() : views_[i].health;
  }
  [[nodiscard]] bool counts(std::size_t i) const {
    return !draft_.entries[i].condition.drained && weight(i) != 0;
  }

  /// `holds(i)`: does the entry belong to the roster?
  template <class Holds>
  [[nodiscard]] Roster roster_of(Holds const& holds) const {
    return Roster::of(draft_.entries.size(), generation_, [&](std::size_t i) {
      return Roster::Member{draft_.entries[i].record, weight(i), counts(i) && holds(i),
                            draft_.entries[i].condition.drained};
    });
  }
  [[nodiscard]] Roster roster_of(HealthState wanted) const {
    return roster_of([&](std::size_t i) { return health(i) == wanted; });
  }

  void form_groups(Snapshot& snapshot) const {
    std::uint64_t total = 0;
    std::uint64_t degraded = 0;
    for (std::size_t i = 0; i < draft_.entries.size(); ++i) {
      if (!counts(i)) continue;
      ++total;
      if (health(i) == HealthState::degraded) ++degraded;
    }
    auto const* old_plan =
        same_policy_ && before_->healthy.plan ? &*before_->healthy.plan : nullptr;
    form_group(snapshot, snapshot.healthy, roster_of(HealthState::healthy), old_plan);
    if (degraded == 0) return;
    if (same_policy_ && before_->degraded.plan) old_plan = &*before_->degraded.plan;
    form_group(snapshot, snapshot.degraded, roster_of(HealthState::degraded), old_plan);
    snapshot.healthy_share = healthy_percent(snapshot.healthy.roster.eligible, degraded, total);
  }

  void form_last_resort(Snapshot& snapshot) const {
    auto const holds = [&](std::size_t i) {
      return views_[i].last_resort && !draft_.entries[i].condition.is_declared && counts(i) &&
             health(i) == HealthState::unhealthy;
    };
    bool any = false;
    for (std::size_t i = 0; i < views_.size() && !any; ++i) any = holds(i);
    if (!any) return;
    // The healthy backends' plan has the tables that depend on the members alone.
    auto const& plan = snapshot.healthy.plan;
    form_group(snapshot, snapshot.last_resort, roster_of(holds), plan ? &*plan : nullptr);
  }

  /// A plan is made only for a group with a backend. An empty group keeps the last plan, so that
  /// tables which depend on the members alone outlive an outage.
  static void form_group(Snapshot const& snapshot, Group<P>& group, Roster roster,
                         hooks::PlanOf<P> const* old_plan) {
    group.roster = std::move(roster);
    if (!snapshot.states.empty()) {
      group.roster.states.resize(snapshot.states.size());
      for (std::size_t i = 0; i < snapshot.states.size(); ++i)
        group.roster.states[group.roster.places[i]] = snapshot.states[i].get();
    }
    if (group.roster.eligible != 0)
      group.plan = hooks::plan(*snapshot.policy, Candidates{group.roster}, old_plan);
    else if (old_plan != nullptr) group.plan = *old_plan;
  }

  Draft const& draft_;
  std::vector<BackendView> const& views_;
  Snapshot const* before_;
  bool const same_policy_;
  std::uint64_t const generation_;
};

}  // namespace poise::inline v0_1_0::detail
