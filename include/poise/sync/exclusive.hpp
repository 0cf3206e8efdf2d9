// SPDX-License-Identifier: MIT
#pragma once

// A mutex for changes that knows its owner, so that a change made from inside another one is an
// error with words instead of a deadlock.

#include <cstdint>
#include <mutex>

#include <poise/sync/relaxed.hpp>

namespace poise::sync {

namespace detail {
inline constinit thread_local char thread_mark = 0;  // its address names the thread
}

class Exclusive {
 public:
  void lock() {
    mutex_.lock();
    owner_.store(this_thread());
  }
  void unlock() {
    owner_.store(0);
    mutex_.unlock();
  }
  /// *Threads* any. Only this thread can make it true for this thread, so a stale answer is right
  /// too.
  [[nodiscard]] bool held_by_this_thread() const noexcept { return owner_.load() == this_thread(); }

 private:
  static std::uintptr_t this_thread() noexcept {
    return reinterpret_cast<std::uintptr_t>(&detail::thread_mark);
  }

  std::mutex mutex_;
  Relaxed<std::uintptr_t> owner_{0};
};

}  // namespace poise::sync
