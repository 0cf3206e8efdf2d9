// SPDX-License-Identifier: MIT
#pragma once

// Counters that threads advance without sharing a cache line, and the cursor built from them.
//
// An increment of a counter that all threads share costs 2 ns with one thread, 10 ns with two, and
// more with more. Here every thread has a lane of its own, which it advances with a plain load and
// store. The index of the thread's reader slot selects the lane. A thread that ends passes both on
// to the next thread that starts. So short-lived threads continue a rotation instead of restarting
// it. Two lanes are shared and exact: threads beyond the last lane use `spare`, and balancers with
// an injected seed use `shared`, which starts at a given position.
//
// Invariant L1: a lane other than these two is advanced by one thread at a time (E4).

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace poise::inline v0_1_0::sync {

inline constexpr std::uint32_t lane_count = 64;  // 4 KiB a cursor, and one lane more

/// The counter that a thread uses: one of its own, or a shared one.
enum class Lane : std::uint32_t { shared = 0, spare = lane_count };

/// The lane of the thread with this index. The spare lane when the lanes are used up, the shared
/// lane when lanes are off.
[[nodiscard]] constexpr Lane lane_of(std::uint32_t thread_index, bool own_lanes) noexcept {
  if (!own_lanes) return Lane::shared;
  return thread_index + 1 < lane_count ? Lane{thread_index + 1} : Lane::spare;
}

[[nodiscard]] constexpr bool has_several_owners(Lane lane) noexcept {
  return static_cast<std::uint32_t>(lane) - 1 >= lane_count - 1;
}

/// One counter per lane. *Threads* any. *Cost* a load and a store; on the shared lane one atomic
/// add.
class Lanes {
 public:
  /// Starts the shared lane at `first` and every other lane at a different position.
  explicit Lanes(std::uint64_t first, std::uint64_t (*start)(std::uint64_t)) noexcept {
    lanes_[0].position.store(first, std::memory_order_relaxed);  // relaxed: not shared yet
    for (std::size_t lane = 1; lane < lane_count; ++lane)
      lanes_[lane].position.store(start(first + lane), std::memory_order_relaxed);
    // Halved: turn() counts on from here, and a wrap at 2^64 would make the rotation jump.
    several(Lane::spare).store(start(first + lane_count) / 2, std::memory_order_relaxed);
  }

  /// A copy of one lane. The others start at 0.
  explicit Lanes(Lanes const& other, Lane lane) noexcept {
    // relaxed: as in advance; the owner may advance it meanwhile, and nobody else has the copy yet.
    auto const which = static_cast<std::size_t>(lane);
    lanes_[which].position.store(other.lanes_[which].position.load(std::memory_order_relaxed),
                                 std::memory_order_relaxed);
  }

  /// Adds `step` to the lane and returns the value before.
  [[gnu::always_inline]] std::uint64_t advance(Lane lane, std::uint64_t step) noexcept {
    // relaxed: the counter orders nothing; a lane's next owner gets it through slot.taken (1).
    // several() finds the lane's address: an address that both branches share would be computed
    // before the branch.
    if (has_several_owners(lane)) [[unlikely]]
      return several(lane).fetch_add(step, std::memory_order_relaxed);
    auto& position = lanes_[static_cast<std::size_t>(lane)].position;
    auto const before = position.load(std::memory_order_relaxed);
    position.store(before + step, std::memory_order_relaxed);  // L1: no other thread writes it
    return before;
  }

  /// The value of the lane.
  [[nodiscard]] std::uint64_t position(Lane lane) const noexcept {
    // relaxed: as in advance.
    return lanes_[static_cast<std::size_t>(lane)].position.load(std::memory_order_relaxed);
  }
  /// The sum of all lanes, modulo 2^64. Their owners may advance them meanwhile.
  [[nodiscard]] std::uint64_t sum() const noexcept {
    std::uint64_t sum = 0;
    for (auto const& lane : lanes_)
      sum += lane.position.load(std::memory_order_relaxed);  // as above
    return sum;
  }

  /// Advances the lane by one around a circle of `size` places; returns the place before.
  [[gnu::always_inline]] std::uint64_t turn(Lane lane, std::uint64_t size) noexcept {
    // relaxed: as in advance. An own lane holds a place, not a count: it divides once a round.
    if (has_several_owners(lane)) [[unlikely]]
      return several(lane).fetch_add(1, std::memory_order_relaxed) % size;
    auto& position = lanes_[static_cast<std::size_t>(lane)].position;
    auto place = position.load(std::memory_order_relaxed);
    if (place >= size) [[unlikely]]
      place %= size;
    position.store(place + 1, std::memory_order_relaxed);  // L1
    return place;
  }

 private:
  // Every pick writes its lane. If the low 12 bits of a later load's address are the same, the
  // processor may take the load for one of that store. After such a mistake it delays these loads
  // for a while, which costs 3 to 5 ns a pick. So the position stands at an offset in its cache
  // line where no other line that picks read has data: not at the beginning, where a backend has
  // its count of requests.
  struct alignas(64) Counter {
    std::array<std::byte, 56> unused{};
    std::atomic<std::uint64_t> position{0};
  };
  [[nodiscard]] std::atomic<std::uint64_t>& several(Lane lane) noexcept {
    return lanes_[lane == Lane::shared ? 0 : lane_count].position;
  }

  std::array<Counter, lane_count + 1> lanes_;
};

}  // namespace poise::inline v0_1_0::sync
