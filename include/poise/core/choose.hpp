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
#include <poise/hash.hpp>
#include <poise/policy.hpp>
#include <poise/random.hpp>
#include <poise/request.hpp>
#include <poise/time.hpp>

namespace poise::detail {

template <class Record, class P>
struct Choose {
  using Group = detail::Group<P>;
  using Snapshot = detail::Snapshot<Record, P>;

  struct Found {  // two words, returned in registers, so that the lease need not live in memory
    Record* record = nullptr;
    Path path{};
    std::uint32_t flags = 0;
  };

  [[gnu::always_inline]] static Group const& group(Snapshot const& snapshot, Request const& request,
                                                   Chance& chance, sync::Lane lane) {
    if (snapshot.degraded.roster.eligible == 0) [[likely]]
      return snapshot.healthy;
    return draw_group(snapshot, request, chance, lane);
  }

  static Record* record_at(Group const& group, std::size_t i) noexcept {
    return static_cast<Record*>(group.roster.entries[i].backend);
  }

  static bool is_excluded(Request const& request, Candidates const& candidates,
                          std::size_t i) noexcept {
    return !request.excluded.empty() && excludes(request, candidates[i].serial());
  }

  /// Counts the request in; null if the backend or the policy refuses it at this very count.
  /// Without `Ask` the policy has no say.
  template <bool Ask = true>
  [[nodiscard, gnu::always_inline]] static Record* claim(Snapshot const& snapshot,
                                                         Group const& group, std::size_t i,
                                                         Context& context, bool heed_share) {
    auto& record = *record_at(group, i);
    auto const before = record.claim();
    // No guard object: with a destructor to run it would live in memory, in every pick.
    try {
      if (admits(record, before, context, heed_share) &&
          (!Ask || hooks::admit(*snapshot.policy, *group.plan, Candidates{group.roster}, i, before,
                                context))) [[likely]]
        return &record;
    } catch (...) {
      record.undo();
      throw;
    }
    record.undo();
    return nullptr;
  }

  /// The same for a policy that has no say, if nothing is left to chance: null also where the
  /// backend accepts only a share of its picks. Without a context, which need not outlive the
  /// policy's pick then: what has to be kept over a call is stored, and paid for at the claim.
  [[nodiscard, gnu::always_inline]] static Record* claim_at_once(Group const& group,
                                                                 std::size_t i) noexcept {
    auto& record = *record_at(group, i);
    auto const before = record.claim();
    auto const admission = record.admission();
    if (before < admission.max_in_flight && admission.share == Admission{}.share) [[likely]]
      return &record;
    record.undo();
    return nullptr;
  }

  /// What became of a proposal that claim_at_once did not get; or, if it is refused, another one.
  [[nodiscard]] static Found again(Snapshot const& snapshot, Group const& group, Context& context,
                                   std::size_t first) {
    Candidates const candidates{group.roster};
    if (first < candidates.size() && !is_excluded(context.request, candidates, first))
      if (auto* record = claim<false>(snapshot, group, first, context, true); record != nullptr)
        return {record, context.path, 0};
    return another(snapshot, group, context, first);
  }

  /// The policy's proposal, claimed; or, if it comes to nothing, another one.
  [[nodiscard]] static Found any(Snapshot const& snapshot, Group const& group, Context& context) {
    Candidates const candidates{group.roster};
    auto const i = hooks::pick(*snapshot.policy, *group.plan, candidates, context);
    if (i < candidates.size() && !is_excluded(context.request, candidates, i))
      if (auto* record = claim(snapshot, group, i, context, true); record != nullptr)
        return {record, context.path, 0};
    return another(snapshot, group, context, i);
  }

  /// Seldom: the proposal `first` was excluded or refused. The policy is asked again a few times;
  /// then any usable backend will do, of this group, of the other one; then an excluded one.
  [[nodiscard]] static Found another(Snapshot const& snapshot, Group const& group, Context& context,
                                     std::size_t first) {
    // If a share s of the backends is unusable, 4 more draws miss all others with s^5: 3 % at one
    // half.
    constexpr int asks = 4;
    auto const& request = context.request;
    Candidates const candidates{group.roster};
    if (first < candidates.size()) context.refuse(candidates[first]);
    for (int ask = 0; ask < asks; ++ask) {
      context.path = {};
      auto const i = hooks::pick(*snapshot.policy, *group.plan, candidates, context);
      if (i >= candidates.size() || is_excluded(request, candidates, i)) continue;
      if (auto* record = claim(snapshot, group, i, context, true); record != nullptr)
        return {record, context.path, 0};
      context.refuse(candidates[i]);
    }
    context.path = {};
    auto const& other = &group == &snapshot.healthy ? snapshot.degraded : snapshot.healthy;
    for (bool const repeat : {false, true}) {
      if (repeat && request.excluded.empty()) break;
      for (auto const* each : {&group, &other})
        if (auto* record = scan(snapshot, *each, context, repeat); record != nullptr)
          return {record, context.path, Run::scanned | (repeat ? Run::repeated : 0U)};
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
  /// By its own limits.
  [[nodiscard, gnu::always_inline]] static bool admits(Record const& record, std::uint32_t before,
                                                       Context& context, bool heed_share) {
    auto const admission = record.admission();
    constexpr auto full = Admission{}.share;
    return before < admission.max_in_flight &&
           (!heed_share || admission.share == full ||
            static_cast<std::uint32_t>(context.random()) < admission.share);
  }

  /// Healthy or degraded ones, by their shares; for a keyed policy the key decides instead of
  /// chance.
  [[gnu::noinline]] static Group const& draw_group(Snapshot const& snapshot, Request const& request,
                                                   Chance& chance, sync::Lane lane) {
    auto const key = request.key();
    auto const draw = hooks::keyed(*snapshot.policy) && !key.empty() ? hash_text(key) % 100
                                                                     : Rng{chance, lane}.below(100);
    return draw < snapshot.healthy_share ? snapshot.healthy : snapshot.degraded;
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
