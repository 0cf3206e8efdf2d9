// SPDX-License-Identifier: MIT
#pragma once

// A short list of backends that were good a moment ago, for all threads, without a lock: slots of
// one word each, in cache lines that can be looked at one by one. See policy/adaptive.hpp.

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>

#include <poise/sync/lanes.hpp>
#include <poise/sync/relaxed.hpp>

namespace poise::detail {

/// Does more than one thread pick? On a line of its own, which is written twice at most.
class alignas(64) Pickers {
 public:
  /// Notes that a thread with this lane picks. With an injected seed all have the same.
  [[nodiscard, gnu::always_inline]] bool several(sync::Lane lane) noexcept {
    auto const number = static_cast<std::uint32_t>(lane);
    auto const known = who_.load();
    if (known != many && known != number) [[unlikely]]
      who_.store(known == nobody ? number : many);
    return known == many;
  }

 private:
  static constexpr auto nobody = std::numeric_limits<std::uint32_t>::max();
  static constexpr auto many = nobody - 1;
  sync::Relaxed<std::uint32_t> who_{nobody};
};

/// A few backends and what they cost. Words {cost, slot, key}, from the top, so that all three
/// always belong together, and words compare as costs do: they are not negative, and then their
/// bits compare as they do.
template <std::size_t Size>
class alignas(64) Board {
  static_assert(Size >= 2 && Size <= 256);

 public:
  static constexpr float empty = std::numeric_limits<float>::infinity();
  static constexpr std::uint32_t key_mask = 0xff'ffff;
  // A cache line has 8 slots; a board of several lines can be looked at one by one.
  static constexpr std::size_t parts = Size >= 16 && Size % 8 == 0 ? Size / 8 : 1;
  static constexpr std::size_t part_size = Size / parts;

  /// What stands in a slot.
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
    friend Board;
    explicit Entry(std::uint64_t word) noexcept : word_{word} {}
    static constexpr unsigned key_bits = 24;
    std::uint64_t word_;
  };
  struct Survey {
    Entry first;
    Entry second;
  };

  Board() noexcept {
    for (std::uint32_t slot = 0; slot < Size; ++slot) clear(slot);
  }
  [[nodiscard]] Entry at(std::size_t slot) const noexcept { return Entry{words_[slot].load()}; }
  void set(Entry entry) noexcept { words_[entry.slot()].store(entry.word_); }
  void clear(std::uint32_t slot) noexcept { set({empty, slot, 0}); }

  /// The two best of a part. No branch depends on the costs: all would be mispredicted.
  [[nodiscard, gnu::always_inline]] Survey survey(std::size_t part) const noexcept {
    auto const* const words = words_.data() + part * part_size;
    auto first = words[0].load();
    auto second = ~std::uint64_t{0};
    for (std::size_t i = 1; i < part_size; ++i) {
      auto const each = words[i].load();
      second = lower(second, higher(first, each));
      first = lower(first, each);
    }
    return {Entry{first}, Entry{second}};
  }
  /// The two best of the other parts and of this one.
  [[nodiscard, gnu::always_inline]] Survey survey_all_but(std::size_t part,
                                                          Survey so_far) const noexcept {
    for (std::size_t i = 1; i < parts; ++i) {
      auto const other = survey((part + i) % parts);
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
  // By value: what std::min refers to would live in memory.
  static constexpr std::uint64_t lower(std::uint64_t a, std::uint64_t b) noexcept {
    return b < a ? b : a;
  }
  static constexpr std::uint64_t higher(std::uint64_t a, std::uint64_t b) noexcept {
    return a < b ? b : a;
  }
  std::array<sync::Relaxed<std::uint64_t>, Size> words_;
};

}  // namespace poise::detail
