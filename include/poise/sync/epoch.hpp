// SPDX-License-Identifier: MIT
#pragma once

// Epoch-based reclamation: one slot per thread shows whether it reads, and updates advance an
// epoch.
//
// The problem: many threads read a snapshot that another thread replaces at any time. The old
// snapshot may be freed only when no thread reads it any more, and reading must cost next to
// nothing. A lock moves a cache line between all readers, and so does a shared pointer. Here a
// reader writes only to a cache line of its own.
//
// Invariants (asserted, and cited by the tests):
//   E1  slot.epoch is 0 while its thread is not reading, else the epoch that the thread saw when
//       its outermost section began.
//   E2  A snapshot retired at epoch E was unlinked before the epoch became E.
//   E3  When every slot holds 0 or an epoch >= E, no thread reads a snapshot retired at E.
//   E4  A slot belongs to at most one thread at a time; slots are reused, never freed.
//   E5  A thread always gets a slot, without waiting for memory: see take_slot.
// Why E3 holds, and what was model-checked: docs/concurrency.md.
//
// Limits: a read section must not span a suspension (co_await) or block; it may nest.

#include <array>
#include <atomic>
#include <cstdint>
#include <limits>
#include <new>

#include <pthread.h>
#include <sched.h>

#include <poise/sync/fence.hpp>

namespace poise::inline v0_1_0::sync {

/// A reading thread's slot. Its index is small and dense, and also selects the thread's lane.
struct alignas(64) ReaderSlot {
  std::uint32_t index{0};
  bool temporary{false};                // for one section only; touched by the owner only
  std::atomic<std::uint64_t> epoch{0};  // not at the beginning of its line: see Lanes::Counter
  ReaderSlot* next{nullptr};
  std::atomic<bool> taken{false};
};

namespace detail {

/// The slots of the first threads, 16 KiB: a program with so many threads allocates none.
inline constinit std::array<ReaderSlot, 256> first_slots{};
/// For one section at a time of any thread that could not get a slot. Beyond all lanes.
inline constinit ReaderSlot last_resort{.index = std::numeric_limits<std::uint32_t>::max() - 1};

struct Domain {
  std::atomic<std::uint64_t> epoch{1};
  std::atomic<ReaderSlot*> slots{&last_resort};
  std::atomic<std::uint32_t> slot_count{0};
};

inline constinit Domain domain;
inline constinit thread_local ReaderSlot* slot_of_thread = nullptr;
inline constinit thread_local bool thread_is_ending = false;

/// The slot of the thread that runs now; null before its first section.
///
/// A function may go on on another thread: user code between two sections may switch fibers. In a
/// shared library a thread's variable is found by a call, whose result clang keeps for the whole
/// function. There the variable stands behind a call that the compiler must make each time.
#if defined(__PIC__) && !defined(__PIE__)
[[gnu::noinline]] inline ReaderSlot*& own_slot() noexcept {
  asm volatile("");  // what has an effect is not merged with an earlier call
  return slot_of_thread;
}
#else
[[gnu::always_inline]] inline ReaderSlot*& own_slot() noexcept { return slot_of_thread; }
#endif

inline void give_back(ReaderSlot& slot) noexcept {
  own_slot() = nullptr;
  // release (1): the next owner, acquire (1) in take_slot, sees what this one wrote to its lanes.
  slot.taken.store(false, std::memory_order_release);
}

/// Gives a thread's slot back when the thread ends.
///
/// A key of pthread and no thread_local with a destructor: registering one of those allocates, and
/// ends the program if there is no memory. A key that can't be set is an error that is returned.
class EndOfThread {
 public:
  EndOfThread() noexcept : works_{pthread_key_create(&key_, &run) == 0} {}
  /// False if the slot would not be given back.
  [[nodiscard]] bool watch(ReaderSlot& slot) const noexcept {
    return works_ && pthread_setspecific(key_, &slot) == 0;
  }

 private:
  static void run(void* slot) noexcept {
    thread_is_ending = true;
    give_back(*static_cast<ReaderSlot*>(slot));
  }

  pthread_key_t key_{};
  bool works_;
};

inline EndOfThread const& end_of_thread() noexcept {
  static EndOfThread const only;
  return only;
}

/// In the child of a fork only the forking thread lives: the slots of all others are free.
inline void forget_other_threads() noexcept {
  // relaxed throughout: the child has one thread.
  for (auto* slot = domain.slots.load(std::memory_order_relaxed); slot != nullptr;
       slot = slot->next) {
    if (slot == own_slot()) continue;
    slot->epoch.store(0, std::memory_order_relaxed);
    slot->taken.store(false, std::memory_order_relaxed);
  }
  if (fence_in_use() == Fence::asymmetric) register_membarrier();
}

inline bool try_take(ReaderSlot& slot) noexcept {
  bool free = false;
  // acquire (1), pairs with release (1); relaxed on failure: nothing was learnt.
  return slot.taken.compare_exchange_strong(free, true, std::memory_order_acquire,
                                            std::memory_order_relaxed);
}

/// The lowest free slot, because only the first slots have lanes of their own. Otherwise, after a
/// peak of threads, slots without a lane would pass from thread to thread for ever.
inline ReaderSlot* lowest_free_slot() noexcept {
  ReaderSlot* lowest = nullptr;
  // acquire (2), pairs with release (2): `next` and `index` of every listed slot are visible.
  for (auto* slot = domain.slots.load(std::memory_order_acquire); slot != nullptr;
       slot = slot->next)
    if (!slot->taken.load(std::memory_order_relaxed) && slot != &last_resort &&
        (lowest == nullptr || slot->index < lowest->index))
      lowest = slot;
  return lowest;
}

/// A slot that no thread has had, with its index; null if there is no memory for one.
inline ReaderSlot* new_slot() noexcept {
  // relaxed throughout: only uniqueness counts.
  auto count = domain.slot_count.load(std::memory_order_relaxed);
  while (count < first_slots.size())
    if (domain.slot_count.compare_exchange_weak(count, count + 1, std::memory_order_relaxed)) {
      first_slots[count].index = count;
      return &first_slots[count];
    }
  auto* const slot = new (std::nothrow) ReaderSlot;  // lives as long as the process: see E4
  if (slot != nullptr) slot->index = domain.slot_count.fetch_add(1, std::memory_order_relaxed);
  return slot;
}

inline void list(ReaderSlot& slot) noexcept {
  slot.next = domain.slots.load(std::memory_order_relaxed);
  // release (2), pairs with acquire (2). seq_cst as well: a scan that begins after this reader's
  // epoch was stored must find the slot in the list (the same Dekker argument as for the epoch
  // itself).
  while (!domain.slots.compare_exchange_weak(slot.next, &slot, std::memory_order_seq_cst,
                                             std::memory_order_relaxed)) {
  }
}

/// E5: a free slot, or a new one, or without memory the last resort, for which sections wait for
/// each other. They wait for a section only, which blocks on nothing: a thread that is inside one
/// has a slot, so it does not wait for another.
inline ReaderSlot& take_slot() noexcept {
  while (auto* const slot = lowest_free_slot())
    if (try_take(*slot)) return *slot;
  if (auto* const slot = new_slot()) {
    slot->taken.store(true, std::memory_order_relaxed);  // relaxed: not listed yet
    list(*slot);
    return *slot;
  }
  while (!try_take(last_resort)) sched_yield();
  return last_resort;
}

}  // namespace detail

/// Must run once before the first reader: chooses the fence and makes fork safe.
inline void start() {
  static bool const once = [] {
    settle_fence();
    (void)detail::end_of_thread();
    pthread_atfork(nullptr, nullptr, &detail::forget_other_threads);
    return true;
  }();
  (void)once;
}

/// True inside a read section of this thread.
[[nodiscard]] inline bool is_reading() noexcept {
  auto const* const slot = detail::own_slot();
  // relaxed: the slot is this thread's own.
  return slot != nullptr && slot->epoch.load(std::memory_order_relaxed) != 0;
}

/// A value that is current when the section begins, or becomes current later, stays alive until the
/// section ends.
///
/// *Threads* one section belongs to one thread; sections nest. *Cost* two stores to a line of the
/// thread's own; the first section of a thread takes a slot. It allocates one if more than 256
/// threads have slots, and without memory it waits for other threads' sections instead.
class ReadSection {
 public:
  [[gnu::always_inline]] ReadSection() noexcept {
    auto* slot = detail::own_slot();
    if (slot == nullptr) [[unlikely]]
      slot = &first_slot();
    thread_index_ = slot->index;
    // relaxed: the slot is this thread's own. An outer section's epoch is older, so it protects
    // this one.
    if (slot->epoch.load(std::memory_order_relaxed) != 0) [[unlikely]]
      return;
    entered_ = slot;
    enter(*slot);
  }
  ReadSection(ReadSection const&) = delete;
  ReadSection& operator=(ReadSection const&) = delete;
  [[gnu::always_inline]] ~ReadSection() {
    if (entered_ == nullptr) [[unlikely]]
      return;
    // release (3): all reads of this section happen before a collector's acquire (3) sees 0.
    entered_->epoch.store(0, std::memory_order_release);
    if (entered_->temporary) [[unlikely]]
      detail::give_back(*entered_);
  }

  /// The index of the thread's slot: below the largest number of threads that ever read at once.
  [[nodiscard]] std::uint32_t thread_index() const noexcept { return thread_index_; }

 private:
  // Static, so that a section never has an address and lives in registers.
  [[gnu::noinline, gnu::cold]] static ReaderSlot& first_slot() noexcept {
    auto& slot = detail::take_slot();
    detail::own_slot() = &slot;
    slot.temporary = &slot == &detail::last_resort || detail::thread_is_ending ||
                     !detail::end_of_thread().watch(slot);  // then the section gives it back
    return slot;
  }

  [[gnu::always_inline]] static void enter(ReaderSlot& slot) noexcept {
    // acquire (4), pairs with the advance (4): a thread that sees epoch E also sees the snapshot
    // that was published before E began.
    auto const epoch = detail::domain.epoch.load(std::memory_order_acquire);
    if (fence_in_use() == Fence::asymmetric) [[likely]] {
      // release (5): the reads of earlier sections happen before a scan that sees this epoch.
      slot.epoch.store(epoch, std::memory_order_release);
      // Keeps the compiler from moving the snapshot's load up; membarrier keeps the processor.
      std::atomic_signal_fence(std::memory_order_seq_cst);
    } else {
      // seq_cst (6): in the single total order either this store precedes the scan's load (6), or
      // the swap of the snapshot (7) precedes this reader's load of it (7).
      slot.epoch.exchange(epoch, std::memory_order_seq_cst);
    }
  }

  ReaderSlot* entered_{nullptr};  // null in a nested section
  std::uint32_t thread_index_;
};

/// Begins a new epoch and returns its number E. *Requires* that all values which E retires are
/// unlinked already.
[[nodiscard]] inline std::uint64_t advance_epoch() noexcept {
  // seq_cst implies release (4), pairs with acquire (4).
  return detail::domain.epoch.fetch_add(1, std::memory_order_seq_cst) + 1;
}

/// The epoch of the oldest section in progress; the maximum if no thread reads.
[[nodiscard]] inline std::uint64_t oldest_reader() noexcept {
  auto oldest = std::numeric_limits<std::uint64_t>::max();
  // seq_cst (2), (6): see take_slot and enter. It implies acquire (3), (5).
  for (auto* slot = detail::domain.slots.load(std::memory_order_seq_cst); slot != nullptr;
       slot = slot->next) {
    auto const epoch = slot->epoch.load(std::memory_order_seq_cst);
    if (epoch != 0 && epoch < oldest) oldest = epoch;
  }
  return oldest;
}

}  // namespace poise::inline v0_1_0::sync
