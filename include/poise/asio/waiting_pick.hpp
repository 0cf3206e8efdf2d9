// SPDX-License-Identifier: MIT
#pragma once

// Picks that wait without blocking a thread, on any Asio: the template behind pick_for and
// drain_and_wait of asio/call.hpp and boost_asio/call.hpp.
//
// The waiter lives in a state of its own, which the queue refers to until it was served or gave up.
// Its timer is touched on a strand only.

#include <algorithm>
#include <cstdint>
#include <exception>
#include <memory>
#include <string_view>
#include <type_traits>
#include <utility>

#include <poise/asio/raced_call.hpp>
#include <poise/engine/call.hpp>
#include <poise/engine/waiting.hpp>
#include <poise/error.hpp>
#include <poise/outcome.hpp>
#include <poise/request.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::asio::detail {

template <class Net>
class Waits {
  template <class T>
  using Awaitable = typename Net::template Awaitable<T>;

 public:
  template <class Core>
  static auto pick_for(std::shared_ptr<Core> core, Request request, Duration timeout, Texts texts)
      -> Awaitable<typename Core::Lease> {
    using Lease = typename Core::Lease;
    if (!core) co_return Lease{Error{.reason = PickError::closed}};
    texts.lend_to(request);
    auto lease = core->pick_unless_queued(request);
    if (!lease && Core::is_worth_waiting(lease.error())) {
      typename Net::Executor const executor = co_await Net::executor;
      using Waiter = poise::detail::Waiter<Core>;
      auto const state = std::make_shared<Suspended<Waiter>>(
          executor, Waiter{.request = nullptr,
                           .ready = nullptr,
                           .look_after = &Suspended<Waiter>::look_after,
                           .error = lease.error()});
      state->keep(request);
      auto const end = co_await wait(core, state, timeout);
      if (state->thrown) std::rethrow_exception(state->thrown);
      if (end == End::full) lease = Lease{Error{.reason = PickError::queue_full}};
      else if (state->lease) lease = std::move(state->lease);
      else lease = Lease{state->error};
      if (end == End::cancelled) lease.finish(Result::cancelled);
    }
    core->notify_of_pick(request, lease);
    co_return lease;
  }

  template <class Core>
  static auto drain_and_wait(std::shared_ptr<Core> core, std::string_view id, Duration timeout)
      -> Awaitable<bool> {
    if (!core) throw UpdateRefused{"this balancer was moved from"};
    auto backend = core->drain_for_good(id);
    if (!backend) co_return true;
    typename Net::Executor const executor = co_await Net::executor;
    auto const state = std::make_shared<Suspended<poise::detail::Watcher<Core>>>(
        executor, poise::detail::Watcher<Core>{.backend = std::move(backend), .ready = nullptr});
    co_return co_await wait(core, state, timeout) == End::ready;
  }

 private:
  using Clock = typename Net::Timer::clock_type;

  /// How a wait ended.
  enum class End : std::uint8_t { full, ready, cancelled, late };

  /// A waiter or watcher, and what wakes its coroutine.
  template <class W>
  struct Suspended : W, std::enable_shared_from_this<Suspended<W>> {
    Suspended(typename Net::Executor const& executor, W waiter)
        : W{std::move(waiter)}, strand{make_strand(executor)}, timer{strand} {
      this->ready = [](W& self) noexcept {
        static_cast<Suspended&>(self).later([](Suspended& s) { s.is_ready = true; });
      };
    }
    /// For a waiter only.
    static void look_after(W& waiter, Duration time) noexcept {
      static_cast<Suspended&>(waiter).later([time](Suspended& self) {
        self.look_at = Clock::now() + std::min(time, poise::detail::max_wait);
      });
    }
    void cancel() noexcept {
      later([](Suspended& self) { self.is_cancelled = true; });
    }
    /// On the strand. If memory is short the coroutine is woken by its timeout.
    template <class Change>
    void later(Change const& change) noexcept {
      try {
        post(strand, [self = this->shared_from_this(), change] {
          change(*self);
          self->timer.cancel();
        });
      } catch (...) {  // NOLINT(bugprone-empty-catch): see above
      }
    }

    /// The queue refers to a copy: it may outlive the coroutine's frame for a moment.
    void keep(Request const& given) {
      texts = Texts{given};
      own_request = given;
      texts.lend_to(own_request);
      this->request = &own_request;
    }

    Texts texts{};
    Request own_request{};
    typename Net::Executor strand;
    typename Net::Timer timer;
    // On the strand, all three.
    bool is_ready = false;
    bool is_cancelled = false;
    typename Clock::time_point look_at = Clock::time_point::max();  // for room that time brings
  };

  /// Takes a waiter out of the queue, also if its coroutine is destroyed.
  template <class Core, class W>
  struct Guard {
    std::shared_ptr<Core> core;
    std::shared_ptr<W> state;
    Guard(std::shared_ptr<Core> of, std::shared_ptr<W> one) noexcept
        : core{std::move(of)}, state{std::move(one)} {}
    Guard(Guard const&) = delete;
    Guard& operator=(Guard const&) = delete;
    ~Guard() { core->room().give_up(*state); }
  };

  template <class Core, class W>
  static Awaitable<End> wait(std::shared_ptr<Core> core, std::shared_ptr<W> state,
                             Duration timeout) {
    // Weak, since the caller's signal may outlive the executor.
    auto const cancel = [weak = std::weak_ptr{state}](auto...) {
      if (auto const waiting = weak.lock()) waiting->cancel();
    };
    auto const cancellation = co_await Net::cancellation;
    if (cancellation.slot().is_connected()) cancellation.slot().assign(cancel);
    if (cancellation.cancelled() != Net::no_cancellation) state->cancel();
    // Without a slot: the one it would take is of another strand, and was taken just now.
    auto const end = co_await co_spawn(
        state->strand, drive(core, state, timeout),
        bind_cancellation_slot(typename Net::Slot{}, typename Net::UseAwaitable{}));
    cancellation.slot().clear();
    co_return end;
  }

  /// On the strand, where alone the state's flags may be read.
  template <class Core, class W>
  static Awaitable<End> drive(std::shared_ptr<Core> core, std::shared_ptr<W> state,
                              Duration timeout) {
    Guard<Core, W> const guard{core, state};
    if (!enter(core->room(), *state)) co_return End::full;
    auto const end = Clock::now() + std::min(timeout, poise::detail::max_wait);
    while (!state->is_ready && !state->is_cancelled) {
      state->timer.expires_at(std::min(end, state->look_at));
      typename Net::ErrorCode woken;  // without an error: by the time
      co_await state->timer.async_wait(redirect_error(typename Net::UseAwaitable{}, woken));
      auto const now = Clock::now();
      if (now >= end) break;
      if (now < state->look_at) continue;
      state->look_at = Clock::time_point::max();
      core->room().look(*state);
    }
    co_return state->is_cancelled ? End::cancelled : state->is_ready ? End::ready : End::late;
  }

  template <class Room>
  static bool enter(Room& room, typename Room::Waiter& waiter) {
    return room.wait(waiter);
  }
  template <class Room>
  static bool enter(Room& room, typename Room::Watcher& watcher) {
    room.watch(watcher);
    return true;
  }
};

}  // namespace poise::inline v0_1_0::asio::detail
