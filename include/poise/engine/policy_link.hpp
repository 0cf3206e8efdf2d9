// SPDX-License-Identifier: MIT
#pragma once

// The current snapshot, and a direct link to its policy, so that a completed request finds the
// policy's on_finish quickly.

#include <cstddef>
#include <cstdint>
#include <optional>

#include <poise/engine/draft.hpp>
#include <poise/engine/id_index.hpp>
#include <poise/engine/snapshot.hpp>
#include <poise/outcome.hpp>
#include <poise/policy.hpp>
#include <poise/policy/pick_info.hpp>
#include <poise/sync/epoch.hpp>
#include <poise/sync/linked.hpp>
#include <poise/sync/published.hpp>
#include <poise/sync/relaxed.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::detail {

template <class Record, class P>
class PolicyLink {
 public:
  using Snapshot = detail::Snapshot<Record, P>;

  /// Read by picks, written only by changes.
  sync::Published<Snapshot> current;

  /// Calls the policy's on_finish. The usual case does not go through the snapshot: the policy is
  /// one load away, and so is its state of this record. N2 in sync/linked.hpp is the check that the
  /// two belong together.
  [[gnu::always_inline]] void notify(Record& record, Run run, Outcome outcome, Duration latency,
                                     Time now) noexcept {
    constexpr bool stateful = hooks::may_have_state<P>;
    sync::ReadSection const section;
    auto const* policy = linked_policy_.load();
    auto* const state = stateful ? record.policy_state() : nullptr;
    auto const flags = linked_flags_.load();
    if (policy == nullptr || (stateful && state == nullptr) || linked_policy_.load() != policy)
        [[unlikely]]
      return notify_of_snapshot(record, run, outcome, latency, now);
    call(*policy, flags, state, record, run, outcome, latency, now);
  }

  /// Links the next snapshot's policy and states. *Requires* the lock, and that the records know
  /// their positions in that snapshot; `before` is the membership that it replaces.
  void link(Draft<Record, P> const& draft, Snapshot const& next,
            Membership<Record> const* before) noexcept {
    auto const* policy = next.policy.get();
    if (linked_policy_.load() != policy) linked_policy_.store(nullptr);
    if (draft.members_changed && before != nullptr)
      for (auto* record : before->records)
        if (auto const position = record->position();
            position >= draft.entries.size() || draft.entries[position].record != record)
          record->link_policy_state(nullptr);  // removed
    for (std::size_t i = 0; i < draft.entries.size(); ++i)
      draft.entries[i].record->link_policy_state(next.states.empty() ? nullptr
                                                                     : next.states[i].get());
    linked_flags_.store(next.flags);
    linked_policy_.store(policy);
  }

  /// *Requires* the lock.
  void unlink() noexcept { linked_policy_.store(nullptr); }

  /// How often on_finish threw.
  [[nodiscard]] std::uint64_t failures() const noexcept { return failures_.load(); }

 private:
  /// The slow path: while a policy replaces another, for a policy without states, and for a removed
  /// backend.
  [[gnu::noinline]] void notify_of_snapshot(Record& record, Run run, Outcome outcome,
                                            Duration latency, Time now) noexcept {
    sync::ReadSection const section;
    auto const* snapshot = current.load();
    if (snapshot == nullptr) return;
    void* state = nullptr;
    if (!snapshot->states.empty() || snapshot->membership->records.empty()) {
      auto const position = snapshot->membership->position_of(record);
      if (position == IdIndex::absent) return;  // removed meanwhile
      state = snapshot->states[position].get();
    }
    call(*snapshot->policy, snapshot->flags, state, record, run, outcome, latency, now);
  }

  [[gnu::always_inline]] void call(P const& policy, std::uint32_t flags, void* state,
                                   Record& record, Run run, Outcome outcome, Duration latency,
                                   Time now) noexcept {
    Finish finish{record, outcome, std::nullopt, now, std::nullopt, state};
    // Assigned, not copied from a temporary: if the finish lives in memory, such a copy reads at
    // once bytes that were just written one by one, and the processor stalls.
    if (latency >= Duration::zero()) finish.latency = latency;
    if (run.picked_under(flags)) finish.path = run.path();
    if (run.same_policy(flags)) finish.started = run.start;
    try {
      hooks::on_finish(policy, finish);
    } catch (...) {
      failures_.add(1);
    }
  }

  sync::Linked<P const*> linked_policy_;  // the snapshot's policy
  sync::Linked<std::uint32_t> linked_flags_;
  sync::Relaxed<std::uint64_t> failures_{0};
};

}  // namespace poise::inline v0_1_0::detail
