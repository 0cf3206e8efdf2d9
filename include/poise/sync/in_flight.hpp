// SPDX-License-Identifier: MIT
#pragma once

// A backend's requests in flight, its number of picks and its reference count, in one word of 64
// bits.
//
// One atomic add per pick changes all three. So a pick costs two read-modify-writes in all: this
// one, and one at the end of the request.
//
//   bits  0-23  in flight
//   bit   24    pinned: some snapshot that is not freed yet lists the backend
//   bit   25    marked: a queue waits for requests here to end (engine/waiting.hpp)
//   bits 32-63  picks, modulo 2^32; every crossing of a multiple of 2^28 is counted in `stretches_`
//
// Invariants:
//   W1  While a snapshot that lists the backend can be read, the pin is set.
//   W2  claim() and undo() happen only inside a read section that found the backend: under the pin.
//   W3  The thread that changes the word to "not pinned, none in flight" owns the backend alone and
//       frees it.
//   W4  In flight stays below 2^24: a claim that finds 2^23 or more is undone, and it would take
//       2^23 threads between claim and undo at once to exceed that. So the count never carries into
//       the pin.
//   W6  Of a mark() and a release() or undo() one comes first in the order of the word's changes.
//       So either the request's end sees the mark, or the marking thread sees the request gone.
//   W5  stretches_ is off by at most one for each thread that is between its two additions while
//       the word crosses: by fewer than 8 either way. So picks() can correct it.

#include <atomic>
#include <cstdint>

namespace poise::inline v0_1_0::sync {

class InFlight {
 public:
  static constexpr std::uint32_t limit = 1U << 23;

  /// Counts one pick, in flight from now on. Returns how many were in flight before.
  [[gnu::always_inline]] std::uint32_t claim() noexcept {
    // relaxed: the snapshot pins the backend (W1, W2), and its content was acquired with the
    // snapshot.
    auto const old = word_.fetch_add(one + pick, std::memory_order_relaxed);
    if (crosses(old, old + pick)) [[unlikely]]
      stretches_.fetch_add(1, std::memory_order_relaxed);  // may be late: W5
    return in_flight_of(old);
  }

  /// Takes a claim back: it was refused. The backend stays alive, since W2 still holds. True if a
  /// queue must be woken (W6): while it was counted, the claim may have turned another away.
  [[nodiscard, gnu::always_inline]] bool undo() noexcept {
    auto const old = word_.fetch_sub(one + pick, std::memory_order_relaxed);  // as in claim
    if (crosses(old, old - pick)) [[unlikely]]
      stretches_.fetch_sub(1, std::memory_order_relaxed);  // W5
    return (old & marked) != 0;
  }

  /// What the end of a request leads to.
  enum class End : std::uint8_t { none, free, wake };

  /// Ends a request. Mostly nothing follows; else the caller must free the backend (W3), or wake a
  /// queue (W6) without touching the backend, which another thread may free.
  [[nodiscard, gnu::always_inline]] End release() noexcept {
    // acq_rel (9): all that other users of the backend did happens before the last one frees it.
    auto const old = word_.fetch_sub(one, std::memory_order_acq_rel);
    if ((old & (pin | marked)) == pin) [[likely]]
      return End::none;
    if ((old & owners) == one) return End::free;
    return (old & marked) != 0 ? End::wake : End::none;
  }

  /// Has the ends of requests reported from now on, and says how many are in flight. *Requires*
  /// that the caller keeps the backend alive.
  std::uint32_t mark() noexcept {
    // acq_rel (9): a request that ended before is seen to have ended (W6).
    return in_flight_of(word_.fetch_or(marked, std::memory_order_acq_rel));
  }
  void unmark() noexcept { word_.fetch_and(~marked, std::memory_order_relaxed); }

  /// Clears the pin: no snapshot lists the backend any more. True if the caller must free the
  /// backend (W3).
  [[nodiscard]] bool unpin() noexcept {
    // acq_rel (9): pairs with release() on other threads.
    auto const old = word_.fetch_sub(pin, std::memory_order_acq_rel);
    return (old & owners) == pin;
  }

  [[nodiscard]] std::uint32_t in_flight() const noexcept {
    return in_flight_of(word_.load(std::memory_order_relaxed));  // a statistic
  }

  /// All picks ever, wraps included; exact while no pick is in progress.
  [[nodiscard]] std::uint64_t picks() const noexcept { return read().picks; }

  struct Reading {
    std::uint64_t picks;
    std::uint32_t in_flight;
  };
  /// Both numbers at the same moment: in_flight is never above picks.
  [[nodiscard]] Reading read() const noexcept {
    auto const stretches = stretches_.load(std::memory_order_relaxed);  // W5
    auto const word = word_.load(std::memory_order_relaxed);
    // The number nearest to stretches_ that ends in the word's top four bits: -8 to +7.
    auto const ahead = (stretch_of(word) - stretches + 8) % 16 - 8;
    return {((stretches + ahead) << stretch_bits) + (word >> pick_shift) % (1U << stretch_bits),
            in_flight_of(word)};
  }

 private:
  static constexpr unsigned pick_shift = 32;
  static constexpr unsigned stretch_bits = 28;
  static constexpr std::uint64_t one = 1;
  static constexpr std::uint64_t pin = std::uint64_t{1} << 24U;
  static constexpr std::uint64_t pick = std::uint64_t{1} << pick_shift;
  static constexpr std::uint64_t marked = std::uint64_t{1} << 25U;
  static constexpr std::uint64_t owners = pin | (pin - 1);

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

}  // namespace poise::inline v0_1_0::sync
