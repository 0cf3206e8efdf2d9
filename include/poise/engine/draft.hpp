// SPDX-License-Identifier: MIT
#pragma once

// A change of a balancer before it is published: the next list of backends. An edit that throws
// changes no record in use: the draft is thrown away.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <poise/backend.hpp>
#include <poise/endpoint.hpp>
#include <poise/engine/endpoint_checks.hpp>
#include <poise/engine/snapshot.hpp>
#include <poise/error.hpp>
#include <poise/observer.hpp>

namespace poise::inline v0_1_0::detail {

/// The limits that rules set: Admission and BackendView::max_on_trial.
struct AdmissionLimits {
  Admission admission;
  std::uint32_t max_on_trial;
};

/// One backend of a draft, with its next weight and condition.
template <class Record>
struct DraftEntry {
  Record* record;  // null once removed, until the edit is over
  std::uint32_t weight;
  Condition condition;
  std::uint32_t endpoint_weight;
  bool weight_is_set;                    // by the operator
  std::optional<Admission> admission{};  // if the change declares it, ...
  bool operator_admits = false;          // ... and the operator does
  bool drained_here = false;             // by this change
};

/// The first few ids, for error messages.
template <class Record>
[[nodiscard]] std::string known_ids(Membership<Record> const* membership) {
  if (membership == nullptr || membership->records.empty()) return "none at all";
  constexpr std::size_t shown = 5;
  std::string known;
  for (std::size_t i = 0; i < membership->records.size() && i < shown; ++i)
    known += (i == 0 ? "" : ", ") + detail::in_quotes(membership->records[i]->id());
  return known + (membership->records.size() > shown ? ", ..." : "");
}

/// `what` names the function that was called.
template <class Record>
[[nodiscard]] ConfigError no_such_backend(Membership<Record> const* membership, std::string_view id,
                                          char const* what) {
  return ConfigError{std::string{what} + "(): there is no backend " + detail::in_quotes(id) +
                     "; there are " + known_ids(membership)};
}

/// The next list of backends, and the new records, which live on only if the draft is published.
///
/// Each edit notes whether it changed anything: an unchanged draft is thrown away.
template <class Record, class P>
class Draft {
 public:
  using DraftEntry = detail::DraftEntry<Record>;
  using Membership = detail::Membership<Record>;

  /// Begins with the current backends. Events are kept only if an observer takes them.
  Draft(Membership const* membership, std::shared_ptr<P const> current, bool keeps_events)
      : policy{std::move(current)}, membership_{membership}, keeps_events_{keeps_events} {
    if (membership == nullptr) return;
    entries.reserve(membership->records.size());
    for (auto* record : membership->records)
      entries.push_back({record, record->weight(), record->condition(), record->endpoint_weight(),
                         record->weight_is_set()});
  }

  // -- edits --------------------------------------------------------------------------------------

  /// Replaces all backends. A backend whose id stays keeps its statistics and health; if at most
  /// its weight changed, it keeps its record too. `make_record(endpoint)` makes the other records.
  /// If rules decide health, a backend that replaces another of the same id starts as found
  /// healthy; what the operator declared stays.
  template <class MakeRecord>
  void update(std::span<Endpoint const> endpoints, MakeRecord const& make_record,
              bool rules_decide_health) {
    auto const old = std::exchange(entries, {});
    std::vector<bool> stays(old.size());  // by its old position
    entries.reserve(endpoints.size());
    for (auto const& endpoint : endpoints) {
      auto const* kept = find_record(endpoint.id);
      auto const* before = kept == nullptr ? nullptr : &old[kept->position()];
      if (before != nullptr && same_identity(kept->endpoint(), endpoint)) {
        stays[kept->position()] = true;
        entries.push_back(*before);
        configure(entries.back(), endpoint);
      } else {
        add_new(make_record(endpoint), endpoint, before);
        if (rules_decide_health) entries.back().condition.found = HealthState::healthy;
      }
    }
    compare(old, stays);
  }

  template <class MakeRecord>
  void add(Endpoint const& endpoint, MakeRecord const& make_record) {
    if (find(endpoint.id) != absent)
      throw ConfigError{"add(): " + detail::in_quotes(endpoint.id) +
                        " is a backend already; use update() or set_weight() to change it"};
    add_new(make_record(endpoint), endpoint, nullptr);
    if (is_indexed_) index_.emplace(entries.back().record->id(), entries.size() - 1);
  }

  void remove(std::string_view id) {
    auto const position = position_of(id, "remove");
    auto& entry = entries[position];
    note(Event::Kind::removed, entry);
    index_.erase(entry.record->id());
    auto const added = std::ranges::find(fresh, entry.record, &std::unique_ptr<Record>::get);
    if (added != fresh.end()) {
      unused_.push_back(std::move(*added));
      fresh.erase(added);
    } else if (entry.drained_here && keeps_events_) {
      drained_and_removed.push_back(entry.record);
    }
    entry.record = nullptr;
    changed = members_changed = any_removed_ = true;
  }

  /// Sets the operator's weight; nullopt takes it back, and the endpoint's counts again.
  void set_weight(std::string_view id, std::optional<std::uint32_t> weight) {
    auto& entry = entries[position_of(id, "set_weight")];
    check_weight(id, weight.value_or(0));
    entry.weight_is_set = weight.has_value();
    set_weight(entry, weight.value_or(entry.endpoint_weight));
  }

  void set_admission(std::string_view id, Admission admission) {
    auto& entry = entries[position_of(id, "set_admission")];
    if (admission.share == 1)
      throw ConfigError{"share of " + in_quotes(id) +
                        " is 1, which is 2^-32: use Admission::share_of(0.25) for a quarter, and "
                        "leave it out for all"};
    entry.admission = admission;
    entry.operator_admits = true;
  }

  void set_drained(std::string_view id, bool drained) {
    auto& entry = entries[position_of(id, drained ? "drain" : "undrain")];
    if (entry.condition.drained == drained) return;
    entry.condition.drained = entry.drained_here = drained;
    changed = true;
    note(drained ? Event::Kind::drained : Event::Kind::undrained, entry);
  }

  /// Sets the health that the operator declares; nullopt takes it back.
  void declare(std::string_view id, std::optional<HealthState> health) {
    set_condition(entries[position_of(id, "set_health")],
                  [&](Condition& condition) { condition.declare(health); });
  }
  /// Sets the health that a rule or probe found.
  void report(std::string_view id, HealthState health) {
    report(entries[position_of(id, "report_health")], health);
  }
  void report(DraftEntry& entry, HealthState health) {
    set_condition(entry, [&](Condition& condition) { condition.found = health; });
  }

  void set_policy(std::shared_ptr<P const> fresh_policy) {
    policy = std::move(fresh_policy);
    changed = true;
    if (keeps_events_) events.push_back({Event::Kind::policy, {}});
  }

  /// Plans are made anew, from tables too.
  void replan() { changed = replanned = true; }

  /// Ends the edit. *Errors* ConfigError if weights are checked, a weight was set or a backend was
  /// added, and now every weight is 0.
  void finish_edit(bool check_weights) {
    if (any_removed_)
      std::erase_if(entries, [](DraftEntry const& entry) { return entry.record == nullptr; });
    if (check_weights && (weights_changed || !fresh.empty()) && !entries.empty())
      check_some_weight();
  }

  // -- to be published ----------------------------------------------------------------------------

  /// From here on the membership owns the fresh records too, and destroys them at its end.
  [[nodiscard]] std::shared_ptr<Membership const> make_membership() {
    std::vector<Record*> records;
    records.reserve(entries.size());
    for (auto const& entry : entries) records.push_back(entry.record);
    auto membership = std::make_shared<Membership const>(std::move(records));
    for (auto& record : fresh) record.release();  // NOLINT: see above
    return membership;
  }

  std::vector<DraftEntry> entries{};
  std::shared_ptr<P const> policy{};
  std::vector<std::unique_ptr<Record>> fresh{};
  std::vector<Event> events{};
  std::vector<Record*> drained_and_removed{};  // both by this change; for events only
  std::vector<AdmissionLimits> admissions{};   // by entry; empty if no rule set any
  bool changed = false;
  bool members_changed = false;
  bool weights_changed = false;
  bool replanned = false;

 private:
  std::vector<std::unique_ptr<Record>>
      unused_{};  // destroyed without the lock, like their payloads

  static constexpr std::size_t absent = ~std::size_t{0};

  [[nodiscard]] Record* find_record(std::string_view id) const {
    return membership_ == nullptr ? nullptr : membership_->find(id);
  }

  /// Once members changed, positions are those of the draft.
  [[nodiscard]] std::size_t find(std::string_view id) {
    if (!members_changed) {
      auto const* record = find_record(id);
      return record == nullptr ? absent : record->position();
    }
    index_entries();
    auto const found = index_.find(id);
    return found == index_.end() ? absent : found->second;
  }
  void index_entries() {
    if (std::exchange(is_indexed_, true)) return;
    index_.reserve(entries.size());
    for (std::size_t i = 0; i < entries.size(); ++i)
      if (entries[i].record != nullptr) index_.emplace(entries[i].record->id(), i);
  }

  [[nodiscard]] std::size_t position_of(std::string_view id, char const* what) {
    if (auto const position = find(id); position != absent) return position;
    throw no_such_backend(membership_, id, what);
  }

  /// Adds a new record, which inherits from the record that it replaces.
  void add_new(std::unique_ptr<Record> record, Endpoint const& endpoint,
               DraftEntry const* predecessor) {
    DraftEntry entry{record.get(), endpoint.weight, {}, endpoint.weight, false};
    if (predecessor != nullptr) {
      record->inherit(*predecessor->record);
      entry.condition = predecessor->condition;
      entry.weight_is_set = predecessor->weight_is_set;
      if (entry.weight_is_set) entry.weight = predecessor->weight;
    }
    limit(entry, endpoint);
    entries.push_back(entry);
    fresh.push_back(std::move(record));
    changed = members_changed = true;
    note(Event::Kind::added, entries.back());
  }

  /// What an update changes of a backend that stays. The operator's word goes first.
  void configure(DraftEntry& entry, Endpoint const& endpoint) {
    entry.endpoint_weight = endpoint.weight;
    if (!entry.weight_is_set) set_weight(entry, endpoint.weight);
    limit(entry, endpoint);
  }

  static void limit(DraftEntry& entry, Endpoint const& endpoint) {
    if (entry.record->admission_is_set()) return;
    auto admission = entry.record->declared_admission();
    auto const max = std::min(endpoint.max_in_flight, sync::InFlight::limit);
    if (admission.max_in_flight == max) return;
    admission.max_in_flight = max;
    entry.admission = admission;
  }

  void set_weight(DraftEntry& entry, std::uint32_t weight) {
    if (entry.weight == weight) return;
    entry.weight = weight;
    changed = weights_changed = true;
    note(Event::Kind::weight, entry);
  }

  template <class Edit>
  void set_condition(DraftEntry& entry, Edit const& edit) {
    auto const before = entry.condition;
    edit(entry.condition);
    if (entry.condition != before) changed = true;
    note_health(entry, before);
  }

  /// Notes removals and whether the order changed.
  void compare(std::vector<DraftEntry> const& old, std::vector<bool> const& stays) {
    bool same = entries.size() == old.size();
    for (std::size_t i = 0; i < old.size(); ++i) {
      if (!stays[i]) note(Event::Kind::removed, old[i]);
      // A new order alone is a change too: statistics are listed in that order.
      same = same && entries[i].record == old[i].record;
    }
    if (!same) changed = members_changed = true;
  }

  void check_some_weight() const {
    for (auto const& entry : entries)
      if (entry.weight != 0) return;
    throw ConfigError{no_weight(entries[0].record->id())};
  }

  /// What the operator says is an event even if the same was found.
  void note_health(DraftEntry const& entry, Condition const& before) {
    auto const& now = entry.condition;
    bool const released = before.is_declared && !now.is_declared;
    bool const declared = now.is_declared && !before.is_declared;
    if (now.health() == before.health() && !released && !declared) return;
    note(Event::Kind::health, entry);
    if (!keeps_events_) return;
    events.back().declared = now.is_declared;
    events.back().released = released;
  }

  void note(Event::Kind kind, DraftEntry const& entry) {
    if (keeps_events_)
      events.push_back({kind, entry.record->id(), entry.condition.health(), entry.weight});
  }

  Membership const* membership_;
  bool const keeps_events_;
  bool any_removed_ = false;
  bool is_indexed_ = false;
  std::unordered_map<std::string_view, std::size_t> index_{};  // see is_indexed_
};

}  // namespace poise::inline v0_1_0::detail
