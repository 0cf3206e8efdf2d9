// SPDX-License-Identifier: MIT
#pragma once

// A number that threads share and that orders nothing: statistics, settings, flags.
//
// Every access is relaxed. `add` is exact (one read-modify-write); `store` after `load` may lose a
// concurrent change, which averages survive and costs a third of a compare-exchange.

#include <atomic>

namespace poise::sync {

template <class T>
class Relaxed {
 public:
  constexpr Relaxed() noexcept = default;
  constexpr explicit Relaxed(T value) noexcept : value_{value} {}
  Relaxed(Relaxed const&) = delete;
  Relaxed& operator=(Relaxed const&) = delete;

  // relaxed, all three: nothing else is published through this number.
  [[nodiscard]] T load() const noexcept { return value_.load(std::memory_order_relaxed); }
  void store(T value) noexcept { value_.store(value, std::memory_order_relaxed); }
  T add(T amount) noexcept { return value_.fetch_add(amount, std::memory_order_relaxed); }

 private:
  static_assert(std::atomic<T>::is_always_lock_free, "a shared number must not need a lock");
  std::atomic<T> value_{};
};

}  // namespace poise::sync
