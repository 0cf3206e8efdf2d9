// SPDX-License-Identifier: MIT
#pragma once

// How many things are open, by the interval of time in which each was opened: exact counts in fixed
// memory, for any number of things that are closed in any order.
//
// A ring of slots, one interval each. An addition to a newer interval takes over the slot of an
// older one, whose count moves to one sum for all older intervals.
//
// Invariants:
//   A1  The interval of a slot only grows.
//   A2  What is added for one interval, opened or closed, meets in one place: its slot while that
//       has the interval, and the sum of older ones from then on (A1). So places add up exactly as
//       soon as no addition is in progress. Until then one may be off by what moves.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace poise::inline v0_1_0::sync {

/// *Threads* any. *Cost* of an addition: one compare-and-swap; two more operations when it begins
/// an interval.
template <std::size_t Slots>
class AgeCounts {
 public:
  /// Intervals are numbered by the caller, upward with time: -2^36 to 2^36.
  using Interval = std::int64_t;
  static constexpr std::int64_t slots = Slots;

  void open(Interval interval) noexcept { add(interval, 1); }
  /// *Requires* the interval of its open().
  void close(Interval interval) noexcept { add(interval, -1); }

  struct Reading {
    std::int64_t count = 0;
    std::optional<Interval> oldest{};  ///< Empty if it is older than all slots, or there is none.
  };
  /// What was opened before this interval.
  [[nodiscard]] Reading opened_before(Interval interval) const noexcept {
    Reading reading;
    for (auto const& slot : slots_) {
      auto const word = slot.load();
      if (count_of(word) <= 0 || interval_of(word) >= interval) continue;
      reading.count += count_of(word);
      if (!reading.oldest || interval_of(word) < *reading.oldest)
        reading.oldest = interval_of(word);
    }
    if (auto const older = older_.load(std::memory_order_relaxed); older > 0) {
      reading.count += older;
      reading.oldest.reset();
    }
    return reading;
  }

 private:
  // A word: the interval above, and 2^25 more than the count in the low 26 bits. A backend never
  // has more than 2^23 requests in flight (InFlight, W4), so the count stays inside its bits.
  static constexpr unsigned count_bits = 26;
  static constexpr std::int64_t zero = std::int64_t{1} << (count_bits - 1);
  static constexpr Interval before_all = -(Interval{1} << 37U);

  static constexpr std::int64_t word_of(Interval interval, std::int64_t count) noexcept {
    return interval * (std::int64_t{1} << count_bits) + zero + count;
  }
  static constexpr Interval interval_of(std::int64_t word) noexcept { return word >> count_bits; }
  static constexpr std::int64_t count_of(std::int64_t word) noexcept {
    return word - word_of(interval_of(word), 0);
  }

  struct Slot {
    std::atomic<std::int64_t> word{word_of(before_all, 0)};
    [[nodiscard]] std::int64_t load() const noexcept {
      return word.load(std::memory_order_relaxed);
    }
  };

  // relaxed, all of it: counts publish nothing else, and A2 needs only the order of each word's own
  // changes.
  void add(Interval interval, std::int64_t amount) noexcept {
    auto& slot = slots_[static_cast<std::uint64_t>(interval) % Slots];
    auto word = slot.load();
    for (;;) {
      auto const present = interval_of(word);
      if (present > interval) return add_older(amount);
      auto const next = present == interval ? word + amount : word_of(interval, amount);
      if (!slot.word.compare_exchange_weak(word, next, std::memory_order_relaxed)) continue;
      if (present != interval) add_older(count_of(word));
      return;
    }
  }
  void add_older(std::int64_t amount) noexcept {
    older_.fetch_add(amount, std::memory_order_relaxed);
  }

  std::array<Slot, Slots> slots_{};
  std::atomic<std::int64_t> older_{0};
};

}  // namespace poise::inline v0_1_0::sync
