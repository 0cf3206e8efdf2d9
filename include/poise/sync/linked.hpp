// SPDX-License-Identifier: MIT
#pragma once

// A word beside a published value: a pointer into what the value owns, or what goes with it, for
// readers that need nothing else of the value and save the way through it.
//
// Invariants:
//   N1  The owner links elsewhere before the value that owns the target is replaced, and readers
//       follow a link inside a read section. So what they got outlives the section, as the value
//       itself would: a link is to them what Published's pointer is.
//   N2  Links that belong together are led by one pointer: the owner sets it to null before it
//       changes the others, and to the new target after. A reader that finds the same target, not
//       null, before and after it read the others has read what belongs to it: had one of them been
//       newer, so would the null have been; and a target that a reader can still follow is never
//       used again for another.

#include <atomic>

namespace poise::sync {

template <class T>
class Linked {
 public:
  // seq_cst (7), both: see ReadSection::enter. The load implies acquire (10): what was written
  // before the link is visible, and what is read after it is read after it (N2).
  [[nodiscard, gnu::always_inline]] T load() const noexcept {
    return target_.load(std::memory_order_seq_cst);
  }
  /// *Requires* the owner's lock.
  void store(T target) noexcept {
    // relaxed: the owner alone writes it. Readers keep its cache line if nothing changes.
    if (target_.load(std::memory_order_relaxed) == target) return;
    target_.store(target, std::memory_order_seq_cst);
  }

 private:
  static_assert(std::atomic<T>::is_always_lock_free, "a link must not need a lock");
  std::atomic<T> target_{};
};

}  // namespace poise::sync
