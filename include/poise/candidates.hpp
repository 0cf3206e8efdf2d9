// SPDX-License-Identifier: MIT
#pragma once

// What a policy chooses from: the backends that may be picked now, at least one, by index.
//
// Candidates is a view of a roster. A roster lists every member in stable order, the eligible ones
// first. So a simple policy sees a dense range and skips nothing. A keyed policy can map keys over
// all members and then ask whether a key's owner is eligible. A wrapper that narrows the choice
// builds its own roster with subset().

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include <poise/backend.hpp>

namespace poise::inline v0_1_0 {

/// The members of a balancer, or of a part of it, at one moment. Immutable once built.
struct Roster {
  struct Entry {
    Backend* backend;
    std::uint32_t weight;
    float per_weight;  // 1 / weight
  };

  std::vector<Entry> entries{};         ///< Eligible ones first, both parts in stable order.
  std::vector<std::uint32_t> places{};  ///< Stable position -> entry.
  std::vector<void*> states{};          ///< Per entry; empty if the policy has no state.
  std::vector<std::uint32_t>
      origins{};                 ///< Of a subset: eligible entry -> index in the wider roster.
  std::vector<bool> drained{};   ///< By stable position; empty if no member is drained.
  std::uint64_t generation = 0;  ///< Changes with membership and weights, not with health.
  std::uint32_t eligible = 0;
  bool equal_weights = true;  ///< Among the eligible.

  /// Builds a roster from members in stable order. `each(i)` returns {backend, weight, eligible}.
  template <class Each>
  static Roster of(std::size_t count, std::uint64_t generation, Each const& each) {
    Roster roster;
    roster.generation = generation;
    roster.entries.resize(count);
    roster.places.resize(count);
    for (std::size_t i = 0; i < count; ++i) roster.eligible += each(i).eligible ? 1U : 0U;
    std::uint32_t in = 0;
    std::uint32_t out = roster.eligible;
    for (std::size_t i = 0; i < count; ++i) {
      auto const member = each(i);
      auto const place = member.eligible ? in++ : out++;
      roster.places[i] = place;
      if (member.drained) {
        roster.drained.resize(count);
        roster.drained[i] = true;
      }
      roster.entries[place] = {member.backend, member.weight,
                               1.0F / static_cast<float>(member.weight)};
      if (member.eligible && member.weight != roster.entries[0].weight)
        roster.equal_weights = false;
    }
    return roster;
  }

  struct Member {
    Backend* backend;
    std::uint32_t weight;
    bool eligible;
    bool drained = false;
  };
};

class Candidates {
 public:
  static constexpr std::size_t none = std::numeric_limits<std::size_t>::max();

  explicit Candidates(Roster const& roster) noexcept
      : roster_{&roster}, entries_{roster.entries.data()}, size_{roster.eligible} {}

  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] Backend const& operator[](std::size_t i) const noexcept {
    return *entries_[i].backend;
  }
  [[nodiscard]] std::uint32_t weight(std::size_t i) const noexcept { return entries_[i].weight; }
  /// All weights, by index. *Cost* O(n), allocates: for plans.
  [[nodiscard]] std::vector<std::uint32_t> weights() const {
    std::vector<std::uint32_t> all(size_);
    for (std::size_t i = 0; i < size_; ++i) all[i] = weight(i);
    return all;
  }
  /// 1 / weight: to weigh a load without dividing.
  [[nodiscard]] float per_weight(std::size_t i) const noexcept { return entries_[i].per_weight; }
  [[nodiscard]] std::uint32_t in_flight(std::size_t i) const noexcept {
    return entries_[i].backend->in_flight();
  }
  [[nodiscard]] bool equal_weights() const noexcept { return roster_->equal_weights; }

  /// The policy's own state of a candidate. *Requires* that the policy declares `State`.
  template <class State>
  [[nodiscard]] State& state(std::size_t i) const noexcept {
    return *static_cast<State*>(roster_->states[i]);
  }

  /// Changes with membership and weights, not with health: the key for tables worth keeping.
  [[nodiscard]] std::uint64_t generation() const noexcept { return roster_->generation; }

  /// All members in stable order, eligible or not: for policies that map keys over them.
  [[nodiscard]] std::size_t members() const noexcept { return roster_->places.size(); }
  [[nodiscard]] Backend const& member(std::size_t position) const noexcept {
    return *entry(position).backend;
  }
  [[nodiscard]] std::uint32_t member_weight(std::size_t position) const noexcept {
    return entry(position).weight;
  }
  /// The index of a member among the candidates; `none` if it is not eligible now.
  [[nodiscard]] std::size_t index_of(std::size_t position) const noexcept {
    auto const place = roster_->places[position];
    return place < roster_->eligible ? place : none;
  }

  /// True if an operator drained this member. A plan asks here: while it is made, the change is not
  /// published yet, and Backend::drained() still has the old value.
  [[nodiscard]] bool drained(std::size_t position) const noexcept {
    return !roster_->drained.empty() && roster_->drained[position];
  }

  /// A new roster of the members for which `keep(backend)` is true; its origins lead back here.
  template <class Keep>
  [[nodiscard]] Roster subset(Keep const& keep) const {
    std::vector<std::size_t> kept;
    for (std::size_t position = 0; position < members(); ++position)
      if (keep(member(position))) kept.push_back(position);
    auto part = Roster::of(kept.size(), generation(), [&](std::size_t i) {
      auto const& from = entry(kept[i]);
      return Roster::Member{from.backend, from.weight, index_of(kept[i]) != none, drained(kept[i])};
    });
    part.origins.resize(part.eligible);
    if (!roster_->states.empty()) part.states.resize(kept.size());
    for (std::size_t i = 0; i < kept.size(); ++i) {
      auto const place = part.places[i];
      if (place < part.eligible) part.origins[place] = roster_->places[kept[i]];
      if (!part.states.empty()) part.states[place] = roster_->states[roster_->places[kept[i]]];
    }
    return part;
  }

  [[nodiscard]] Roster const& roster() const noexcept { return *roster_; }

 private:
  [[nodiscard]] Roster::Entry const& entry(std::size_t position) const noexcept {
    return entries_[roster_->places[position]];
  }

  Roster const* roster_;
  Roster::Entry const*
      entries_;  // copied here: a loop over atomics would load it again from the roster each time
  std::size_t size_;
};

}  // namespace poise::inline v0_1_0
