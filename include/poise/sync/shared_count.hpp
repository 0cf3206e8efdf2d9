// SPDX-License-Identifier: MIT
#pragma once

// A plain reference count.

#include <atomic>
#include <cstdint>

namespace poise::inline v0_1_0::sync {

class SharedCount {
 public:
  void add() noexcept { count_.fetch_add(1, std::memory_order_relaxed); }  // the caller holds one

  /// True if this was the last.
  [[nodiscard]] bool drop() noexcept {
    // acq_rel (11): all that other holders did happens before the last one goes on.
    return count_.fetch_sub(1, std::memory_order_acq_rel) == 1;
  }

 private:
  std::atomic<std::uint32_t> count_{0};
};

}  // namespace poise::inline v0_1_0::sync
