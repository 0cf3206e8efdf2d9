// SPDX-License-Identifier: MIT
#pragma once

// From a snapshot to a claimed record: what a pick does once it is inside a read section.
//
// Propose, then claim: the policy names a candidate, the request is counted in, and only the number
// that this returned decides whether the backend's limits allow it. So a limit holds at the moment
// of admission, for any number of threads.

#include <cstddef>
#include <cstdint>

#include <poise/candidates.hpp>
#include <poise/core/run.hpp>
#include <poise/core/snapshot.hpp>
#include <poise/error.hpp>
#include <poise/halves.hpp>
#include <poise/hash.hpp>
#include <poise/policy.hpp>
#include <poise/propose.hpp>
#include <poise/random.hpp>
#include <poise/request.hpp>
#include <poise/time.hpp>

namespace poise::detail {

template <class Record, class P>
struct Choose {
  using Group = detail::Group<P>;
  using Snapshot = detail::Snapshot<Record, P>;

  /// Has the policy a last word? If only the running program knows, not in what goes the short way.
  static constexpr bool has_a_say = hooks::has_admit<P> && !hooks::asks_may_refuse<P>;

  /// Healthy or degraded ones, by their shares; for a keyed policy the key decides instead of
  /// chance.
  static Group const& group(Snapshot const& snapshot, Request const& request, Rng& random) {
    if (snapshot.degraded.roster.eligible == 0) return snapshot.healthy;
    auto const key = request.key();
    auto const draw =
        hooks::keyed(*snapshot.policy) && !key.empty() ? hash_text(key) % 100 : random.below(100);
    return draw < snapshot.healthy_share ? snapshot.healthy : snapshot.degraded;
  }

  static Record* record_at(Group const& group, std::size_t i) noexcept {
    return static_cast<Record*>(group.roster.entries[i].backend);
  }

  /// The policy's first proposal, the short way. `claimed` is one of the group's records.
  [[nodiscard, gnu::always_inline]] static Proposal first(Snapshot const& snapshot,
                                                          Group const& group,
                                                          Request const& request, Chance& chance,
                                                          sync::Lane lane, Time now) {
    if constexpr (proposes<P>) return snapshot.policy->propose(group, request, chance, lane, now);
    else
      return propose<has_a_say>(*snapshot.policy, *group.plan, group.roster, request, chance, lane,
                                now);
  }

  /// A pick at length: for a request that excludes some, and wherever Run::at_length says so.
  [[nodiscard]] static Proposal any(Snapshot const& snapshot, Group const& group,
                                    Context& context) {
    auto const i = hooks::pick(*snapshot.policy, *group.plan, Candidates{group.roster}, context);
    if (i < group.roster.eligible && !is_excluded(context.request, group, i))
      if (auto* record = claim(snapshot, group, i, context, true); record != nullptr)
        return {record, in_one_word(context.path.bits(), 0)};
    return another(snapshot, group, context, i);
  }

  /// What follows if first() came to nothing.
  [[nodiscard]] static Proposal next(Snapshot const& snapshot, Group const& group, Context& context,
                                     std::size_t first) {
    // A policy without a say was not asked whether the backend's share lets this request in.
    if (!hooks::may_refuse(*snapshot.policy) && first < group.roster.eligible)
      if (auto* record = claim<false>(snapshot, group, first, context, true); record != nullptr)
        return {record, in_one_word(context.path.bits(), 0)};
    return another(snapshot, group, context, first);
  }

  /// Seldom: the proposal `first` was excluded or refused. The policy is asked again a few times;
  /// then any usable backend will do, of this group, of the other one; then an excluded one.
  [[nodiscard]] static Proposal another(Snapshot const& snapshot, Group const& group,
                                        Context& context, std::size_t first) {
    // If a share s of the backends is unusable, 4 more draws miss all others with s^5: 3 % at one
    // half.
    constexpr int asks = 4;
    auto const& request = context.request;
    Candidates const candidates{group.roster};
    if (first < candidates.size()) context.refuse(candidates[first]);
    for (int ask = 0; ask < asks; ++ask) {
      context.path = {};
      auto const i = hooks::pick(*snapshot.policy, *group.plan, candidates, context);
      if (i >= candidates.size() || is_excluded(request, group, i)) continue;
      if (auto* record = claim(snapshot, group, i, context, true); record != nullptr)
        return {record, in_one_word(context.path.bits(), 0)};
      context.refuse(candidates[i]);
    }
    context.path = {};
    auto const& other = &group == &snapshot.healthy ? snapshot.degraded : snapshot.healthy;
    for (bool const repeat : {false, true}) {
      if (repeat && request.excluded.empty()) break;
      for (auto const* each : {&group, &other})
        if (auto* record = scan(snapshot, *each, context, repeat); record != nullptr)
          return {record,
                  in_one_word(context.path.bits(), Run::scanned | (repeat ? Run::repeated : 0U))};
    }
    return {};
  }

  /// Is there an eligible backend that the request does not exclude?
  [[nodiscard]] static bool any_untried(Snapshot const& snapshot, Request const& request) noexcept {
    for (auto const* group : {&snapshot.healthy, &snapshot.degraded})
      for (std::size_t i = 0; i < group->roster.eligible; ++i)
        if (!excludes(request, record_at(*group, i)->serial())) return true;
    return false;
  }

  [[gnu::noinline, gnu::cold]] static Error why_not(Snapshot const& snapshot) noexcept {
    auto const& records = snapshot.membership->records;
    Error error{.reason = records.empty() ? PickError::empty : PickError::unavailable};
    for (auto const* record : records) {
      if (record->drained()) ++error.drained;
      else if (record->health() == HealthState::unhealthy) ++error.unhealthy;
      else if (record->weight() == 0) ++error.weightless;
      else ++error.refused;
    }
    return error;
  }

 private:
  template <bool Ask = true>
  [[nodiscard]] static Record* claim(Snapshot const& snapshot, Group const& group, std::size_t i,
                                     Context& context, bool heed_share) {
    return static_cast<Record*>(
        Claiming::claim<Ask>(*snapshot.policy, *group.plan, group.roster, i, context, heed_share));
  }
  static bool is_excluded(Request const& request, Group const& group, std::size_t i) noexcept {
    return !request.excluded.empty() && excludes(request, record_at(group, i)->serial());
  }

  /// The first backend from a random start that takes the request; limits hold, warm-up shares do
  /// not.
  [[nodiscard]] static Record* scan(Snapshot const& snapshot, Group const& group, Context& context,
                                    bool excluded_ones) {
    auto const size = group.roster.eligible;
    if (size == 0) return nullptr;
    auto const start = context.random.below(size);
    for (std::size_t step = 0; step < size; ++step) {
      auto const i = (start + step) % size;
      if (excludes(context.request, record_at(group, i)->serial()) != excluded_ones) continue;
      if (auto* record = claim(snapshot, group, i, context, false); record != nullptr)
        return record;
    }
    return nullptr;
  }
};

}  // namespace poise::detail
