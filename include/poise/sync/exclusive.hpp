// SPDX-License-Identifier: MIT
#pragma once

// A mutex that knows its owner, so that a change made from inside another change is an error with a
// message instead of a deadlock.

#include <cstdint>
#include <mutex>

#include <poise/sync/relaxed.hpp>

namespace poise::inline v0_1_0::sync {

namespace detail {
inline constinit thread_local char thread_mark = 0;  // its address names the thread
}

class Exclusive {
 public:
  void lock() {
    mutex_.lock();
    owner_.store(this_thread());
  }
  /// *Requires* that this thread does not hold it.
  [[nodiscard]] bool try_lock() {
    if (!mutex_.try_lock()) return false;
    owner_.store(this_thread());
    return true;
  }
  void unlock() {
    owner_.store(0);
    mutex_.unlock();
  }
  /// *Threads* any. A stale read gives the right answer too: only this thread can store its own
  /// mark.
  [[nodiscard]] bool held_by_this_thread() const noexcept { return owner_.load() == this_thread(); }

 private:
  static std::uintptr_t this_thread() noexcept {
    return reinterpret_cast<std::uintptr_t>(&detail::thread_mark);
  }

  std::mutex mutex_;
  Relaxed<std::uintptr_t> owner_{0};
};

}  // namespace poise::inline v0_1_0::sync
