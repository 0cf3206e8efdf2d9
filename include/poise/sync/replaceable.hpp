// SPDX-License-Identifier: MIT
#pragma once

// A value that is replaced a few times in a program's life, and read by any thread without
// protection: earlier values are kept until the end. For settings; what changes often needs
// published.hpp.
//
// Invariant R1: a reference that load() returned stays valid as long as the Replaceable. replace()
// only adds to kept_, and a unique_ptr's target does not move when the vector grows.

#include <atomic>
#include <memory>
#include <utility>
#include <vector>

namespace poise::inline v0_1_0::sync {

/// *Threads* load(): any; replace(): one at a time. *Cost* load(): one load; replace(): the memory
/// of one more value, for good.
template <class T>
class Replaceable {
 public:
  explicit Replaceable(std::unique_ptr<T> first) { replace(std::move(first)); }
  Replaceable(Replaceable const&) = delete;
  Replaceable& operator=(Replaceable const&) = delete;

  [[nodiscard, gnu::always_inline]] T& load() const noexcept {
    // acquire (1): pairs with the release in replace(), so the value's content is visible.
    return *current_.load(std::memory_order_acquire);
  }
  /// Returns the new value.
  T& replace(std::unique_ptr<T> next) {
    kept_.push_back(std::move(next));
    auto& value = *kept_.back();
    current_.store(&value, std::memory_order_release);  // release (1)
    return value;
  }

 private:
  std::atomic<T*> current_{nullptr};
  std::vector<std::unique_ptr<T>> kept_{};
};

}  // namespace poise::inline v0_1_0::sync
