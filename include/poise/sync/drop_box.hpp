// SPDX-License-Identifier: MIT
#pragma once

// A lock-free list of objects that wait to be destroyed. The last user of an object drops it here,
// and another thread destroys it.
//
// A request that completes must not run a payload's destructor: closing a connection pool takes
// time. So the record goes into the box, and an update or tick empties it. After close() drop()
// returns false, and the caller destroys the object itself.
//
// T needs a member `T* next_dropped`. Items are only ever taken all at once, so there is no ABA.

#include <atomic>
#include <cstdint>

namespace poise::inline v0_1_0::sync {

template <class T>
class DropBox {
 public:
  DropBox() = default;
  DropBox(DropBox const&) = delete;
  DropBox& operator=(DropBox const&) = delete;

  /// Leaves the item here. False if the box is closed. *Threads* any.
  [[nodiscard]] bool drop(T* item) noexcept {
    auto* head = head_.load(std::memory_order_relaxed);  // relaxed: the exchange below checks it
    do {
      if (head == closed()) return false;
      item->next_dropped = head;
      // release (10): the item's content and link are visible to the thread that takes the list.
    } while (!head_.compare_exchange_weak(head, item, std::memory_order_release,
                                          std::memory_order_relaxed));
    return true;
  }

  /// Takes all items as a list linked by next_dropped; none from a closed box. *Threads* any.
  [[nodiscard]] T* take() noexcept {
    auto* head = head_.load(std::memory_order_relaxed);  // relaxed: the exchange below checks it
    do {
      // An empty box costs no write. A closed box must stay closed: requests may complete after
      // close().
      if (head == nullptr || head == closed()) return nullptr;
      // acquire (10): see drop.
    } while (!head_.compare_exchange_weak(head, nullptr, std::memory_order_acquire,
                                          std::memory_order_relaxed));
    return head;
  }

  /// Takes all items and refuses later ones.
  [[nodiscard]] T* close() noexcept { return head_.exchange(closed(), std::memory_order_acq_rel); }

 private:
  T* closed() noexcept { return reinterpret_cast<T*>(this); }  // an address no item can have

  std::atomic<T*> head_{nullptr};
};

}  // namespace poise::inline v0_1_0::sync
