// SPDX-License-Identifier: MIT
#pragma once

// One immutable value that many threads read while one thread replaces it. Neither side waits.
//
// publish() swaps the pointer and retires the old value. collect() returns the retired values that
// no thread can be reading any more. Nothing waits for readers: a preempted reader would stall an
// update for milliseconds. The owner serialises publish and collect with a mutex, bounds the number
// of retired values, and destroys collected values outside its lock.
//
// Invariants:
//   P1  A retired value is freed only when every reader's epoch is 0 or >= its own epoch (E3).
//   P2  While the kernel refuses the heavy fence, values are kept, not freed; a later fence that
//       works covers them all.

#include <atomic>
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include <poise/sync/epoch.hpp>

namespace poise::inline v0_1_0::sync {

template <class T>
class Published {
 public:
  Published() = default;
  Published(Published const&) = delete;
  Published& operator=(Published const&) = delete;

  /// The current value, or null. *Requires* a ReadSection that outlives the use of it.
  [[nodiscard]] T const* load() const noexcept {
    // seq_cst (7): see ReadSection::enter; it implies acquire, so the value's content is visible.
    return current_.load(std::memory_order_seq_cst);
  }

  /// The current value, for the owner. Only the owner replaces it, so it needs no read section.
  [[nodiscard]] T const* own() const noexcept {
    return current_.load(std::memory_order_relaxed);  // written under the owner's lock
  }

  /// Reserves room for two retired values, so that the next publish can't fail half-way. The second
  /// one is for the end of a balancer, which publishes but can't throw. May throw.
  void prepare() { retired_.reserve(retired_.size() + 2); }

  /// Replaces the value. *Requires* the owner's lock and a prepare() before. *Cost* one membarrier.
  void publish(std::unique_ptr<T const> next) noexcept {
    // seq_cst (7): see ReadSection::enter; it implies release, so readers see the value's content.
    auto const* old = current_.exchange(next.release(), std::memory_order_seq_cst);
    if (old != nullptr) retired_.push_back({std::unique_ptr<T const>{old}, unfenced});
    fence_retired();
  }

  /// The retired values that no thread reads any more. *Requires* the owner's lock.
  [[nodiscard]] std::vector<std::unique_ptr<T const>> collect() {
    std::vector<std::unique_ptr<T const>> free;
    if (retired_.empty()) return free;
    if (unfenced_ != 0) fence_retired();
    auto const oldest = oldest_reader();
    free.reserve(retired_.size());
    std::erase_if(retired_, [&](Retired& value) {
      if (value.epoch == unfenced || value.epoch > oldest) return false;
      free.push_back(std::move(value.value));
      return true;
    });
    return free;
  }

  /// The number of retired values that readers may still use.
  [[nodiscard]] std::size_t waiting() const noexcept { return retired_.size() - unfenced_; }
  /// The number of values that can't be freed because the kernel refuses the fence.
  [[nodiscard]] std::size_t stranded() const noexcept { return unfenced_; }

 private:
  static constexpr std::uint64_t unfenced = 0;  // epochs begin at 1

  struct Retired {
    std::unique_ptr<T const> value;
    std::uint64_t epoch;
  };

  void fence_retired() noexcept {
    if (!heavy_fence()) {
      unfenced_ = 0;
      for (auto const& value : retired_) unfenced_ += value.epoch == unfenced ? 1U : 0U;
      return;
    }
    auto const epoch = advance_epoch();
    for (auto& value : retired_)
      if (value.epoch == unfenced) value.epoch = epoch;
    unfenced_ = 0;
  }

  std::atomic<T const*> current_{nullptr};
  std::vector<Retired> retired_;
  std::size_t unfenced_{0};
};

}  // namespace poise::inline v0_1_0::sync
