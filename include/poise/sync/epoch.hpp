// SPDX-License-Identifier: MIT
#pragma once

// Who is reading right now: one slot per thread, and an era that updates advance.
//
// The problem: many threads read a snapshot that another thread replaces at any time; the old one
// may be freed only when nobody reads it any more, and reading must cost next to nothing. A lock
// moves a cache line between all readers; a shared pointer does the same. Here a reader writes only
// to a line of its own.
//
// Invariants (asserted, and cited by the tests):
//   E1  slot.era is 0 when its thread is not reading, else the era it saw when its outermost
//       section began.
//   E2  A snapshot retired at era E was unlinked before the era became E.
//   E3  When every slot holds 0 or an era >= E, nobody reads a snapshot retired at E.
//   E4  A slot belongs to at most one thread at a time; slots are reused, never freed.
// Why E3 holds, and what was model-checked: docs/concurrency.md.
//
// Limits: a read section must not span a suspension (co_await) or block; it may nest.

#include <atomic>
#include <cstdint>
#include <limits>

#include <pthread.h>

#include <poise/sync/fence.hpp>

namespace poise::sync {

/// A thread's seat among the readers. Its index is small and dense: it also names the thread's
/// lane.
struct alignas(64) ReaderSlot {
  std::uint32_t index{0};
  bool temporary{false};  // for one section of a thread that is ending; touched by the owner only
  std::atomic<std::uint64_t> era{0};  // not at the beginning of its line: see Lanes::Counter
  ReaderSlot* next{nullptr};
  std::atomic<bool> taken{true};
};

namespace detail {

struct Domain {
  std::atomic<std::uint64_t> era{1};
  std::atomic<ReaderSlot*> slots{nullptr};
  std::atomic<std::uint32_t> slot_count{0};
};

inline constinit Domain domain;
inline constinit thread_local ReaderSlot* own_slot = nullptr;
inline constinit thread_local bool thread_is_ending = false;

inline void give_back(ReaderSlot& slot) noexcept {
  own_slot = nullptr;
  // release (1): the next owner, acquire (1) in take_slot, sees what this one wrote to its lanes.
  slot.taken.store(false, std::memory_order_release);
}

struct SlotOwner {
  ~SlotOwner() {
    thread_is_ending = true;
    if (own_slot != nullptr) give_back(*own_slot);
  }
  void arm() noexcept {}  // odr-use: constructs the thread's owner, so that its destructor will run
};
inline thread_local SlotOwner slot_owner;

/// In the child of a fork only the forking thread lives: nobody else reads, and their slots are
/// free.
inline void forget_other_threads() noexcept {
  // relaxed throughout: the child has one thread.
  for (auto* slot = domain.slots.load(std::memory_order_relaxed); slot != nullptr;
       slot = slot->next) {
    if (slot == own_slot) continue;
    slot->era.store(0, std::memory_order_relaxed);
    slot->taken.store(false, std::memory_order_relaxed);
  }
  if (fence_in_use() == Fence::asymmetric) register_membarrier();
}

inline ReaderSlot& take_slot() {
  // acquire (2), pairs with release (2): `next` and `index` of every listed slot are visible.
  for (auto* slot = domain.slots.load(std::memory_order_acquire); slot != nullptr;
       slot = slot->next) {
    bool free = false;
    // acquire (1), pairs with release (1); relaxed on failure: nothing was learnt.
    if (!slot->taken.load(std::memory_order_relaxed) &&
        slot->taken.compare_exchange_strong(free, true, std::memory_order_acquire,
                                            std::memory_order_relaxed))
      return *slot;
  }
  auto* slot = new ReaderSlot;  // lives as long as the process: see E4
  slot->index =
      domain.slot_count.fetch_add(1, std::memory_order_relaxed);  // only uniqueness counts
  slot->next = domain.slots.load(std::memory_order_relaxed);
  // release (2), pairs with acquire (2). seq_cst as well: a scan that begins after this reader's
  // era was stored must find the slot in the list (the same Dekker argument as for the era itself).
  while (!domain.slots.compare_exchange_weak(slot->next, slot, std::memory_order_seq_cst,
                                             std::memory_order_relaxed)) {
  }
  return *slot;
}

}  // namespace detail

/// Must run once before the first reader: settles the fence and makes fork safe.
inline void start() {
  static bool const once = [] {
    settle_fence();
    pthread_atfork(nullptr, nullptr, &detail::forget_other_threads);
    return true;
  }();
  (void)once;
}

/// True inside a read section of this thread.
[[nodiscard]] inline bool is_reading() noexcept {
  // relaxed: the slot is this thread's own.
  return detail::own_slot != nullptr && detail::own_slot->era.load(std::memory_order_relaxed) != 0;
}

/// What was published when the section began, or later, stays alive until it ends.
///
/// *Threads* one section belongs to one thread; sections nest. *Cost* two stores to a line of the
/// thread's own; the first section of a thread takes a slot (and may allocate it).
class ReadSection {
 public:
  [[gnu::always_inline]] ReadSection() noexcept {
    auto* slot = detail::own_slot;
    if (slot == nullptr) [[unlikely]]
      slot = &first_slot();
    thread_index_ = slot->index;
    // relaxed: the slot is this thread's own. An outer section's era is older, so it protects this
    // one.
    if (slot->era.load(std::memory_order_relaxed) != 0) [[unlikely]]
      return;
    entered_ = slot;
    enter(*slot);
  }
  ReadSection(ReadSection const&) = delete;
  ReadSection& operator=(ReadSection const&) = delete;
  [[gnu::always_inline]] ~ReadSection() {
    if (entered_ == nullptr) [[unlikely]]
      return;
    // release (3): everything read in this section happens before a collector's acquire (3) sees 0.
    entered_->era.store(0, std::memory_order_release);
    if (entered_->temporary) [[unlikely]]
      detail::give_back(*entered_);
  }

  /// The thread's small dense number: below the number of threads that ever read at the same time.
  [[nodiscard]] std::uint32_t thread_index() const noexcept { return thread_index_; }

 private:
  // Static, so that a section never has an address and lives in registers.
  [[gnu::noinline, gnu::cold]] static ReaderSlot& first_slot() noexcept {
    auto& slot = detail::take_slot();
    detail::own_slot = &slot;
    slot.temporary =
        detail::thread_is_ending;  // its owner's destructor has run: nobody gives it back
    if (!slot.temporary) detail::slot_owner.arm();
    return slot;
  }

  [[gnu::always_inline]] static void enter(ReaderSlot& slot) noexcept {
    // acquire (4), pairs with the advance (4): who sees era E also sees the snapshot that E
    // published.
    auto const era = detail::domain.era.load(std::memory_order_acquire);
    if (fence_in_use() == Fence::asymmetric) [[likely]] {
      // release (5): what this thread read in earlier sections happens before a scan that sees this
      // era.
      slot.era.store(era, std::memory_order_release);
      // The compiler must not move the snapshot's load up; the processor is stopped by membarrier.
      std::atomic_signal_fence(std::memory_order_seq_cst);
    } else {
      // seq_cst (6): in the single total order either this store precedes the scan's load (6), or
      // the swap of the snapshot (7) precedes this reader's load of it (7).
      slot.era.exchange(era, std::memory_order_seq_cst);
    }
  }

  ReaderSlot* entered_{nullptr};  // null in a nested section
  std::uint32_t thread_index_;
};

/// Begins a new era and returns its number E. *Requires* that what E retires is unlinked already.
[[nodiscard]] inline std::uint64_t advance_era() noexcept {
  // seq_cst implies release (4), pairs with acquire (4).
  return detail::domain.era.fetch_add(1, std::memory_order_seq_cst) + 1;
}

/// The era of the oldest section in progress; the maximum if nobody reads.
[[nodiscard]] inline std::uint64_t oldest_reader() noexcept {
  auto oldest = std::numeric_limits<std::uint64_t>::max();
  // seq_cst (2), (6): see take_slot and enter. It implies acquire (3), (5).
  for (auto* slot = detail::domain.slots.load(std::memory_order_seq_cst); slot != nullptr;
       slot = slot->next) {
    auto const era = slot->era.load(std::memory_order_seq_cst);
    if (era != 0 && era < oldest) oldest = era;
  }
  return oldest;
}

}  // namespace poise::sync
