// SPDX-License-Identifier: MIT
#pragma once

// Counters that threads advance without sharing a cache line, and the cursor built from them.
//
// A counter that all threads increment costs 2 ns alone and 10 ns between two threads, more with
// more. Here every thread has a lane of its own, which it advances with a plain load and store. The
// number of a lane belongs to the thread's reader slot, so it passes from a thread that ends to the
// next that starts, and the position with it: short-lived threads continue a rotation instead of
// restarting it. Threads beyond the last lane, and balancers with an injected seed, use lane 0,
// which is shared and exact.
//
// Invariant L1: a lane other than 0 is advanced by one thread at a time (E4).

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace poise::sync {

/// Which counter a thread uses: 0 is shared by all, any other is its own.
enum class Lane : std::uint32_t { shared = 0 };

inline constexpr std::uint32_t lane_count = 64;  // 4 KiB a cursor; more threads share lane 0

/// The lane of the thread with this index; the shared one when lanes are off or used up.
[[nodiscard]] constexpr Lane lane_of(std::uint32_t thread_index, bool own_lanes) noexcept {
  return own_lanes && thread_index + 1 < lane_count ? Lane{thread_index + 1} : Lane::shared;
}

/// One counter per lane. *Threads* any. *Cost* a load and a store; on the shared lane one atomic
/// add.
class Lanes {
 public:
  /// Starts every own lane at a place of its own and the shared one at `first`.
  explicit Lanes(std::uint64_t first, std::uint64_t (*start)(std::uint64_t)) noexcept {
    lanes_[0].position.store(first, std::memory_order_relaxed);  // relaxed: not shared yet
    for (std::size_t lane = 1; lane < lane_count; ++lane)
      lanes_[lane].position.store(start(first + lane), std::memory_order_relaxed);
  }

  /// Adds `step` to the lane and returns what it was.
  [[gnu::always_inline]] std::uint64_t advance(Lane lane, std::uint64_t step) noexcept {
    // relaxed: the counter orders nothing; a lane's next owner gets it through slot.taken (1).
    // Lane 0 by its number: an address that both ways share would be computed in front of both.
    if (lane == Lane::shared) [[unlikely]]
      return lanes_[0].position.fetch_add(step, std::memory_order_relaxed);
    auto& position = lanes_[static_cast<std::size_t>(lane)].position;
    auto const before = position.load(std::memory_order_relaxed);
    position.store(before + step, std::memory_order_relaxed);  // L1: nobody else writes it
    return before;
  }

  /// All lanes together, modulo 2^64, while their owners go on advancing them.
  [[nodiscard]] std::uint64_t sum() const noexcept {
    std::uint64_t sum = 0;
    for (auto const& lane : lanes_)
      sum += lane.position.load(std::memory_order_relaxed);  // as above
    return sum;
  }

  /// Advances the lane by one around a circle of `size` places and returns the place it stood on.
  [[gnu::always_inline]] std::uint64_t turn(Lane lane, std::uint64_t size) noexcept {
    // relaxed: as in advance. An own lane holds a place, not a count, and so divides once a turn.
    if (lane == Lane::shared) [[unlikely]]
      return lanes_[0].position.fetch_add(1, std::memory_order_relaxed) % size;
    auto& position = lanes_[static_cast<std::size_t>(lane)].position;
    auto place = position.load(std::memory_order_relaxed);
    if (place >= size) [[unlikely]]
      place %= size;
    position.store(place + 1, std::memory_order_relaxed);  // L1
    return place;
  }

 private:
  // Every pick writes its lane, and a processor may take a load for one from that store if the low
  // 12 bits of both addresses agree: once it was wrong, such loads wait for a while, 3 to 5 ns a
  // pick. So the position stands where no line that picks read has anything: not at the beginning,
  // as a backend's count of requests.
  struct alignas(64) Counter {
    std::array<std::byte, 56> unused{};
    std::atomic<std::uint64_t> position{0};
  };
  std::array<Counter, lane_count> lanes_;
};

}  // namespace poise::sync
