// SPDX-License-Identifier: MIT
#pragma once

// How many there are, with additions that happen only if nothing else has happened meanwhile: for a
// limit that depends on the total, and on other numbers that are counted up before each addition
// and down after each removal.
//
// One word: the count below, and above it the number of changes ever, modulo 2^32.
//
// Invariants:
//   T1  If add_if_unchanged(seen) succeeds, the count was seen.count() at that very moment, and
//       nothing was added or removed since `seen` was read (but for exactly 2^32 changes).
//   T2  What a thread counted up elsewhere before it added is visible to whoever reads a tally that
//       includes the addition.

#include <atomic>
#include <cstdint>

namespace poise::sync {

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
    // release (2): keeps the additions before it visible; on a count above 0, "- 1" does not
    // borrow.
    word_.fetch_add(change - 1, std::memory_order_release);
  }
  /// Puts things right, if nothing has changed since `seen`.
  bool set_if_unchanged(Reading seen, std::uint32_t count) noexcept {
    auto const next = ((seen.word_ + change) & ~(change - 1)) | count;
    return word_.compare_exchange_strong(seen.word_, next, std::memory_order_release,
                                         std::memory_order_relaxed);
  }

 private:
  static constexpr std::uint64_t change = std::uint64_t{1} << 32U;
  std::atomic<std::uint64_t> word_{0};
};

}  // namespace poise::sync
