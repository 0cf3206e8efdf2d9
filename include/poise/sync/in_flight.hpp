// SPDX-License-Identifier: MIT
#pragma once

// A backend's word: how much is in flight, how often it was picked, and who keeps it alive, in 64
// bits.
//
// One atomic add per pick counts both, and doubles as the reference count of the backend, so a pick
// costs two read-modify-writes in all (here and at the end of the request).
//
//   bits  0-23  in flight
//   bit   24    pinned: some snapshot that is not freed yet lists the backend
//   bits 32-63  picks, modulo 2^32; every crossing of a multiple of 2^28 is counted in `stretches_`
//
// Invariants:
//   W1  While a snapshot that lists the backend can be read, the pin is set.
//   W2  claim() and undo() happen only inside a read section that found the backend: under the pin.
//   W3  Whoever takes the word to "not pinned, none in flight" owns the backend alone and frees it.
//   W4  In flight stays below 2^24: a claim that finds 2^23 or more is undone, and 2^23 threads
//       would have to be between the two at once. So the count never carries into the pin.
//   W5  stretches_ is off by at most one for each thread that stands between its two additions just
//       as the word crosses: by fewer than 8 either way, so that picks() can put it right.

#include <atomic>
#include <cstdint>

namespace poise::sync {

class InFlight {
 public:
  static constexpr std::uint32_t limit = 1U << 23;

  /// Counts one pick, in flight from now on. Returns how many were in flight before.
  [[gnu::always_inline]] std::uint32_t claim() noexcept {
    // relaxed: the snapshot pins the backend (W1, W2), and its content was acquired with the
    // snapshot.
    auto const old = word_.fetch_add(one + pick, std::memory_order_relaxed);
    if (crosses(old, old + pick)) [[unlikely]]
      stretches_.fetch_add(1, std::memory_order_relaxed);  // the word says which way it is off: W5
    return in_flight_of(old);
  }

  /// Takes a claim back: it was refused. The backend stays alive, since W2 still holds.
  [[gnu::always_inline]] void undo() noexcept {
    auto const old = word_.fetch_sub(one + pick, std::memory_order_relaxed);  // as in claim
    if (crosses(old, old - pick)) [[unlikely]]
      stretches_.fetch_sub(1, std::memory_order_relaxed);  // W5
  }

  /// Ends a request. True if the caller must free the backend (W3).
  [[nodiscard, gnu::always_inline]] bool release() noexcept {
    // acq_rel (9): what every user of the backend did happens before the last one frees it.
    auto const old = word_.fetch_sub(one, std::memory_order_acq_rel);
    return (old & owners) == one;
  }

  /// The last snapshot that lists the backend is gone. True if the caller must free it (W3).
  [[nodiscard]] bool unpin() noexcept {
    // acq_rel (9): pairs with release() on other threads.
    auto const old = word_.fetch_sub(pin, std::memory_order_acq_rel);
    return (old & owners) == pin;
  }

  [[nodiscard]] std::uint32_t in_flight() const noexcept {
    return in_flight_of(word_.load(std::memory_order_relaxed));  // a statistic
  }

  /// All picks ever, exact when nobody picks, and never off by a wrap.
  [[nodiscard]] std::uint64_t picks() const noexcept {
    auto const stretches = stretches_.load(std::memory_order_relaxed);  // W5
    auto const word = word_.load(std::memory_order_relaxed);
    // The nearest number that ends in the word's own four bits: at most 8 less, at most 7 more.
    auto const ahead = (stretch_of(word) - stretches + 8) % 16 - 8;
    return ((stretches + ahead) << stretch_bits) + (word >> pick_shift) % (1U << stretch_bits);
  }

 private:
  static constexpr unsigned pick_shift = 32;
  static constexpr unsigned stretch_bits = 28;
  static constexpr std::uint64_t one = 1;
  static constexpr std::uint64_t pin = std::uint64_t{1} << 24U;
  static constexpr std::uint64_t pick = std::uint64_t{1} << pick_shift;
  static constexpr std::uint64_t owners = pick - 1;

  static constexpr std::uint32_t in_flight_of(std::uint64_t word) noexcept {
    return static_cast<std::uint32_t>(word & (pin - 1));
  }
  static constexpr std::uint64_t stretch_of(std::uint64_t word) noexcept {
    return word >> (pick_shift + stretch_bits);
  }
  static constexpr bool crosses(std::uint64_t before, std::uint64_t after) noexcept {
    return stretch_of(before ^ after) != 0;
  }

  std::atomic<std::uint64_t> word_{pin};
  std::atomic<std::uint64_t> stretches_{0};
};

}  // namespace poise::sync
