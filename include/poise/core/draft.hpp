// SPDX-License-Identifier: MIT
#pragma once

// A change of a balancer, before anybody sees it: the set as it will be, and the snapshot made of
// it.
//
// Everything that can throw happens here; nothing here touches a record that is in use.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <poise/backend.hpp>
#include <poise/candidates.hpp>
#include <poise/configuration.hpp>
#include <poise/core/run.hpp>
#include <poise/core/snapshot.hpp>
#include <poise/degraded_share.hpp>
#include <poise/endpoint.hpp>
#include <poise/error.hpp>
#include <poise/policy.hpp>
#include <poise/runtime.hpp>
#include <poise/time.hpp>

namespace poise::detail {

/// A backend's place in the set, with what was decided about it.
template <class Record>
struct Seat {
  Record* record;
  std::uint32_t weight;
  Condition condition;
  friend bool operator==(Seat const&, Seat const&) = default;
};

/// The set as it will be, and the records that exist only if it comes to be.
///
/// Every edit says for itself whether it changed anything: a draft that did not is thrown away.
template <class Record, class P>
class Draft {
 public:
  using Seat = detail::Seat<Record>;
  using Membership = detail::Membership<Record>;

  /// Begins with things as they are. Events are kept only if somebody wants to hear of them.
  Draft(Membership const* membership, std::shared_ptr<P const> current, bool keeps_events)
      : policy{std::move(current)}, keeps_events_{keeps_events} {
    if (membership == nullptr) return;
    seats.reserve(membership->records.size());
    for (auto* record : membership->records)
      seats.push_back({record, record->weight(), record->condition()});
  }

  /// Takes a seat for a new record, which inherits from the one it replaces.
  void seat_new(std::unique_ptr<Record> record, std::uint32_t weight, Seat const* predecessor) {
    Condition condition{};
    if (predecessor != nullptr) {
      record->inherit(*predecessor->record);
      condition = predecessor->condition;
    }
    seats.push_back({record.get(), weight, condition});
    fresh.push_back(std::move(record));
    changed = members_changed = true;
    note(Event::Kind::added, seats.back());
  }

  void remove(std::size_t position) {
    note(Event::Kind::removed, seats[position]);
    seats.erase(seats.begin() + static_cast<std::ptrdiff_t>(position));
    changed = members_changed = true;
  }

  void set_weight(Seat& seat, std::uint32_t weight) {
    if (seat.weight == weight) return;
    seat.weight = weight;
    changed = weights_changed = true;
    note(Event::Kind::weight, seat);
  }

  void set_drained(Seat& seat, bool drained) {
    if (seat.condition.drained == drained) return;
    seat.condition.drained = drained;
    changed = true;
    note(drained ? Event::Kind::drained : Event::Kind::undrained, seat);
  }

  /// The operator's word, or none any more.
  void declare(Seat& seat, std::optional<HealthState> health) {
    set_condition(seat, [&](Condition& condition) { condition.declare(health); });
  }
  /// A rule's or probe's word.
  void find(Seat& seat, HealthState health) {
    set_condition(seat, [&](Condition& condition) { condition.found = health; });
  }

  void set_policy(std::shared_ptr<P const> fresh_policy) {
    policy = std::move(fresh_policy);
    changed = true;
    if (keeps_events_) events.push_back({Event::Kind::policy, {}});
  }

  /// What became of the seats that this draft began with: removals, and a new order.
  void compare(std::vector<Seat> const& old) {
    if (keeps_events_) note_removed(old);
    // Also when only the order is new: statistics are listed in it.
    if (!std::ranges::equal(seats, old, {}, &Seat::record, &Seat::record))
      changed = members_changed = true;
  }

  void check_some_weight() const {
    for (auto const& seat : seats)
      if (seat.weight != 0) return;
    throw ConfigError{no_weight(seats[0].record->id())};
  }

  /// From here on the membership owns the fresh records too: its end is their end.
  [[nodiscard]] std::shared_ptr<Membership const> make_membership() {
    std::vector<Record*> records;
    records.reserve(seats.size());
    for (auto const& seat : seats) records.push_back(seat.record);
    auto membership = std::make_shared<Membership const>(std::move(records));
    for (auto& record : fresh) record.release();  // NOLINT: see above
    return membership;
  }

  std::vector<Seat> seats{};
  std::shared_ptr<P const> policy{};
  std::vector<std::unique_ptr<Record>> fresh{};
  std::vector<Event> events{};
  std::vector<Admission> admissions{};  // by seat; empty if no rule had a say
  bool changed = false;
  bool members_changed = false;
  bool weights_changed = false;

 private:
  template <class Edit>
  void set_condition(Seat& seat, Edit const& edit) {
    auto const before = seat.condition;
    edit(seat.condition);
    if (seat.condition != before) changed = true;
    if (seat.condition.health() != before.health()) note(Event::Kind::health, seat);
  }

  void note(Event::Kind kind, Seat const& seat) {
    if (keeps_events_)
      events.push_back({kind, seat.record->id(), seat.condition.health(), seat.weight});
  }

  void note_removed(std::vector<Seat> const& old) {
    std::vector<Record*> kept;
    kept.reserve(seats.size());
    for (auto const& seat : seats) kept.push_back(seat.record);
    std::sort(kept.begin(), kept.end());
    for (auto const& seat : old)
      if (!std::binary_search(kept.begin(), kept.end(), seat.record))
        note(Event::Kind::removed, seat);
  }

  bool const keeps_events_;
};

/// Those observers of a runtime that decide: each sees what the ones before it decided.
template <class Record, class Observers>
class Rules {
 public:
  using Watching = Watch<Observers>;

  explicit Rules(Observers& observers) noexcept : observers_{observers} {}

  /// What rules make of the draft for the next snapshot; empty if no rule arranges.
  template <class P>
  [[nodiscard]] std::vector<Standing> arrange(Draft<Record, P>& draft) const {
    std::vector<Standing> standings;
    if constexpr (Watching::arrange)
      for_each([&](auto& rule, auto index) {
        if constexpr (arranges<std::remove_reference_t<decltype(rule)>>) {
          standings = stand(draft, index, standings, false);
          rule.arrange(std::span{standings});
          keep_admissions(draft, standings);
        }
      });
    return standings;
  }

  /// Gives every rule its turn at the draft.
  template <class P>
  void tick(Draft<Record, P>& draft, Time now) const {
    for_each([&](auto& rule, auto index) {
      if constexpr (rules_on_tick<std::remove_reference_t<decltype(rule)>>) {
        auto standings = stand(draft, index, {}, true);
        if constexpr (std::is_void_v<decltype(rule.on_tick(now, std::span{standings}))>)
          rule.on_tick(now, std::span{standings});
        else draft.changed |= rule.on_tick(now, std::span{standings});
        for (std::size_t i = 0; i < standings.size(); ++i)
          draft.find(draft.seats[i], standings[i].health);
        keep_admissions(draft, standings);
      }
    });
  }

 private:
  template <class P>
  static void keep_admissions(Draft<Record, P>& draft, std::vector<Standing> const& standings) {
    draft.admissions.resize(standings.size());
    for (std::size_t i = 0; i < standings.size(); ++i) draft.admissions[i] = standings[i].admission;
  }

  template <class Visit>
  void for_each(Visit const& visit) const {
    [&]<std::size_t... I>(std::index_sequence<I...>) {
      (visit(std::get<I>(observers_), std::integral_constant<std::size_t, I>{}), ...);
    }(std::make_index_sequence<std::tuple_size_v<Observers>>{});
  }

  /// The seats as rule number `index` sees them, on top of what earlier rules arranged.
  template <class P, class Index>
  [[nodiscard]] static std::vector<Standing> stand(Draft<Record, P> const& draft, Index,
                                                   std::vector<Standing> const& earlier,
                                                   bool found) {
    std::vector<Standing> standings;
    standings.reserve(draft.seats.size());
    for (std::size_t i = 0; i < draft.seats.size(); ++i) {
      auto const& seat = draft.seats[i];
      auto const own = found ? seat.condition.found : seat.condition.health();
      auto const admission = !draft.admissions.empty() ? draft.admissions[i]
                             : found                   ? seat.record->declared_admission()
                                                       : seat.record->admission();
      standings.push_back({*seat.record, earlier.empty() ? seat.weight : earlier[i].weight,
                           earlier.empty() ? own : earlier[i].health, admission,
                           seat.condition.drained,
                           &std::get<Index::value>(seat.record->observer_states)});
    }
    return standings;
  }

  Observers& observers_;
};

/// Makes the snapshot of a draft. *Requires* the owner's lock, under which `before` stays.
template <class Record, class P>
class SnapshotMaker {
 public:
  using Snapshot = detail::Snapshot<Record, P>;
  using Draft = detail::Draft<Record, P>;

  SnapshotMaker(Draft const& draft, std::vector<Standing> const& standings, Snapshot const* before,
                std::uint64_t generation)
      : draft_{draft},
        standings_{standings},
        before_{before},
        same_policy_{before != nullptr && before->policy == draft.policy},
        generation_{generation + (tables_are_stale() ? 1U : 0U)} {}

  [[nodiscard]] std::uint64_t generation() const noexcept { return generation_; }

  [[nodiscard]] std::unique_ptr<Snapshot> make(
      std::shared_ptr<Membership<Record> const> membership) const {
    auto snapshot = std::make_unique<Snapshot>();
    snapshot->policy = draft_.policy;
    snapshot->flags = flags();
    snapshot->membership = std::move(membership);
    snapshot->states = make_states();
    form_groups(*snapshot);
    if (needs_length(*snapshot)) snapshot->flags |= Run::at_length;
    return snapshot;
  }

 private:
  /// Have members or weights changed, or the weights that rules arrange? Tables that depend on them
  /// hang on the generation.
  [[nodiscard]] bool tables_are_stale() const noexcept {
    if (draft_.members_changed || draft_.weights_changed) return true;
    if (before_ == nullptr) return false;
    Candidates const last{before_->healthy.roster};
    for (std::size_t i = 0; i < standings_.size(); ++i)
      if (standings_[i].weight != last.member_weight(i)) return true;
    return false;
  }

  /// Some are degraded, nobody is healthy, or only the running program knows that the policy has a
  /// last word (one that proposes by itself knows what to do then).
  [[nodiscard]] static bool needs_length(Snapshot const& snapshot) {
    return snapshot.degraded.roster.eligible != 0 || snapshot.healthy.roster.eligible == 0 ||
           (hooks::asks_may_refuse<P> && !proposes<P> && hooks::may_refuse(*snapshot.policy));
  }

  /// The policy's generation, and what it asks of every pick.
  [[nodiscard]] std::uint32_t flags() const {
    auto const generation =
        before_ == nullptr ? 0U
                           : (before_->flags >> Run::generation_shift) + (same_policy_ ? 0U : 1U);
    return generation << Run::generation_shift |
           (hooks::uses_time(*draft_.policy) ? Run::timed : 0U) |
           (hooks::hears_finish(*draft_.policy) ? Run::heard : 0U);
  }

  /// The policy's state of each backend: carried over, or fresh for a new backend or policy.
  [[nodiscard]] std::vector<std::shared_ptr<void>> make_states() const {
    std::vector<std::shared_ptr<void>> states;
    bool const carry = same_policy_ && !before_->states.empty();
    for (auto const& seat : draft_.seats) {
      auto const position = seat.record->position();
      bool const known = carry && position < before_->states.size() &&
                         before_->membership->records[position] == seat.record;
      auto state = known ? before_->states[position] : hooks::make_state(*draft_.policy);
      if (!state) return {};  // a policy has states for all backends or for none
      states.push_back(std::move(state));
    }
    return states;
  }

  [[nodiscard]] std::uint32_t weight(std::size_t i) const {
    return standings_.empty() ? draft_.seats[i].weight : standings_[i].weight;
  }
  [[nodiscard]] HealthState health(std::size_t i) const {
    auto const& condition = draft_.seats[i].condition;  // no rule overrides the operator
    return standings_.empty() || condition.is_declared ? condition.health() : standings_[i].health;
  }
  [[nodiscard]] bool counts(std::size_t i) const {
    return !draft_.seats[i].condition.drained && weight(i) != 0;
  }

  [[nodiscard]] Roster roster_of(HealthState wanted) const {
    return Roster::of(draft_.seats.size(), generation_, [&](std::size_t i) {
      return Roster::Member{draft_.seats[i].record, weight(i), counts(i) && health(i) == wanted,
                            draft_.seats[i].condition.drained};
    });
  }

  void form_groups(Snapshot& snapshot) const {
    std::uint64_t total = 0;
    std::uint64_t degraded = 0;
    for (std::size_t i = 0; i < draft_.seats.size(); ++i) {
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

  /// A plan is made only for a group that has somebody; an empty one keeps the last plan, so that
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
  std::vector<Standing> const& standings_;
  Snapshot const* before_;
  bool const same_policy_;
  std::uint64_t const generation_;
};

}  // namespace poise::detail
