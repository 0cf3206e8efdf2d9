// SPDX-License-Identifier: MIT
#pragma once

// One immutable value that many threads read while one replaces it, without waiting on either side.
//
// publish() swaps the pointer and keeps the old value; collect() hands back the values that nobody
// can be reading any more. Nothing waits for readers: a preempted one would stall an update for
// milliseconds. The owner serialises publish and collect (a mutex), bounds how much may be retired,
// and destroys what it gets back outside its lock.
//
// Invariants:
//   P1  A retired value is freed only when every reader's era is 0 or >= its own era (E3).
//   P2  While the kernel refuses the heavy fence, values are kept, not freed; a later fence that
//       works covers them all.

#include <atomic>
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include <poise/sync/epoch.hpp>

namespace poise::sync {

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

  /// The current value for the owner, who alone replaces it: no read section needed.
  [[nodiscard]] T const* own() const noexcept {
    return current_.load(std::memory_order_relaxed);  // written under the owner's lock
  }

  /// Makes room for what the next publish retires, so that it can't fail half-way, and for what the
  /// one after it retires: a balancer's end publishes without being able to throw. May throw.
  void prepare() { retired_.reserve(retired_.size() + 2); }

  /// Replaces the value. *Requires* the owner's lock and a prepare() before. *Cost* one membarrier.
  void publish(std::unique_ptr<T const> next) noexcept {
    // seq_cst (7): see ReadSection::enter; it implies release, so readers see the value's content.
    auto const* old = current_.exchange(next.release(), std::memory_order_seq_cst);
    if (old != nullptr) retired_.push_back({std::unique_ptr<T const>{old}, unfenced});
    fence_retired();
  }

  /// The values that nobody reads any more. *Requires* the owner's lock.
  [[nodiscard]] std::vector<std::unique_ptr<T const>> collect() {
    std::vector<std::unique_ptr<T const>> free;
    if (retired_.empty()) return free;
    if (unfenced_ != 0) fence_retired();
    auto const oldest = oldest_reader();
    free.reserve(retired_.size());
    std::erase_if(retired_, [&](Retired& value) {
      if (value.era == unfenced || value.era > oldest) return false;
      free.push_back(std::move(value.value));
      return true;
    });
    return free;
  }

  /// Values that wait for their readers.
  [[nodiscard]] std::size_t waiting() const noexcept { return retired_.size() - unfenced_; }
  /// Values that can't be freed because the kernel refuses the fence.
  [[nodiscard]] std::size_t stranded() const noexcept { return unfenced_; }

 private:
  static constexpr std::uint64_t unfenced = 0;  // eras begin at 1

  struct Retired {
    std::unique_ptr<T const> value;
    std::uint64_t era;
  };

  void fence_retired() noexcept {
    if (!heavy_fence()) {
      unfenced_ = 0;
      for (auto const& value : retired_) unfenced_ += value.era == unfenced ? 1U : 0U;
      return;
    }
    auto const era = advance_era();
    for (auto& value : retired_)
      if (value.era == unfenced) value.era = era;
    unfenced_ = 0;
  }

  std::atomic<T const*> current_{nullptr};
  std::vector<Retired> retired_;
  std::size_t unfenced_{0};
};

}  // namespace poise::sync
