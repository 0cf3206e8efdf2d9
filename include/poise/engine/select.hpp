// SPDX-License-Identifier: MIT
#pragma once

// From a snapshot to a claimed record: what a pick does once it is inside a read section.
//
// Propose, then claim: the policy names a candidate, and the request is counted in there. The count
// that this returns decides whether the backend's limits allow the request. So limits hold for any
// number of threads.

#include <chrono>
#include <cstddef>
#include <cstdint>

#include <poise/base/bits.hpp>
#include <poise/candidates.hpp>
#include <poise/engine/snapshot.hpp>
#include <poise/error.hpp>
#include <poise/hash/draw.hpp>
#include <poise/policy.hpp>
#include <poise/policy/claim.hpp>
#include <poise/policy/pick_info.hpp>
#include <poise/policy/trace.hpp>
#include <poise/random.hpp>
#include <poise/request.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::detail {

template <class Record, class P>
struct Selector {
  using Group = detail::Group<P>;
  using Snapshot = detail::Snapshot<Record, P>;

  /// True if the policy can reject a claim on the fast path. A policy that says only at run time
  /// whether it rejects (may_refuse) is asked on the slow path alone.
  static constexpr bool can_reject = hooks::has_admit<P> && !hooks::asks_may_refuse<P>;

  /// The healthy or the degraded backends, drawn by their fractions. With a keyed policy the key
  /// decides instead of a random number.
  static Group const& group(Snapshot const& snapshot, Request const& request, Rng& random) {
    if (snapshot.degraded.roster.eligible == 0) return snapshot.healthy;
    auto const key = request.key();
    auto const draw = hooks::traits(*snapshot.policy).keyed && !key.empty() ? draw_of(key) % 100
                                                                            : random.below(100);
    return draw < snapshot.healthy_share ? snapshot.healthy : snapshot.degraded;
  }

  static Record* record_at(Group const& group, std::size_t i) noexcept {
    return static_cast<Record*>(group.roster.entries[i].backend);
  }

  /// True if a pick begins on the fast path: the policy is asked first, for a healthy backend.
  [[nodiscard, gnu::always_inline]] static bool begins_fast(Snapshot const& snapshot,
                                                            Request const& request) noexcept {
    return (snapshot.flags & Run::slow_path) == 0 && !request.restricted() &&
           request.preferred.empty();
  }

  /// The policy's first proposal, on the fast path. `claimed` is one of the group's records.
  [[nodiscard, gnu::always_inline]] static Proposal first(Snapshot const& snapshot,
                                                          Group const& group,
                                                          Request const& request,
                                                          RandomSource& chance, sync::Lane lane,
                                                          Time now) {
    if constexpr (proposes<P>) return snapshot.policy->propose(group, request, chance, lane, now);
    else
      return propose<can_reject>(*snapshot.policy, *group.plan, group.roster, request, chance, lane,
                                 now);
  }

  /// A pick on the slow path: the request excludes backends, or Run::slow_path is set.
  /// Without `may_repeat` it never is a backend that the request excludes.
  [[nodiscard]] static Proposal any(Snapshot const& snapshot, Group const& group, Context& context,
                                    bool may_repeat = true) {
    if (!context.request.preferred.empty())
      if (auto* record = claim_preferred(snapshot, context); record != nullptr)
        return {record, pack(context.path.bits(), Run::scanned)};
    if (!snapshot.wanted.empty() && &group == &snapshot.healthy && !context.request.restricted())
      for (auto const i : snapshot.wanted)
        if (auto* record = claim(snapshot, group, i, context, false); record != nullptr)
          return {record, pack(Path{}.bits(), Run::scanned)};
    auto const i = ask_policy(snapshot, group, context);
    if (i < group.roster.eligible && !is_unsuitable(context.request, group, i) &&
        may_be_tried(context.request, group, i))
      if (auto* record = claim(snapshot, group, i, context, true); record != nullptr)
        return {record, pack(context.path.bits(), 0)};
    return pick_again(snapshot, group, context, i, may_repeat);
  }

  /// A whole pick, by the same steps, for a context that has a trace. In a rehearsal nothing is
  /// claimed.
  [[nodiscard]] static Proposal pick_traced(Snapshot const& snapshot, Context& context) {
    if (!begins_fast(snapshot, context.request)) {
      auto const& group = Selector::group(snapshot, context.request, context.random);
      return group.roster.eligible == 0 ? Proposal{} : any(snapshot, group, context);
    }
    auto const& group = snapshot.healthy;
    auto const first = ask_policy(snapshot, group, context);
    if (first < group.roster.eligible && hooks::traits(*snapshot.policy).may_refuse)
      if (auto* record = claim(snapshot, group, first, context, true); record != nullptr)
        return {record, pack(context.path.bits(), 0)};
    return next(snapshot, group, context, first);
  }

  /// Goes on after first() claimed nothing.
  [[nodiscard]] static Proposal next(Snapshot const& snapshot, Group const& group, Context& context,
                                     std::size_t first) {
    // For a policy that can't reject, first() draws no random number. So it refuses every backend
    // that accepts only a fraction of its picks. Here the draw decides.
    if (!hooks::traits(*snapshot.policy).may_refuse && first < group.roster.eligible)
      if (auto* record = claim<false>(snapshot, group, first, context, true); record != nullptr)
        return {record, pack(context.path.bits(), 0)};
    return pick_again(snapshot, group, context, first);
  }

  /// Rare: the proposal `first` was excluded or refused. The policy is asked again a few times.
  /// Then the first backend of the group that takes the request is used. The other group follows in
  /// the same way. Backends that the request excludes come last, without `may_repeat` never.
  [[nodiscard]] static Proposal pick_again(Snapshot const& snapshot, Group const& group,
                                           Context& context, std::size_t first,
                                           bool may_repeat = true) {
    context.note_asked();
    if (first < group.roster.eligible) context.refuse(*record_at(group, first));
    auto const& other = &group == &snapshot.healthy ? snapshot.degraded : snapshot.healthy;
    // The limit of a trial may be exceeded by a request that no other backend takes.
    for (bool const on_trial : {false, true})
      for (bool const repeat : {false, true}) {
        if (repeat && (!may_repeat || context.request.excluded.empty())) break;
        for (auto const* each : {&group, &other}) {
          if (each->roster.eligible == 0) continue;
          if (!on_trial && !repeat)
            if (auto const proposal = ask_again(snapshot, *each, context);
                proposal.claimed != nullptr)
              return proposal;
          context.path = {};
          if (auto* record = scan(snapshot, *each, context, repeat, on_trial); record != nullptr)
            return {record,
                    pack(context.path.bits(), Run::scanned | (repeat ? Run::repeated : 0U))};
        }
      }
    return use_last_resort(snapshot, context, may_repeat);
  }

  /// For a request that would find nothing because policy and request leave only backends that
  /// rules keep out. Not if the others are at their limits: a dead backend is no help to those.
  [[nodiscard, gnu::noinline, gnu::cold]] static Proposal use_last_resort(Snapshot const& snapshot,
                                                                          Context& context,
                                                                          bool may_repeat) {
    auto const& group = snapshot.last_resort;
    if (group.roster.eligible == 0 || reaches_any(snapshot, context)) return {};
    for (bool const repeat : {false, true}) {
      if (repeat && (!may_repeat || context.request.excluded.empty())) break;
      context.path = {};
      if (auto* record = scan(snapshot, group, context, repeat, false); record != nullptr)
        return {record, pack(context.path.bits(), Run::scanned | (repeat ? Run::repeated : 0U))};
    }
    return {};
  }

  [[nodiscard]] static bool is_last_resort(Snapshot const& snapshot, Backend const& backend) {
    auto const& group = snapshot.last_resort;
    bool is_one = false;
    for (std::size_t i = 0; i < group.roster.eligible && !is_one; ++i)
      is_one = record_at(group, i) == &backend;
    return is_one;
  }

  /// Do policy and request allow any eligible backend, be it tried or at its limit?
  [[nodiscard]] static bool reaches_any(Snapshot const& snapshot, Context const& context) {
    auto open = context.request;
    open.excluded = {};
    for (auto const* group : {&snapshot.healthy, &snapshot.degraded}) {
      auto const& roster = group->roster;
      bool any = false;
      for (std::size_t i = 0; i < roster.eligible && !any; ++i)
        any = open.allows(*record_at(*group, i));
      if (!any) continue;
      Context fresh{open, context.random.chance(), context.lane};
      fresh.now = context.now;
      fresh.note_asked();
      if (auto* rehearsal = context.rehearsal(); rehearsal != nullptr)
        fresh.rehearse(*rehearsal, *context.trace());
      if (hooks::pick(*snapshot.policy, *group->plan, Candidates{roster}, fresh) < roster.eligible)
        return true;
    }
    return false;
  }

  [[nodiscard]] static Proposal ask_again(Snapshot const& snapshot, Group const& group,
                                          Context& context) {
    for (int ask = 0; ask < more_asks; ++ask) {
      context.path = {};
      auto const i = ask_policy(snapshot, group, context);
      if (i >= group.roster.eligible || is_unsuitable(context.request, group, i)) continue;
      if (may_be_tried(context.request, group, i))
        if (auto* record = claim(snapshot, group, i, context, true); record != nullptr)
          return {record, pack(context.path.bits(), 0)};
      context.refuse(*record_at(group, i));
    }
    return {};
  }

  /// Calls fn(record, path and flags) for every backend that takes the request: each is claimed.
  template <class Fn>
  static void claim_all(Snapshot const& snapshot, Context& context, Fn const& fn) {
    for (auto const* group : {&snapshot.healthy, &snapshot.degraded})
      for (std::size_t i = 0; i < group->roster.eligible; ++i) {
        if (is_unsuitable(context.request, *group, i)) continue;
        context.path = {};
        if (auto* record = claim(snapshot, *group, i, context, false); record != nullptr)
          fn(*record, pack(context.path.bits(), Run::scanned));
      }
  }

  /// Is there an eligible backend that the request allows and does not exclude?
  [[nodiscard]] static bool has_untried(Snapshot const& snapshot, Request const& request) noexcept {
    for (auto const* group : {&snapshot.healthy, &snapshot.degraded})
      for (std::size_t i = 0; i < group->roster.eligible; ++i)
        if (!is_unsuitable(request, *group, i)) return true;
    return false;
  }

  /// Is every backend that picks use at its limit of requests in flight? False if there is none.
  [[nodiscard]] static bool all_at_limits(Snapshot const& snapshot) noexcept {
    bool any = false;
    for (auto const* group : {&snapshot.healthy, &snapshot.degraded})
      for (std::size_t i = 0; i < group->roster.eligible; ++i) {
        auto const& each = *record_at(*group, i);
        if (each.in_flight() < each.max_in_flight()) return false;
        any = true;
      }
    return any;
  }

  [[gnu::noinline, gnu::cold]] static Error explain_failure(Snapshot const& snapshot,
                                                            Request const& request,
                                                            Duration retry_after = {}) noexcept {
    auto const& records = snapshot.membership->records;
    Error error{.reason = records.empty() ? PickError::empty : PickError::unavailable,
                .retry_after = std::chrono::ceil<std::chrono::milliseconds>(retry_after)};
    for (std::size_t i = 0; i < records.size(); ++i) {
      auto const* record = records[i];
      if (record->drained()) ++error.drained;
      // In an open panic picks use those that are unhealthy.
      else if (record->health() == HealthState::unhealthy && !is_eligible(snapshot, i))
        ++error.unhealthy;
      else if (record->weight() == 0) ++error.weightless;
      else if (!request.allows(*record)) ++error.unsuitable;
      else ++error.refused;
    }
    return error;
  }

 private:
  /// Do picks use the backend at this position of the membership?
  static bool is_eligible(Snapshot const& snapshot, std::size_t position) noexcept {
    for (auto const* group : {&snapshot.healthy, &snapshot.degraded})
      if (group->roster.eligible != 0 && group->roster.places[position] < group->roster.eligible)
        return true;
    return false;
  }

  [[nodiscard]] static std::size_t ask_policy(Snapshot const& snapshot, Group const& group,
                                              Context& context) {
    Candidates const candidates{group.roster};
    if (auto* trace = context.trace(); trace != nullptr) [[unlikely]] {
      trace->ask();
      trace->narrow(candidates, LeftOutBy::group);
    }
    return hooks::pick(*snapshot.policy, *group.plan, candidates, context);
  }

  template <bool Ask = true>
  [[nodiscard]] static Record* claim(Snapshot const& snapshot, Group const& group, std::size_t i,
                                     Context& context, bool apply_share,
                                     bool apply_trial_limit = true) {
    if (context.rehearsal() != nullptr) [[unlikely]]
      return Claiming::would_claim<Ask>(*snapshot.policy, *group.plan, group.roster, i, context,
                                        apply_share, apply_trial_limit)
                 ? record_at(group, i)
                 : nullptr;
    return static_cast<Record*>(Claiming::claim<Ask>(*snapshot.policy, *group.plan, group.roster, i,
                                                     context, apply_share, apply_trial_limit));
  }
  /// A retry avoids backends on trial: otherwise one call could fail on several of them in a row.
  static bool may_be_tried(Request const& request, Group const& group, std::size_t i) noexcept {
    return request.excluded.empty() || !record_at(group, i)->on_trial();
  }
  static bool is_unsuitable(Request const& request, Group const& group, std::size_t i) noexcept {
    return request.restricted() && (excludes(request, record_at(group, i)->serial()) ||
                                    !request.allows(*record_at(group, i)));
  }

  /// The backend that the request prefers, if it takes the request. Limits apply; the share of a
  /// backend that warms up does not, since the session was there before.
  [[nodiscard, gnu::noinline]] static Record* claim_preferred(Snapshot const& snapshot,
                                                              Context& context) {
    auto const position = snapshot.membership->find_position(context.request.preferred);
    if (position == IdIndex::absent) return nullptr;
    for (auto const* group : {&snapshot.healthy, &snapshot.degraded}) {
      if (group->roster.eligible == 0) continue;
      auto const i = group->roster.places[position];
      if (i >= group->roster.eligible || is_unsuitable(context.request, *group, i)) continue;
      if (auto* record = claim(snapshot, *group, i, context, false); record != nullptr)
        return record;
      context.path = {};
    }
    return nullptr;
  }

  /// A random index; derived from the key if the policy maps keys and the request has one.
  static std::size_t start_of_scan(Snapshot const& snapshot, Context& context, std::size_t size) {
    auto const key = context.request.key();
    return hooks::traits(*snapshot.policy).keyed && !key.empty() ? draw_of(key) % size
                                                                 : context.random.below(size);
  }

  /// The first backend from start_of_scan() on that takes the request. `on_trial` chooses between
  /// the backends on trial and all others. Limits apply, except warm-up shares and trial limits.
  [[nodiscard]] static Record* scan(Snapshot const& snapshot, Group const& group, Context& context,
                                    bool only_excluded, bool on_trial) {
    auto const size = group.roster.eligible;
    if (size == 0) return nullptr;
    auto const start = start_of_scan(snapshot, context, size);
    for (std::size_t step = 0; step < size; ++step) {
      auto const i = (start + step) % size;
      auto const& each = *record_at(group, i);
      if (excludes(context.request, each.serial()) != only_excluded) continue;
      if (each.on_trial() != on_trial || !context.request.allows(each)) continue;
      if (auto* record = claim(snapshot, group, i, context, false, !on_trial); record != nullptr)
        return record;
    }
    return nullptr;
  }
};

}  // namespace poise::inline v0_1_0::detail
