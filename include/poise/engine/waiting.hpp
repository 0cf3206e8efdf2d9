// SPDX-License-Identifier: MIT
#pragma once

// Requests that wait until a backend has room, and callers that wait until a backend is empty.
//
// One queue per balancer: by priority, and first come, first served within a priority. The thread
// that ends a request, takes back a claim or changes the balancer serves the queue: it tries the
// pick of the first waiter, and hands the lease over. So no waiter polls, and none is woken in
// vain.
//
// Invariants:
//   Q1  While a waiter is queued, every backend of the current set is marked (InFlight::mark), the
//       balancer is in the waiting lot, and so every end of a request asks for a turn.
//   Q2  A waiter is queued before the turn that it asks for. So a room that was given back before
//       that turn is found by it (W6), and one that is given back later asks for another (Q1, T2).
//   Q3  A claim that is taken back asks for a turn, too: while it was counted it may have turned
//       away the queue. The queue's own claims don't, else it would serve itself for ever.
//   Q4  What the queue calls back (Waiter::ready) only stores and schedules: it runs under the
//       mutex.

#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <list>
#include <memory>
#include <mutex>
#include <utility>

#include <poise/error.hpp>
#include <poise/handle.hpp>
#include <poise/lease.hpp>
#include <poise/request.hpp>
#include <poise/sync/relaxed.hpp>
#include <poise/sync/turn.hpp>
#include <poise/sync/waiting_lot.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::detail {

/// One pick that waits. It stays where it is until it is ready or was removed from the queue.
template <class Core>
struct Waiter {
  Request const* request;
  void (*ready)(Waiter& waiter) noexcept;  // Q4
  poise::Lease<Core> lease{};              // the result, false if there is no use in waiting
  std::exception_ptr thrown{};             // by the policy
  Error error{};                           // why there was no backend when it was asked for last
  bool queued = false;
};

/// One caller that waits until a backend has no requests in flight.
template <class Core>
struct Watcher {
  BackendHandle<Core> backend;
  void (*ready)(Watcher& watcher) noexcept;  // Q4
  bool queued = false;
};

/// The longest timeout that every clock can add to its time.
inline constexpr Duration max_wait = std::chrono::hours{24 * 365};

template <class Core>
class WaitingRoom final : public sync::Queue {
 public:
  using Waiter = detail::Waiter<Core>;
  using Watcher = detail::Watcher<Core>;
  using Lock = std::unique_lock<std::mutex>;

  explicit WaitingRoom(Core& core) noexcept : core_{core} {}

  /// Guards what waiters are told.
  [[nodiscard]] std::mutex& mutex() noexcept { return mutex_; }

  /// True if no pick waits. A hint without the lock.
  [[nodiscard]] bool is_empty() const noexcept { return size_.load() == 0; }

  void set_max_waiting(std::size_t max) noexcept { max_waiting_.store(max); }
  /// How many picks wait.
  [[nodiscard]] std::size_t waiting() const noexcept { return size_.load(); }

  /// Queues a pick, and serves the queue. False if it is full. *Errors* std::bad_alloc.
  [[nodiscard]] bool wait(Waiter& waiter) {
    {
      Lock const lock{mutex_};
      if (size_.load() >= max_waiting_.load()) return false;
      lane_of(waiter).push_back(&waiter);
      waiter.queued = true;
      size_.add(1);
      open_or_undo([&] { drop(waiter); });
    }
    wake();
    return true;
  }
  /// The same for a watcher.
  void watch(Watcher& watcher) {
    {
      Lock const lock{mutex_};
      watchers_.push_back(&watcher);
      watcher.queued = true;
      open_or_undo([&] { drop(watcher); });
    }
    wake();
  }
  /// Gives up waiting, if it has not ended. Afterwards the room does not know the object.
  template <class W>
  void give_up(W& one) noexcept {
    Lock const lock{mutex_};
    if (!one.queued) return;
    drop(one);
    close_if_empty();
  }

  /// Serves the queue, here or on the thread that is at it.
  void wake() noexcept override {
    if (!turn_.enter()) return;
    do {
      turn_.begin();
      Lock const lock{mutex_};
      serve();
    } while (turn_.leave());
  }

 private:
  using Membership = typename Core::MembershipType;
  using Lane = std::list<Waiter*>;

  Lane& lane_of(Waiter const& waiter) noexcept {
    auto const index = static_cast<std::size_t>(waiter.request->priority);
    return lanes_[index < lanes_.size() ? index : lanes_.size() - 1];
  }
  void drop(Waiter& waiter) noexcept {
    lane_of(waiter).remove(&waiter);
    waiter.queued = false;
    size_.add(~std::size_t{0});
  }
  void drop(Watcher& watcher) noexcept {
    watchers_.remove(&watcher);
    watcher.queued = false;
  }

  /// Enters the waiting lot.
  template <class Undo>
  void open_or_undo(Undo const& undo) {
    if (open_) return;
    try {
      sync::WaitingLot::enter(&core_, core_.queue());
      open_ = true;
    } catch (...) {
      undo();
      throw;
    }
  }
  void close_if_empty() noexcept {
    if (!open_ || size_.load() != 0 || !watchers_.empty()) return;
    if (marked_)
      for (auto* record : marked_->records) record->unmark();
    marked_.reset();
    open_ = false;
    sync::WaitingLot::leave(&core_);
  }

  /// Q1 for the set of this moment.
  void mark_all() noexcept {
    auto current = core_.membership();
    if (current == marked_) return;
    if (current)
      for (auto* record : current->records) record->mark();
    marked_ = std::move(current);
  }

  void serve() noexcept {
    if (!open_) return;
    mark_all();
    sync::is_serving_queue = true;
    for (auto& lane : lanes_) serve(lane);
    sync::is_serving_queue = false;
    for (auto each = watchers_.begin(); each != watchers_.end();) {
      auto& watcher = **each;
      if (core_.record_of(watcher.backend).mark() != 0) {
        ++each;
        continue;
      }
      each = watchers_.erase(each);
      watcher.queued = false;
      watcher.ready(watcher);
    }
    close_if_empty();
  }

  /// First come, first served. Only a request that is restricted to some backends is overtaken by
  /// those behind it.
  void serve(Lane& lane) noexcept {
    // So that a queue of requests that none can serve costs the end of a request a bounded time.
    // Not tuned here.
    constexpr int max_failures = 32;
    int failures = 0;
    for (auto each = lane.begin(); each != lane.end();) {
      auto& waiter = **each;
      if (!try_pick(waiter)) {
        if (!waiter.request->restricted() || ++failures == max_failures) return;
        ++each;
        continue;
      }
      each = lane.erase(each);
      waiter.queued = false;
      size_.add(~std::size_t{0});
      waiter.ready(waiter);
    }
  }

  /// True if the wait is over: a lease, an exception, or no use in waiting.
  [[nodiscard]] bool try_pick(Waiter& waiter) noexcept {
    try {
      waiter.lease = core_.find(*waiter.request);
    } catch (...) {
      waiter.thrown = std::current_exception();
      return true;
    }
    waiter.error = waiter.lease.error();
    return waiter.lease || waiter.error.refused == 0;
  }

  Core& core_;
  std::mutex mutex_{};
  std::array<Lane, 3> lanes_{};  // by priority
  std::list<Watcher*> watchers_{};
  std::shared_ptr<Membership const> marked_{};
  bool open_ = false;
  sync::Relaxed<std::size_t> size_{0};
  // 1024: enough for a burst, and few enough that the last one does not wait for minutes. Not
  // tuned.
  sync::Relaxed<std::size_t> max_waiting_{1024};
  sync::Turn turn_;
};

/// A waiter that blocks its thread.
template <class Core>
class BlockingWait {
 public:
  /// The lease; without one, why: `error` if it was never tried.
  [[nodiscard]] static poise::Lease<Core> pick(std::shared_ptr<Core> const& core,
                                               Request const& request, Duration timeout,
                                               Error const& error) {
    auto& room = core->room();
    Blocked<Waiter<Core>> blocked{
        {.request = &request, .ready = &Blocked<Waiter<Core>>::wake, .error = error}};
    blocked.room = &room;
    if (!room.wait(blocked)) return poise::Lease<Core>{Error{.reason = PickError::queue_full}};
    blocked.wait(timeout);
    room.give_up(blocked);
    if (blocked.thrown) std::rethrow_exception(blocked.thrown);
    if (blocked.lease) return std::move(blocked.lease);
    return poise::Lease<Core>{blocked.error};
  }

  /// False if the time was over first.
  [[nodiscard]] static bool until_empty(std::shared_ptr<Core> const& core,
                                        BackendHandle<Core> backend, Duration timeout) {
    auto& room = core->room();
    Blocked<Watcher<Core>> blocked{
        {.backend = std::move(backend), .ready = &Blocked<Watcher<Core>>::wake}};
    blocked.room = &room;
    room.watch(blocked);
    bool const empty = blocked.wait(timeout);
    room.give_up(blocked);
    return empty;
  }

 private:
  template <class W>
  struct Blocked : W {
    WaitingRoom<Core>* room = nullptr;
    std::condition_variable changed{};
    bool is_ready = false;

    static void wake(W& waiter) noexcept {
      auto& self = static_cast<Blocked&>(waiter);
      self.is_ready = true;
      self.changed.notify_one();
    }
    /// By real time, whatever the balancer's clock.
    bool wait(Duration timeout) {
      std::unique_lock lock{room->mutex()};
      return changed.wait_for(lock, std::min(timeout, max_wait), [&] { return is_ready; });
    }
  };
};

}  // namespace poise::inline v0_1_0::detail
