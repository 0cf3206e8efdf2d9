// SPDX-License-Identifier: MIT
#pragma once

// A number that threads share and that orders nothing: statistics, settings, flags.
//
// Every access is relaxed. `add` and `include` are exact (one read-modify-write); `store` after
// `load` may lose a concurrent change, which averages survive and costs a third of a
// compare-exchange.

#include <atomic>

namespace poise::inline v0_1_0::sync {

template <class T>
class Relaxed {
 public:
  constexpr Relaxed() noexcept = default;
  constexpr explicit Relaxed(T value) noexcept : value_{value} {}
  Relaxed(Relaxed const&) = delete;
  Relaxed& operator=(Relaxed const&) = delete;

  // relaxed, all of them: nothing else is published through this number.
  [[nodiscard]] T load() const noexcept { return value_.load(std::memory_order_relaxed); }
  void store(T value) noexcept { value_.store(value, std::memory_order_relaxed); }
  T add(T amount) noexcept { return value_.fetch_add(amount, std::memory_order_relaxed); }
  /// Stores the value if it is above the present one: no thread's maximum is lost.
  void raise(T value) noexcept {
    auto known = load();
    while (known < value &&
           !value_.compare_exchange_weak(known, value, std::memory_order_relaxed)) {
    }
  }
  /// Sets these bits.
  void include(T bits) noexcept { value_.fetch_or(bits, std::memory_order_relaxed); }

 private:
  static_assert(std::atomic<T>::is_always_lock_free, "a shared number must not need a lock");
  std::atomic<T> value_{};
};

}  // namespace poise::inline v0_1_0::sync
