// SPDX-License-Identifier: MIT
#pragma once

// The last values that threads left here, for readers who want to see what happened lately. Nobody
// waits: neither writers for each other, nor for readers, nor readers for writers.
//
// A ring of slots. Each value gets a number, one more than the value before, and stands in slot
// `number % Size`. A slot has a stamp: 0 while it is empty, 2n + 1 while value n is written, and
// 2n + 2 once it stands there. Values are kept as words, each of them atomic, so a reader that
// meets a writer reads a mixture, and throws it away.
//
// Invariants:
//   V1  A slot has one writer at a time: it made the stamp odd with a compare-exchange from an even
//       one.
//   V2  Stamps only rise. A writer that finds its slot taken by a later value, or by a writer that
//       was held up for a whole turn of the ring, gives its own value up (lost()).
//   V3  A value is returned only if the stamp was 2n + 2 before its words were read, and after.
//       Then each word is that of value n: an earlier one was overwritten before the stamp was
//       2n + 2 (13), and if a word is of a later value, the second reading of the stamp sees that
//       its writer made the stamp odd (14).
//
// This is a sequence lock without fences, which ThreadSanitizer does not know. *Source* Boehm 2012,
// "Can seqlocks get along with programming language memory models?"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <type_traits>

namespace poise::inline v0_1_0::sync {

/// *Threads* any. *Cost* of a value: two atomic operations and a store a word.
template <class T, std::size_t Size>
class LastValues {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) % sizeof(std::uint64_t) == 0,
                "values are copied word by word");
  static_assert(Size != 0 && (Size & (Size - 1)) == 0, "numbers wrap: a power of two");

 public:
  LastValues() = default;
  LastValues(LastValues const&) = delete;
  LastValues& operator=(LastValues const&) = delete;

  static constexpr std::size_t size = Size;

  void add(T const& value) noexcept { add(value, sizeof value); }
  /// Of a value only the first so many bytes. The others are those of earlier values.
  void add(T const& value, std::size_t bytes) noexcept {
    // relaxed: a number says which slot, and orders nothing.
    auto const number = next_.fetch_add(1, std::memory_order_relaxed);
    auto& slot = slots_[number % Size];
    auto const writing = 2 * number + 1;
    auto before = slot.stamp.load(std::memory_order_relaxed);  // relaxed: the exchange checks it
    // acquire (13): the words of the writer before stand in their order before this one's.
    if (before % 2 != 0 || before > writing ||
        !slot.stamp.compare_exchange_strong(before, writing, std::memory_order_acquire,
                                            std::memory_order_relaxed)) {
      lost_.fetch_add(1, std::memory_order_relaxed);  // relaxed: a count
      return;
    }
    auto const* from = reinterpret_cast<std::byte const*>(&value);
    for (std::size_t i = 0; i * sizeof(std::uint64_t) < bytes; ++i) {
      std::uint64_t word;
      std::memcpy(&word, from + i * sizeof word, sizeof word);
      slot.words[i].store(word, std::memory_order_release);  // release (14): V3
    }
    slot.stamp.store(writing + 1, std::memory_order_release);  // release (13): V3
  }

  /// The number that the next value gets; values from `next() - Size` on may stand here.
  [[nodiscard]] std::uint64_t next() const noexcept {
    return next_.load(std::memory_order_relaxed);  // relaxed: at() looks at the stamp
  }
  /// How many values were given up.
  [[nodiscard]] std::uint64_t lost() const noexcept {
    return lost_.load(std::memory_order_relaxed);  // relaxed: a count
  }
  /// The value of this number. Empty if it is not here yet, or not any more, or was given up.
  [[nodiscard]] std::optional<T> at(std::uint64_t number) const noexcept {
    auto const& slot = slots_[number % Size];
    auto const written = 2 * number + 2;
    if (slot.stamp.load(std::memory_order_acquire) != written) return std::nullopt;  // (13): V3
    Words words;
    for (std::size_t i = 0; i < words.size(); ++i)
      words[i] = slot.words[i].load(std::memory_order_acquire);  // acquire (14): V3
    // relaxed: after the acquires above, which keep it there.
    if (slot.stamp.load(std::memory_order_relaxed) != written) return std::nullopt;
    T value;
    std::memcpy(static_cast<void*>(&value), words.data(), sizeof value);
    return value;
  }

 private:
  using Words = std::array<std::uint64_t, sizeof(T) / sizeof(std::uint64_t)>;
  struct alignas(64) Slot {
    std::atomic<std::uint64_t> stamp{0};
    std::array<std::atomic<std::uint64_t>, std::tuple_size_v<Words>> words{};
  };

  std::atomic<std::uint64_t> next_{0};
  std::atomic<std::uint64_t> lost_{0};
  std::array<Slot, Size> slots_{};
};

}  // namespace poise::inline v0_1_0::sync
