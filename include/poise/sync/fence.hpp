// SPDX-License-Identifier: MIT
#pragma once

// The barrier between a reader's store ("I am reading") and its load of the snapshot. The updater
// pays for it.
//
// A reader stores its slot and then loads the snapshot. The updater swaps the snapshot and then
// reads the slots. One of the two must see the other's store, which takes a full barrier on both
// sides. Linux can run that barrier on every core for the updater (membarrier). Then a reader needs
// none, and a pick costs 1 ns instead of 3. Where the kernel refuses membarrier, both sides use
// sequentially consistent accesses. Every binary contains both ways. The constructor of the first
// balancer of the process chooses one. A later choice would be wrong: an updater would rely on a
// barrier that an earlier reader did not make.
//
// Source: docs/concurrency.md.

#include <atomic>
#include <cstdint>

#if defined(__linux__) && __has_include(<linux/membarrier.h>)
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace poise::inline v0_1_0::sync {

enum class Fence : std::uint8_t { asymmetric, seq_cst };

namespace detail {

enum class FenceState : std::uint8_t { undecided, asymmetric, seq_cst };

// (0): written once, before the first reader exists. A program that passes a balancer to another
// thread synchronizes with it, so relaxed loads suffice.
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
/// membarrier. Call it before the first balancer is constructed. It is meant for tests, and for
/// programs that will later install a seccomp filter without membarrier.
inline bool require_fence(Fence wanted) noexcept {
  if (wanted == Fence::asymmetric && !detail::register_membarrier()) return false;
  return detail::settle(wanted == Fence::asymmetric ? detail::FenceState::asymmetric
                                                    : detail::FenceState::seq_cst);
}

/// Chooses the fence unless it was chosen before: asymmetric where the kernel offers it.
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

/// The updater's half of the barrier. After it, the slot of every reader that may still hold the
/// old snapshot shows that it reads.
///
/// Returns false if the kernel now refuses what it granted at the start (a seccomp filter that was
/// installed later, say). Then no retired value may be freed.
[[nodiscard]] inline bool heavy_fence() noexcept {
  if (fence_in_use() == Fence::seq_cst) return true;  // the seq_cst accesses of both sides suffice
  return detail::run_membarrier();
}

}  // namespace poise::inline v0_1_0::sync
