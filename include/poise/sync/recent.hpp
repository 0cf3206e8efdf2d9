// SPDX-License-Identifier: MIT
#pragma once

// A sliding-window counter with a limit: an addition fails if the window is full. Events may be
// counted ahead of time.
//
// Time comes as a slot number, from any clock. The slots form a ring. Each slot has a word: its
// number modulo 2^32 in the high half, its count in the low half. A word of an earlier turn of the
// ring counts as empty, and the next addition takes it over.
//
// Invariants:
//   N1  If add(slot, max) succeeds, the slots from `slot - window` to `slot + window - 1` hold at
//       most `max` successful additions, this one included. So `window` slots in a row never hold
//       more than the last addition to them was allowed.
//   N2  A failed addition is taken back. Meanwhile it may make others fail, never succeed.
//
// For N1 every addition is made first and checked then. Of two additions at once, the later one in
// the single total order of all seq_cst operations sees the earlier one (1). There is one
// exception: a thread that is held up for a whole turn of the ring between the reading of its clock
// and its addition takes over a word in use, and the count of that slot is lost. A clock that jumps
// by more than a window, in either direction, finds the window empty.

#include <array>
#include <atomic>
#include <cstdint>

namespace poise::inline v0_1_0::sync {

/// *Threads* any. *Cost* two atomic operations and a scan of 512 bytes for an addition; 4 KiB.
class Recent {
 public:
  static constexpr std::uint32_t window = 32;
  /// An addition farther ahead of the present would overwrite the present's window.
  static constexpr std::uint32_t max_ahead = 512 - 2 * window;

  /// Adds one, unless the window would hold more than `max`.
  [[nodiscard]] bool add(std::uint32_t slot, std::uint64_t max) noexcept {
    auto& word = words_[slot % words_.size()];
    auto before = word.load(std::memory_order_relaxed);  // relaxed: the exchange checks it
    while (!word.compare_exchange_weak(
        before, number_of(before) == slot ? before + 1 : (std::uint64_t{slot} << 32U) + 1,
        std::memory_order_seq_cst,  // seq_cst (1): N1
        std::memory_order_relaxed)) {
    }
    if (count(slot - window, slot + window) <= max) return true;
    take_back(word, slot);
    return false;
  }

  /// The sum of the slots from `first` to the one before `end`.
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
    // relaxed: if it is seen late, it makes others fail (N2). A word of another turn does not
    // contain this addition.
    while (number_of(value) == slot && static_cast<std::uint32_t>(value) != 0 &&
           !word.compare_exchange_weak(value, value - 1, std::memory_order_relaxed)) {
    }
  }

  std::array<Word, max_ahead + 2 * window> words_{};
};

}  // namespace poise::inline v0_1_0::sync
