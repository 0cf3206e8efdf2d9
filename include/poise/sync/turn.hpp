// SPDX-License-Identifier: MIT
#pragma once

// Work that any thread may ask for, that one thread at a time does, and for which no thread waits.
//
// Invariants:
//   T1  Between enter() == true and leave() == false one thread has the turn.
//   T2  After each enter() the work is done once more from its beginning, by the thread that has
//       the turn, and it sees what happened before that enter().

#include <atomic>
#include <cstdint>

namespace poise::inline v0_1_0::sync {

class Turn {
 public:
  /// Asks for the work. True if the caller must do it now: do { begin(); ... } while (leave());
  [[nodiscard]] bool enter() noexcept {
    // acq_rel (12): what happened before is seen by the work that this asks for (T2), and what the
    // last thread at work did by a caller that has the turn now.
    return asked_.fetch_add(1, std::memory_order_acq_rel) == 0;
  }
  /// Begins the work. *Requires* the turn.
  void begin() noexcept {
    // acquire (12), pairs with enter().
    seen_ = asked_.load(std::memory_order_acquire);
  }
  /// True if it was asked for since begin(): the caller must do it again. Else the turn is over.
  [[nodiscard]] bool leave() noexcept {
    auto seen = seen_;
    // acq_rel (12): what this thread did happens before the work of the next one.
    return !asked_.compare_exchange_strong(seen, 0, std::memory_order_acq_rel,
                                           std::memory_order_relaxed);
  }

 private:
  std::atomic<std::uint64_t> asked_{0};  // since the turn began; 0: no thread has it
  std::uint64_t seen_ = 0;               // asked_ when the work began; of the thread at work
};

}  // namespace poise::inline v0_1_0::sync
