// SPDX-License-Identifier: MIT
#pragma once

// Where the end of a request finds the queue that waits for it, although backend and balancer may
// be gone by then: by address, in a table that is never destroyed. (WebKit's ParkingLot, and
// futexes, keep queues in the same way.) An address that is used again wakes a queue for nothing.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace poise::inline v0_1_0::sync {

/// A queue that looks for room when it is woken.
class Queue {
 public:
  Queue(Queue const&) = delete;
  Queue& operator=(Queue const&) = delete;
  virtual void wake() noexcept = 0;

 protected:
  Queue() = default;
  ~Queue() = default;
};

/// True on a thread that tries picks for a queue.
inline constinit thread_local bool is_serving_queue = false;

/// Queues by their key. Never destroyed: requests end late.
struct WaitingBuckets {
  using Entry = std::pair<void const*, std::shared_ptr<Queue>>;
  struct Bucket {
    std::mutex mutex{};
    std::vector<Entry> queues{};
  };
  union {
    std::array<Bucket, 16> all;
  };
  constexpr WaitingBuckets() noexcept : all{} {}
  WaitingBuckets(WaitingBuckets const&) = delete;
  WaitingBuckets& operator=(WaitingBuckets const&) = delete;
  ~WaitingBuckets() {}  // NOLINT(modernize-use-equals-default): a union's would be deleted
};
inline constinit WaitingBuckets waiting_buckets{};

/// *Threads* any. *Cost* of wake() a lock that few share; only ends of requests take it that found
/// their backend marked (InFlight::mark).
class WaitingLot {
 public:
  static void enter(void const* key, std::shared_ptr<Queue> queue) {
    auto& bucket = bucket_of(key);
    std::scoped_lock const lock{bucket.mutex};
    bucket.queues.emplace_back(key, std::move(queue));
  }
  static void leave(void const* key) noexcept {
    std::shared_ptr<Queue> last;  // destroyed without the lock
    auto& bucket = bucket_of(key);
    std::scoped_lock const lock{bucket.mutex};
    auto const found = std::ranges::find(bucket.queues, key, &Entry::first);
    if (found == bucket.queues.end()) return;
    last = std::move(found->second);
    bucket.queues.erase(found);
  }
  static void wake(void const* key) noexcept {
    if (auto const queue = find(key)) queue->wake();
  }

 private:
  using Entry = WaitingBuckets::Entry;
  using Bucket = WaitingBuckets::Bucket;

  static std::shared_ptr<Queue> find(void const* key) noexcept {
    auto& bucket = bucket_of(key);
    std::scoped_lock const lock{bucket.mutex};
    auto const found = std::ranges::find(bucket.queues, key, &Entry::first);
    return found == bucket.queues.end() ? nullptr : found->second;
  }
  static Bucket& bucket_of(void const* key) noexcept {
    auto& buckets = waiting_buckets.all;
    return buckets[(reinterpret_cast<std::uintptr_t>(key) >> 6U) % buckets.size()];
  }
};

}  // namespace poise::inline v0_1_0::sync
