// SPDX-License-Identifier: MIT
#pragma once

// A backend's word: how much is in flight, how often it was picked, and who keeps it alive, in 64 bits.
//
// One atomic add per pick counts both, and doubles as the reference count of the backend, so a pick
// costs two read-modify-writes in all (here and at the end of the request).
//
//   bits  0-23  in flight
//   bit   24    pinned: some snapshot that is not freed yet lists the backend
//   bits 32-63  picks, modulo 2^32; every crossing of 2^31 is counted in `halves_`
//
// Invariants:
//   W1  While a snapshot that lists the backend can be read, the pin is set.
//   W2  claim() and undo() happen only inside a read section that found the backend, so under the pin.
//   W3  Whoever takes the word to "not pinned, none in flight" owns the backend alone and frees it.
//   W4  In flight stays below 2^24: a claim that finds 2^23 or more is undone, and 2^23 threads would
//       have to be between the two at once. So the count never carries into the pin.
//   W5  halves_ lags behind the word, never leads, as seen by picks().

#include <atomic>
#include <cstdint>

namespace poise::sync {

class InFlight {
 public:
  static constexpr std::uint32_t limit = 1U << 23;

  /// Counts one pick, in flight from now on. Returns how many were in flight before.
  std::uint32_t claim() noexcept {
    // relaxed: the snapshot pins the backend (W1, W2), and its content was acquired with the snapshot.
    auto const old = word_.fetch_add(one + pick, std::memory_order_relaxed);
    if (crosses_half(old, old + pick)) [[unlikely]]
      halves_.fetch_add(1, std::memory_order_release);  // release (8): after the word, for W5
    return in_flight_of(old);
  }

  /// Takes a claim back: it was refused. The backend stays alive, since W2 still holds.
  void undo() noexcept {
    auto const old = word_.fetch_sub(one + pick, std::memory_order_relaxed);  // as in claim
    if (crosses_half(old, old - pick)) [[unlikely]]
      halves_.fetch_sub(1, std::memory_order_release);  // release (8)
  }

  /// Ends a request. True if the caller must free the backend (W3).
  [[nodiscard]] bool release() noexcept {
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
    // acquire (8): the word read next is at least as new as halves_ (W5).
    auto halves = halves_.load(std::memory_order_acquire);
    auto const low = word_.load(std::memory_order_relaxed) >> pick_shift;
    if ((halves & 1U) != low >> 31U) ++halves;  // the crossing that is not counted yet
    return (halves >> 1U << 32U) + low;
  }

 private:
  static constexpr unsigned pick_shift = 32;
  static constexpr std::uint64_t one = 1;
  static constexpr std::uint64_t pin = std::uint64_t{1} << 24U;
  static constexpr std::uint64_t pick = std::uint64_t{1} << pick_shift;
  static constexpr std::uint64_t owners = pick - 1;

  static constexpr std::uint32_t in_flight_of(std::uint64_t word) noexcept {
    return static_cast<std::uint32_t>(word & (pin - 1));
  }
  static constexpr bool crosses_half(std::uint64_t before, std::uint64_t after) noexcept {
    return ((before ^ after) >> 63U) != 0;
  }

  std::atomic<std::uint64_t> word_{pin};
  std::atomic<std::uint64_t> halves_{0};
};

}  // namespace poise::sync
