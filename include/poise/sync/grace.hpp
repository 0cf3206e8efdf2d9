// SPDX-License-Identifier: MIT
#pragma once

// Waits until the readers of a moment are gone, for what has to be certain before a call returns.

#include <chrono>
#include <thread>

#include <poise/sync/epoch.hpp>
#include <poise/sync/fence.hpp>

namespace poise::inline v0_1_0::sync {

/// Returns once all read sections have ended that may still see what was published before the last
/// publication. *Requires* that this thread is in none. *Cost* a membarrier, and as long as the
/// longest of these sections takes. If the kernel refuses the membarrier there is nothing to wait
/// for: a section may then be missed.
inline void wait_for_readers() noexcept {
  if (!heavy_fence()) return;
  auto const epoch = advance_epoch();
  while (oldest_reader() < epoch) std::this_thread::sleep_for(std::chrono::microseconds{20});
}

}  // namespace poise::inline v0_1_0::sync
