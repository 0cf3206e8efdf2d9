// SPDX-License-Identifier: MIT
#pragma once

// The barrier between "I am reading" and "I load the snapshot", paid by whoever changes things.
//
// A reader stores its slot and then loads the snapshot; the updater swaps the snapshot and then
// reads the slots. One of the two must see the other's store, which takes a full barrier on both
// sides. Linux can run that barrier on every core on the updater's behalf (membarrier): then a
// reader needs none, and a pick costs 1 ns instead of 3. Where the kernel refuses, both sides use
// sequentially consistent accesses. Both ways are built into every binary; which one is used is
// decided once, in the constructor of the first balancer of the process, because deciding later
// would let an updater believe in a barrier that a reader did not make.
//
// Source: docs/concurrency.md.

#include <atomic>
#include <cstdint>

#if defined(__linux__) && __has_include(<linux/membarrier.h>)
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace poise::sync {

enum class Fence : std::uint8_t { asymmetric, seq_cst };

namespace detail {

enum class FenceState : std::uint8_t { undecided, asymmetric, seq_cst };

// 0: written once before the first reader exists, and the thread that constructs a balancer hands
// it to its readers by means of its own; so relaxed loads suffice.
inline constinit std::atomic<FenceState> fence_state{FenceState::undecided};

#if defined(__linux__) && defined(SYS_membarrier) && __has_include(<linux/membarrier.h>)
inline bool register_membarrier() noexcept {
  return syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
}
inline bool run_membarrier() noexcept {
  return syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0;
}
#else
inline bool register_membarrier() noexcept { return false; }
inline bool run_membarrier() noexcept { return false; }
#endif

inline bool settle(FenceState wanted) noexcept {
  auto expected = FenceState::undecided;
  // acq_rel: of two first balancers on two threads, the second sees the choice of the first.
  return fence_state.compare_exchange_strong(expected, wanted, std::memory_order_acq_rel) ||
         expected == wanted;
}

}  // namespace detail

/// Chooses the fence of this process instead of letting the first balancer do so.
///
/// Returns false, and changes nothing, if another choice was already made or the kernel has no
/// membarrier. Call it before the first balancer is constructed; it exists for tests, and for
/// programs that will install a seccomp filter without membarrier later.
inline bool require_fence(Fence wanted) noexcept {
  if (wanted == Fence::asymmetric && !detail::register_membarrier()) return false;
  return detail::settle(wanted == Fence::asymmetric ? detail::FenceState::asymmetric
                                                    : detail::FenceState::seq_cst);
}

/// Makes the choice if nobody did: asymmetric where the kernel offers it.
inline void settle_fence() noexcept {
  // (0)
  if (detail::fence_state.load(std::memory_order_acquire) != detail::FenceState::undecided) return;
  if (!require_fence(Fence::asymmetric)) require_fence(Fence::seq_cst);
}

/// The fence in use. *Requires* that a balancer exists or existed.
[[nodiscard]] inline Fence fence_in_use() noexcept {
  // relaxed: see (0)
  return detail::fence_state.load(std::memory_order_relaxed) == detail::FenceState::asymmetric
             ? Fence::asymmetric
             : Fence::seq_cst;
}

/// The updater's half: after it, every reader that could still hold the old snapshot shows in its
/// slot.
///
/// Returns false if the kernel now refuses what it granted at the start (a seccomp filter that was
/// installed later, say). Then nothing that was retired may be freed.
[[nodiscard]] inline bool heavy_fence() noexcept {
  if (fence_in_use() == Fence::seq_cst) return true;  // the seq_cst accesses of both sides suffice
  return detail::run_membarrier();
}

}  // namespace poise::sync
