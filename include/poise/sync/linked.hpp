// SPDX-License-Identifier: MIT
#pragma once

// A shortcut to a part of a published value: one word, for readers that need nothing else of the
// value.
//
// Invariants:
//   N1  The owner changes a link before it replaces the value that owns the target. Readers follow
//       links inside a read section. So the target outlives the section, as it would if it were
//       reached through Published.
//   N2  Of links that belong together, one pointer is the leader. The owner sets the leader to null
//       before it changes the others, and to the new target after. A reader reads the leader, then
//       the others, then the leader again. If the leader had the same target both times, and not
//       null, the others belong to it: a newer one would have come after a null, and an address
//       that a reader can still follow is not used again for a new target.

#include <atomic>

namespace poise::inline v0_1_0::sync {

template <class T>
class Linked {
 public:
  // seq_cst (7), both: see ReadSection::enter. The load implies acquire (10): all that was written
  // before the link is visible, and later reads stay after this load (N2).
  [[nodiscard, gnu::always_inline]] T load() const noexcept {
    return target_.load(std::memory_order_seq_cst);
  }
  /// *Requires* the owner's lock.
  void store(T target) noexcept {
    // relaxed: only the owner writes it. Without a change, readers keep the cache line.
    if (target_.load(std::memory_order_relaxed) == target) return;
    target_.store(target, std::memory_order_seq_cst);
  }

 private:
  static_assert(std::atomic<T>::is_always_lock_free, "a link must not need a lock");
  std::atomic<T> target_{};
};

}  // namespace poise::inline v0_1_0::sync
