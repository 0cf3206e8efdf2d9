// SPDX-License-Identifier: MIT
#pragma once

// How often something happens within any stretch of time, and whether it may happen once more: a
// count over a window that moves, and an addition that fails if the window is full. What will
// happen soon can be counted at its time.
//
// Time comes as the number of a slot, from any clock. Each slot has a word: its number modulo 2^32
// above, what was counted in it below. A word that belongs to another turn of the ring counts as
// empty and is taken over by the next addition.
//
// Invariants:
//   N1  If add(slot, most) succeeds, no more than `most` additions that succeeded, this one
//       included, are in the slots from `slot - window` to `slot + window - 1`. So no `window`
//       slots in a row ever hold more than the last of the additions to them was allowed.
//   N2  What failed is taken back: it may make others fail meanwhile, never succeed.
//
// For N1 every addition is made first and checked then; of two at once the later in the single
// total order of all seq_cst operations sees the earlier (1). It has one exception: a thread that
// is held up for a whole ring between the reading of its clock and its addition takes over a word
// that is in use, and what that slot counted is forgotten. A clock that jumps by more than a window
// finds the window empty, in either direction.

#include <array>
#include <atomic>
#include <cstdint>

namespace poise::sync {

/// *Threads* any. *Cost* two atomic operations and a scan of 512 bytes for an addition; 4 KiB.
class Recent {
 public:
  static constexpr std::uint32_t window = 32;
  /// What is added farther ahead of the present overwrites what is in its window.
  static constexpr std::uint32_t most_ahead = 512 - 2 * window;

  /// Counts one more, unless more than `most` would be in the window.
  [[nodiscard]] bool add(std::uint32_t slot, std::uint64_t most) noexcept {
    auto& word = words_[slot % words_.size()];
    auto before = word.load(std::memory_order_relaxed);  // relaxed: the exchange checks it
    while (!word.compare_exchange_weak(
        before, number_of(before) == slot ? before + 1 : (std::uint64_t{slot} << 32U) + 1,
        std::memory_order_seq_cst,  // seq_cst (1): N1
        std::memory_order_relaxed)) {
    }
    if (count(slot - window, slot + window) <= most) return true;
    take_back(word, slot);
    return false;
  }

  /// How many are in the slots from `first` to the one before `end`.
  [[nodiscard]] std::uint64_t count(std::uint32_t first, std::uint32_t end) const noexcept {
    std::uint64_t sum = 0;
    for (auto each = first; each != end; ++each) {
      auto const word = words_[each % words_.size()].load(std::memory_order_seq_cst);  // (1): N1
      if (number_of(word) == each) sum += static_cast<std::uint32_t>(word);
    }
    return sum;
  }

 private:
  using Word = std::atomic<std::uint64_t>;

  static std::uint32_t number_of(std::uint64_t word) noexcept {
    return static_cast<std::uint32_t>(word >> 32U);
  }

  static void take_back(Word& word, std::uint32_t slot) noexcept {
    auto value = word.load(std::memory_order_relaxed);
    // relaxed: seen late, it makes others fail (N2). Another turn's word has nothing of ours.
    while (number_of(value) == slot && static_cast<std::uint32_t>(value) != 0 &&
           !word.compare_exchange_weak(value, value - 1, std::memory_order_relaxed)) {
    }
  }

  std::array<Word, most_ahead + 2 * window> words_{};
};

}  // namespace poise::sync
