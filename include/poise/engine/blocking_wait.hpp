// SPDX-License-Identifier: MIT
#pragma once

// A thread that waits in a balancer's queue (engine/waiting.hpp).

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include <poise/engine/waiting.hpp>
#include <poise/error.hpp>
#include <poise/handle.hpp>
#include <poise/lease.hpp>
#include <poise/request.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::detail {

/// A waiter that blocks its thread.
template <class Core>
class BlockingWait {
 public:
  /// The lease; without one, why: `error` if it was never tried.
  [[nodiscard]] static poise::Lease<Core> pick(std::shared_ptr<Core> const& core,
                                               Request const& request, Duration timeout,
                                               Error const& error) {
    auto& room = core->room();
    Blocked<Waiter<Core>> blocked{{.request = &request,
                                   .ready = &Blocked<Waiter<Core>>::wake,
                                   .look_after =
                                       [](Waiter<Core>& waiter, Duration time) noexcept {
                                         static_cast<Blocked<Waiter<Core>>&>(waiter).look_after(
                                             time);
                                       },
                                   .error = error}};
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
  /// By real time, whatever the balancer's clock.
  template <class W>
  struct Blocked : W {
    using RealClock = std::chrono::steady_clock;
    WaitingRoom<Core>* room = nullptr;
    std::condition_variable changed{};
    bool is_ready = false;
    std::optional<RealClock::time_point> look_at{};

    static void wake(W& waiter) noexcept {
      auto& self = static_cast<Blocked&>(waiter);
      self.is_ready = true;
      self.changed.notify_one();
    }
    void look_after(Duration time) noexcept {
      look_at = RealClock::now() + std::min(time, max_wait);
      changed.notify_one();
    }
    /// False if the time was over first.
    bool wait(Duration timeout) {
      auto const end = RealClock::now() + std::min(timeout, max_wait);
      std::unique_lock lock{room->mutex()};
      while (!is_ready) {
        auto const until = std::min(end, look_at.value_or(end));
        if (changed.wait_until(lock, until) == std::cv_status::no_timeout || is_ready) continue;
        if (RealClock::now() >= end) break;
        if (!look_at || RealClock::now() < *look_at) continue;
        look_at.reset();
        lock.unlock();
        room->look(*this);
        lock.lock();
      }
      return is_ready;
    }
  };
};

}  // namespace poise::inline v0_1_0::detail
