// SPDX-License-Identifier: MIT
#pragma once

// A short list of backends that were good a moment ago. All threads share it without a lock. Each
// slot is one word; a thread may read a single cache line of it. See policy/adaptive.hpp.

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>

#include <poise/sync/lanes.hpp>
#include <poise/sync/relaxed.hpp>

namespace poise::inline v0_1_0::detail::adaptive {

/// Knows whether more than one thread picks. It has its own cache line, written at most twice.
class alignas(64) PickingThreads {
 public:
  /// Notes that a thread with this lane picks. With an injected seed all threads have the same
  /// lane.
  [[nodiscard, gnu::always_inline]] bool several(sync::Lane lane) noexcept {
    auto const number = static_cast<std::uint32_t>(lane);
    auto const known = lane_.load();
    if (known != many && known != number) [[unlikely]]
      lane_.store(known == none ? number : many);
    return known == many;
  }

  [[nodiscard]] bool are_several() const noexcept { return lane_.load() == many; }

 private:
  static constexpr auto none = std::numeric_limits<std::uint32_t>::max();
  static constexpr auto many = none - 1;
  sync::Relaxed<std::uint32_t> lane_{none};
};

/// A few backends and their costs. A slot is one word, from the top: cost, slot, key. So the three
/// always belong together. Words compare as their costs do: the bits of floats that are not
/// negative compare as the floats themselves.
template <std::size_t Size>
class alignas(64) ShortList {
  static_assert(Size >= 2 && Size <= 256);

 public:
  static constexpr float empty = std::numeric_limits<float>::infinity();
  static constexpr std::uint32_t key_mask = 0xff'ffff;
  // A cache line has 8 slots; the lines of a longer list can be read one by one.
  static constexpr std::size_t lines = Size >= 16 && Size % 8 == 0 ? Size / 8 : 1;
  static constexpr std::size_t line_size = Size / lines;

  /// The content of a slot.
  class Entry {
   public:
    Entry() = default;
    Entry(float cost, std::uint32_t slot, std::uint32_t key) noexcept
        : word_{static_cast<std::uint64_t>(std::bit_cast<std::uint32_t>(cost)) << 32U |
                slot << key_bits | key} {}
    [[nodiscard]] float cost() const noexcept {
      return std::bit_cast<float>(static_cast<std::uint32_t>(word_ >> 32U));
    }
    [[nodiscard]] std::uint32_t slot() const noexcept {
      return static_cast<std::uint32_t>(word_) >> key_bits;
    }
    [[nodiscard]] std::uint32_t key() const noexcept {
      return static_cast<std::uint32_t>(word_) & key_mask;
    }

   private:
    friend ShortList;
    explicit Entry(std::uint64_t word) noexcept : word_{word} {}
    static constexpr unsigned key_bits = 24;
    std::uint64_t word_;
  };
  struct BestTwo {
    Entry first;
    Entry second;
  };

  ShortList() noexcept {
    for (std::uint32_t slot = 0; slot < Size; ++slot) clear(slot);
  }
  [[nodiscard]] Entry at(std::size_t slot) const noexcept { return Entry{words_[slot].load()}; }
  void set(Entry entry) noexcept { words_[entry.slot()].store(entry.word_); }
  void clear(std::uint32_t slot) noexcept { set({empty, slot, 0}); }

  /// The two best of a line. No branch depends on the costs: it would often be mispredicted.
  [[nodiscard, gnu::always_inline]] BestTwo best_of_line(std::size_t line) const noexcept {
    auto const* const words = words_.data() + line * line_size;
    auto first = words[0].load();
    auto second = ~std::uint64_t{0};
    for (std::size_t i = 1; i < line_size; ++i) {
      auto const each = words[i].load();
      second = lower(second, higher(first, each));
      first = lower(first, each);
    }
    return {Entry{first}, Entry{second}};
  }
  /// The two best of the other lines and of this one.
  [[nodiscard, gnu::always_inline]] BestTwo best_of_others(std::size_t line,
                                                           BestTwo so_far) const noexcept {
    for (std::size_t i = 1; i < lines; ++i) {
      auto const other = best_of_line((line + i) % lines);
      auto const best = so_far.first.word_;
      so_far.second.word_ =
          lower(lower(so_far.second.word_, other.second.word_), higher(best, other.first.word_));
      so_far.first.word_ = lower(best, other.first.word_);
    }
    return so_far;
  }
  [[nodiscard]] Entry worst() const noexcept {
    auto worst = words_[0].load();
    for (std::size_t i = 1; i < Size; ++i) worst = std::max(worst, words_[i].load());
    return Entry{worst};
  }

 private:
  // By value: std::min takes references, so its arguments would live in memory.
  static constexpr std::uint64_t lower(std::uint64_t a, std::uint64_t b) noexcept {
    return b < a ? b : a;
  }
  static constexpr std::uint64_t higher(std::uint64_t a, std::uint64_t b) noexcept {
    return a < b ? b : a;
  }
  std::array<sync::Relaxed<std::uint64_t>, Size> words_;
};

}  // namespace poise::inline v0_1_0::detail::adaptive
