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
//       balancer is in the waiting lot, and so every end of a request asks for a turn. While only
//       watchers are there, the backends that they watch are marked.
//   Q2  A waiter is queued before the turn that it asks for. So a room that was given back before
//       that turn is found by it (W6), and one that is given back later asks for another (Q1, T2).
//   Q3  A claim that is taken back asks for a turn, too: while it was counted it may have turned
//       away the queue. The queue's own claims don't, else it would serve itself for ever.
//   Q4  What the queue calls back (Waiter::ready, Waiter::look_after) only stores and schedules: it
//       runs under the mutex.
//   Q5  Room that only time brings (a rate limit) wakes no queue. So while the policy says for some
//       waiter when to come back, one of these waiters is asked to wake the queue then.

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <iterator>
#include <limits>
#include <list>
#include <memory>
#include <mutex>
#include <utility>

#include <poise/backend.hpp>
#include <poise/base/saturating.hpp>
#include <poise/error.hpp>
#include <poise/handle.hpp>
#include <poise/lease.hpp>
#include <poise/observer.hpp>
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
  /// Asks the waiter to wake the queue after this time (Q4, Q5).
  void (*look_after)(Waiter& waiter, Duration time) noexcept;
  poise::Lease<Core> lease{};   // the result, false if there is no use in waiting
  std::exception_ptr thrown{};  // by the policy
  Error error{};                // why there was no backend when it was asked for last
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
  using Handle = BackendHandle<Core>;

  /// A drained backend that is not empty yet, and what is told when it is.
  struct Drained {
    Handle backend;
    std::list<Event> news;
  };

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
  void give_up(Waiter& waiter) noexcept {
    if (remove(waiter) && !is_empty()) wake();  // Q5: it may have been asked to look
  }
  void give_up(Watcher& watcher) noexcept { (void)remove(watcher); }

  /// What a waiter does at the time that look_after() named: serves the queue.
  void look(Waiter const& waiter) noexcept {
    {
      Lock const lock{mutex_};
      if (asked_ == &waiter) asked_ = nullptr;  // its clock may be ahead of the balancer's
    }
    wake();
  }
  /// The same for a watcher, which is never asked.
  void look(Watcher const&) noexcept { wake(); }

  /// Serves the queue, here or on the thread that is at it.
  void wake() noexcept override {
    if (!turn_.enter()) return;
    do {
      turn_.begin();
      std::list<Drained> gone;
      Lock const lock{mutex_};
      serve(gone);
    } while (turn_.leave());
    core_.tell_queue_news();
  }

  /// Has Event::Kind::empty told when the backend is empty, unless it is taken into service again
  /// first. *Requires* that it was drained for good. *Errors* std::bad_alloc.
  void tell_when_empty(Handle backend) {
    if (!backend) return;
    std::list<Drained> one;
    one.emplace_back(std::move(backend));
    auto& [drained, news] = one.front();
    news.push_back({Event::Kind::empty, drained->id(), drained->health(), drained->weight()});
    {
      Lock const lock{mutex_};
      for (auto const& each : drained_)
        if (&*each.backend == &*drained) return;
      drained_.splice(drained_.end(), one);
      open_or_undo([&] { one.splice(one.end(), drained_, std::prev(drained_.end())); });
    }
    wake();
  }
  /// A pick found no backend: has Event::Kind::full and, later, `room` told if that is because all
  /// are at their limits. Not if memory is short.
  [[gnu::noinline, gnu::cold]] void note_failure() noexcept {
    if (full_.load()) return;
    auto const now = core_.now();
    auto const since_last = saturating_sub(now, Time{Duration{last_full_.load()}});
    if (since_last >= Duration::zero() && since_last < std::chrono::seconds{1}) return;
    if (!core_.all_at_limits()) return;
    try {
      std::list<Event> news;
      news.push_back({Event::Kind::full, {}});
      news.push_back({Event::Kind::room, {}});
      Lock const lock{mutex_};
      if (full_.load()) return;
      full_news_.swap(news);
      full_.store(true);
      last_full_.store(now.time_since_epoch().count());
      open_or_undo([&] { full_.store(false); });
    } catch (...) {
      return;
    }
    wake();
  }

 private:
  using Membership = typename Core::MembershipType;
  using Lane = std::list<Waiter*>;

  /// The waiter that has room first, of those whose policy said when.
  struct Look {
    // Between waiters of one rate the clock moves on a little: the first of them is kept.
    static constexpr Duration resolution = std::chrono::microseconds{100};
    Waiter* waiter = nullptr;
    Duration after{};

    void consider(Waiter& other, Duration room_after) noexcept {
      if (room_after <= Duration::zero()) return;
      if (waiter == nullptr || room_after + resolution < after) *this = {&other, room_after};
    }
  };

  /// True if it was queued.
  template <class W>
  bool remove(W& one) noexcept {
    Lock const lock{mutex_};
    if (!one.queued) return false;
    drop(one);
    close_if_empty();
    return true;
  }

  Lane& lane_of(Waiter const& waiter) noexcept {
    auto const index = static_cast<std::size_t>(waiter.request->priority);
    return lanes_[index < lanes_.size() ? index : lanes_.size() - 1];
  }
  void drop(Waiter& waiter) noexcept {
    lane_of(waiter).remove(&waiter);
    note_left(waiter);
  }
  void note_left(Waiter& waiter) noexcept {
    waiter.queued = false;
    size_.add(~std::size_t{0});
    if (asked_ == &waiter) asked_ = nullptr;
  }
  void drop(Watcher& watcher) noexcept {
    watchers_.remove(&watcher);
    watcher.queued = false;
    unmark(watcher.backend);
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
    if (!open_ || needs_all() || !watchers_.empty() || !drained_.empty()) return;
    unmark_all();
    open_ = false;
    sync::WaitingLot::leave(&core_);
  }

  /// Must each end of a request ask for a turn?
  [[nodiscard]] bool needs_all() const noexcept { return !is_empty() || full_.load(); }

  /// Q1 for the set of this moment.
  void mark_all(std::shared_ptr<Membership const> current) noexcept {
    if (current == marked_) return;
    if (current)
      for (auto* record : current->records) record->mark();
    marked_ = std::move(current);
  }
  /// Those that are watched are marked again when the watchers are served, before their counts are
  /// read.
  void unmark_all() noexcept {
    if (marked_)
      for (auto* record : marked_->records) record->unmark();
    marked_.reset();
  }
  /// If no other watches this backend.
  void unmark(Handle const& backend) noexcept {
    auto const watches = [&](auto const& other) { return &*other == &*backend; };
    if (marked_ ||
        std::ranges::any_of(watchers_, watches, [](auto* each) { return each->backend; }) ||
        std::ranges::any_of(drained_, watches, &Drained::backend))
      return;
    core_.record_of(backend).unmark();
  }

  /// What has ended goes to `gone`, to be destroyed without the lock.
  void serve(std::list<Drained>& gone) noexcept {
    if (!open_) return;
    auto const current = core_.membership();
    if (current == nullptr) stop_telling(gone);
    if (needs_all()) mark_all(current);
    else unmark_all();
    sync::is_serving_queue = true;
    Look next;
    for (auto& lane : lanes_) serve(lane, next);
    sync::is_serving_queue = false;
    ask_to_look(next);
    for (auto each = watchers_.begin(); each != watchers_.end();) {
      auto& watcher = **each;
      if (core_.record_of(watcher.backend).mark() != 0) {
        ++each;
        continue;
      }
      each = watchers_.erase(each);
      watcher.queued = false;
      unmark(watcher.backend);
      watcher.ready(watcher);
    }
    if constexpr (Core::Observed::event) {
      tell_of_drained(gone);
      tell_of_limits();
    }
    close_if_empty();
  }

  // -- what observers are told -------------------------------------------------------------------

  /// The balancer is gone.
  void stop_telling(std::list<Drained>& gone) noexcept {
    gone.splice(gone.end(), drained_);
    full_.store(false);
    full_news_.clear();
  }
  void tell_of_drained(std::list<Drained>& gone) noexcept {
    for (auto each = drained_.begin(); each != drained_.end();) {
      bool const still_drained = each->backend->drained();
      if (still_drained && core_.record_of(each->backend).mark() != 0) {
        ++each;
        continue;
      }
      if (still_drained) core_.add_queue_news(each->news);
      auto const ended = each++;
      gone.splice(gone.end(), drained_, ended);
      unmark(ended->backend);
    }
  }
  /// `full_news_` holds what is still to tell: both events, or `room` alone.
  void tell_of_limits() noexcept {
    if (!full_.load()) return;
    bool const is_told = full_news_.size() == 1;
    std::list<Event> next;
    if (core_.all_at_limits()) {
      if (is_told) return;
      next.splice(next.end(), full_news_, full_news_.begin());
    } else {
      if (is_told) next.swap(full_news_);
      full_news_.clear();
      full_.store(false);
    }
    core_.add_queue_news(next);
  }
  /// First come, first served. A request that is restricted to some backends is overtaken by those
  /// behind it, and so is one whose key may have used up a rate of its own.
  void serve(Lane& lane, Look& next) noexcept {
    // So that a queue of requests that none can serve costs the end of a request a bounded time.
    // Not tuned here.
    constexpr int max_failures = 32;
    int failures = 0;
    for (auto each = lane.begin(); each != lane.end();) {
      auto& waiter = **each;
      Duration room_after{};
      if (!try_pick(waiter, room_after)) {
        next.consider(waiter, room_after);
        auto const& request = *waiter.request;
        bool const lets_pass =
            request.restricted() || (room_after > Duration::zero() && !request.key().empty());
        if (!lets_pass || ++failures == max_failures) return;
        ++each;
        continue;
      }
      each = lane.erase(each);
      note_left(waiter);
      waiter.ready(waiter);
    }
  }

  /// True if the wait is over: a lease, an exception, or no use in waiting. Else `room_after` is
  /// when the policy has room again, if it knows.
  [[nodiscard]] bool try_pick(Waiter& waiter, Duration& room_after) noexcept {
    try {
      waiter.lease = core_.find(*waiter.request, &room_after);
    } catch (...) {
      waiter.thrown = std::current_exception();
      return true;
    }
    waiter.error = waiter.lease.error();
    return waiter.lease || waiter.error.refused == 0;
  }

  /// Q5. A waiter that was asked, and whose time is still to come, is not asked again.
  void ask_to_look(Look const& next) noexcept {
    if (next.waiter == nullptr) return;
    auto const now = core_.now();
    auto const due = now + next.after;
    if (asked_ == next.waiter && now < due_ && due_ <= due) return;
    asked_ = next.waiter;
    due_ = due;
    asked_->look_after(*asked_, std::max(next.after, Look::resolution));
  }

  Core& core_;
  std::mutex mutex_{};
  std::array<Lane, 3> lanes_{};  // by priority
  std::list<Watcher*> watchers_{};
  std::list<Drained> drained_{};
  std::list<Event> full_news_{};
  sync::Relaxed<bool> full_{false};  // all backends were at their limits, and `room` is to be told
  sync::Relaxed<Duration::rep> last_full_{std::numeric_limits<Duration::rep>::min() / 2};
  std::shared_ptr<Membership const> marked_{};
  Waiter* asked_ = nullptr;  // to look again, at due_ by the balancer's clock
  Time due_{};
  bool open_ = false;
  sync::Relaxed<std::size_t> size_{0};
  // 1024: enough for a burst, and few enough that the last one does not wait for minutes. Not
  // tuned.
  sync::Relaxed<std::size_t> max_waiting_{1024};
  sync::Turn turn_;
};

}  // namespace poise::inline v0_1_0::detail
