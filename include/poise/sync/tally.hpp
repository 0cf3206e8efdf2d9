// SPDX-License-Identifier: MIT
#pragma once

// A versioned counter. It adds only if nothing changed since the caller's read: a compare-and-swap
// on value and version. It serves a limit that depends on this count and on other numbers, which
// are raised before each addition and lowered after each removal.
//
// One word: the count in the low half, the number of changes ever, modulo 2^32, in the high half.
//
// Invariants:
//   T1  If add_if_unchanged(seen) succeeds, the count was seen.count() at that moment, and nothing
//       was added or removed since `seen` was read (unless exactly 2^32 changes were made).
//   T2  A thread that reads a tally sees all that other threads wrote before the additions which
//       the tally includes.

#include <atomic>
#include <cstdint>

namespace poise::inline v0_1_0::sync {

class Tally {
 public:
  class Reading {
   public:
    [[nodiscard]] std::uint32_t count() const noexcept { return static_cast<std::uint32_t>(word_); }

   private:
    friend Tally;
    explicit Reading(std::uint64_t word) noexcept : word_{word} {}
    std::uint64_t word_;
  };

  [[nodiscard]] Reading read() const noexcept {
    return Reading{word_.load(std::memory_order_acquire)};  // acquire (1), pairs with (2): T2
  }
  /// Adds one if nothing has changed since `seen` (T1).
  [[nodiscard]] bool add_if_unchanged(Reading seen) noexcept {
    // release (2), pairs with (1). On failure nothing is read: the caller reads again.
    return word_.compare_exchange_strong(seen.word_, seen.word_ + change + 1,
                                         std::memory_order_release, std::memory_order_relaxed);
  }
  /// *Requires* a count above 0.
  void remove() noexcept {
    // release (2): keeps earlier additions visible. The count is above 0, so "- 1" does not borrow.
    word_.fetch_add(change - 1, std::memory_order_release);
  }
  /// Corrects the count if nothing has changed since `seen`.
  bool set_if_unchanged(Reading seen, std::uint32_t count) noexcept {
    auto const next = ((seen.word_ + change) & ~(change - 1)) | count;
    return word_.compare_exchange_strong(seen.word_, next, std::memory_order_release,
                                         std::memory_order_relaxed);
  }

 private:
  static constexpr std::uint64_t change = std::uint64_t{1} << 32U;
  std::atomic<std::uint64_t> word_{0};
};

}  // namespace poise::inline v0_1_0::sync
