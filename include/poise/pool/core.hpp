// SPDX-License-Identifier: MIT
#pragma once

// A pool without its handle: ledger, lock and driver, and how callers that block get a connection.
// pool.hpp is the handle; asio/pool.hpp has callers that do not block.

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <poise/backend.hpp>
#include <poise/pool/ledger.hpp>
#include <poise/pool/options.hpp>
#include <poise/random.hpp>
#include <poise/sync/stop.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::pool {

/// What a pool does with a connection. Only `open` is needed. Several threads may call them at
/// once, for different connections; none is called under a lock.
template <class Connection>
struct Driver {
  /// Connects within the limit, or throws.
  std::function<Connection(Duration limit)> open{};
  /// Is an idle connection still good? Called if it was idle for Options::check_after: a look at
  /// the socket (closed, or unexpected bytes) is better than a query.
  std::function<bool(Connection&)> check{};
  /// Makes a connection that comes back as good as new; false if that can't be done.
  std::function<bool(Connection&)> reset{};
  /// Says goodbye, before the connection is destroyed.
  std::function<void(Connection&)> close{};
};

}  // namespace poise::inline v0_1_0::pool

namespace poise::inline v0_1_0::detail {

/// What a pool and its connections in use own together.
template <class Connection, class Clock>
struct PoolCore : std::enable_shared_from_this<PoolCore<Connection, Clock>> {
  using Ledger = PoolLedger;
  using State = PoolWaiter::State;
  using RealClock = std::chrono::steady_clock;

  struct Slot : PoolSlot {
    Slot(std::shared_ptr<PoolCore> core, Duration limit)
        : owner{std::move(core)}, connection(owner->driver.open(limit)) {}
    Slot(std::shared_ptr<PoolCore> core, Connection&& opened)
        : owner{std::move(core)}, connection(std::move(opened)) {}
    std::shared_ptr<PoolCore> owner;  // a cycle while it is idle, which drain() breaks
    bool waited = false;
    Connection connection;
  };
  using SlotPtr = std::unique_ptr<Slot>;

  /// How one call of acquire() was made.
  struct Call {
    Call(Duration wait, sync::StopToken const& token, pool::Place caller)
        : limit{std::min<Duration>(wait, std::chrono::hours{24 * 365})},
          stop{token},
          where{caller} {}
    Duration limit;
    sync::StopToken const& stop;
    pool::Place where;
    std::optional<RealClock::time_point> begun{};

    /// The clock is read only if the call does not succeed at once.
    RealClock::time_point end() {
      if (!begun) begun = RealClock::now();
      return *begun + std::chrono::duration_cast<RealClock::duration>(limit);
    }
    Duration left() {
      auto const time = end() - RealClock::now();
      return std::max<Duration>(time, std::chrono::milliseconds{1});
    }
  };
  struct Blocked final : PoolWaiter {
    std::condition_variable ready{};
    void wake() noexcept override { ready.notify_one(); }
  };

  /// Without `open` in the driver, tick() opens nothing, and acquire() is not to be called.
  PoolCore(pool::Driver<Connection> how, pool::Options const& chosen, Clock time)
      : driver{std::move(how)},
        options{chosen},
        clock{std::move(time)},
        book{std::make_shared<PoolBook>(options, fresh_seed())} {
    check(options);
  }

  // -- callers -----------------------------------------------------------------------------------

  SlotPtr acquire(Call call) {
    std::optional<Blocked> waiter;
    auto start = begin(call.where, [&]() -> PoolWaiter& {
      call.end();
      return waiter.emplace();
    });
    if (start.slot) return std::move(start.slot);
    if (waiter) return wait(call, *waiter);
    return open_for(call);
  }

  /// How a caller gets a connection: it has one, or is to wait with the waiter that it made, or is
  /// to open one.
  struct Start {
    SlotPtr slot{};
    bool waits = false;
  };
  /// *Errors* pool::NoConnection.
  template <class MakeWaiter>
  Start begin(pool::Place where, MakeWaiter const& make_waiter) {
    for (;;) {
      auto const now = clock.now();
      std::unique_lock lock{mutex};
      auto const answer = ledger.acquire(now);
      switch (answer.step) {
        case Ledger::Step::use:
          if (auto slot = take(SlotPtr{static_cast<Slot*>(answer.slot)}, now, where, lock))
            return {.slot = std::move(slot)};
          break;
        case Ledger::Step::open: return {};
        case Ledger::Step::wait: ledger.wait(make_waiter()); return {.waits = true};
        case Ledger::Step::fail: throw pool::NoConnection{answer.why, last_failure(answer.why)};
      }
    }
  }

  /// Null if the idle connection was too old or dead.
  SlotPtr take(SlotPtr slot, Time now, pool::Place where, std::unique_lock<std::mutex>& lock) {
    bool const expired = ledger.is_expired(*slot, now);
    if (!expired && (!driver.check || !ledger.needs_check(*slot, now))) {
      ledger.handed_out(*slot, now, where);
      slot->waited = false;
      return slot;
    }
    lock.unlock();
    if (expired || !succeeds(driver.check, slot->connection)) {
      close(std::move(slot), expired ? pool::Closing::lifetime : pool::Closing::dead);
      return nullptr;
    }
    hand_out(*slot, where);
    return slot;
  }

  SlotPtr wait(Call& call, Blocked& waiter) {
    {
      auto const give_up = [&] {
        std::scoped_lock const inner{mutex};
        ledger.give_up(waiter, pool::Refusal::stopped);
      };
      sync::StopCallback<decltype(give_up)> const on_stop{call.stop, give_up};
      std::unique_lock lock{mutex};
      while (waiter.state == State::waiting) sleep(waiter, call.end(), lock);
      ledger.has_waited(RealClock::now() - *call.begun);
      lock.unlock();  // the callback's destructor waits for give_up(), which locks
    }
    if (auto slot = served(waiter, call.where)) return slot;
    return open_for(call);
  }
  /// What came of a wait that is over: a connection; null: the caller is to open one.
  /// *Errors* pool::NoConnection.
  SlotPtr served(PoolWaiter& waiter, pool::Place where) {
    if (waiter.state == State::may_open) return nullptr;
    if (waiter.state == State::refused)
      throw pool::NoConnection{waiter.why, locked([&] { return last_failure(waiter.why); })};
    SlotPtr slot{static_cast<Slot*>(waiter.slot)};
    hand_out(*slot, where);
    return slot;
  }
  /// When a waiter should look whether it may go on, if it is not woken before. *Requires* the
  /// lock, as does look_up().
  [[nodiscard]] RealClock::time_point wake_at(RealClock::time_point end) const {
    auto const retry = ledger.retry_after(clock.now());
    auto const now = RealClock::now();
    if (!retry || *retry >= end - now) return end;
    return now + std::chrono::duration_cast<RealClock::duration>(*retry);
  }
  /// It was woken, by its time or by wake().
  void look_up(PoolWaiter& waiter, RealClock::time_point end) {
    if (waiter.state != State::waiting) return;
    if (RealClock::now() >= end) ledger.give_up(waiter, pool::Refusal::timeout);
    else ledger.serve(clock.now());
  }
  void sleep(Blocked& waiter, RealClock::time_point end, std::unique_lock<std::mutex>& lock) {
    waiter.ready.wait_until(lock, wake_at(end));
    look_up(waiter, end);
  }

  SlotPtr open_for(Call& call) {
    auto slot = open(call.left());
    hand_out(*slot, call.where);
    return slot;
  }
  SlotPtr open(Duration limit) {
    try {
      auto slot = std::make_unique<Slot>(this->shared_from_this(), limit);
      locked([&] { ledger.opened(*slot, clock.now()); });
      return slot;
    } catch (std::exception const& error) {
      not_opened(error.what());
      throw;
    } catch (...) {
      not_opened("an exception of an unknown type");
      throw;
    }
  }
  /// The same for a connection that the caller opened.
  SlotPtr adopt(Connection&& opened) {
    auto slot = std::make_unique<Slot>(this->shared_from_this(), std::move(opened));
    locked([&] { ledger.opened(*slot, clock.now()); });
    return slot;
  }
  void not_opened(std::string what) noexcept {
    locked([&] {
      failure.swap(what);
      ledger.not_opened(clock.now());
    });
  }
  /// The caller was to open a connection, and gave up.
  void not_tried() noexcept {
    locked([&] { ledger.not_tried(clock.now()); });
  }
  void hand_out(Slot& slot, pool::Place where) {
    slot.waited = true;
    locked([&] { ledger.handed_out(slot, clock.now(), where); });
  }
  /// *Requires* the lock.
  [[nodiscard]] std::string last_failure(pool::Refusal why) const {
    return why == pool::Refusal::unreachable && !failure.empty() ? ": " + failure : "";
  }

  // -- connections -------------------------------------------------------------------------------

  static void give_back(SlotPtr slot) noexcept {
    auto& shared = *slot->owner;
    auto why = pool::Closing::unclean;
    if (!shared.driver.reset || succeeds(shared.driver.reset, slot->connection)) {
      auto const now = shared.clock.now();
      std::scoped_lock const lock{shared.mutex};
      if (shared.ledger.put_back(*slot, now)) {
        static_cast<void>(slot.release());  // the ledger has it
        return;
      }
      why = slot->closing;
    }
    close(std::move(slot), why);
  }
  /// It counts until it is gone, so that the backend never has more than `max`.
  static void close(SlotPtr slot, pool::Closing why) noexcept {
    auto const shared = slot->owner;
    auto const place = slot->place;
    try {
      if (shared->driver.close) shared->driver.close(slot->connection);
    } catch (...) {  // NOLINT(bugprone-empty-catch): it is destroyed anyway
    }
    slot.reset();
    shared->locked([&] { shared->ledger.closed(place, why, shared->clock.now()); });
  }
  static void close_all(std::vector<PoolSlot*> const& slots) noexcept {
    for (auto* slot : slots) close(SlotPtr{static_cast<Slot*>(slot)}, slot->closing);
  }
  static bool succeeds(std::function<bool(Connection&)> const& test,
                       Connection& connection) noexcept {
    try {
      return test(connection);
    } catch (...) {
      return false;
    }
  }

  // -- the backend, maintenance ------------------------------------------------------------------

  void on_event(BackendEvent event) {
    switch (event) {
      case BackendEvent::ejected: return close_all(locked([&] { return ledger.eject(); }));
      case BackendEvent::readmitted: return locked([&] { ledger.readmit(); });
      case BackendEvent::undrained: return locked([&] { ledger.undrain(); });
      case BackendEvent::drained:
      case BackendEvent::removed: return drain();
    }
  }
  void drain() {
    close_all(locked([&] { return ledger.drain(); }));
  }

  void tick() {
    auto const now = clock.now();
    close_all(locked([&] { return ledger.take_overdue(now); }));
    try {
      while (driver.open && locked([&] { return ledger.begin_filling(now); }))
        give_back(open(options.wait));
    } catch (...) {  // NOLINT(bugprone-empty-catch): counted, and the next tick tries again
    }
  }

  [[nodiscard]] std::vector<pool::Leak> leaks() {
    auto const now = clock.now();
    return locked([&] { return ledger.leaks(now); });
  }

  template <class Fn>
  decltype(auto) locked(Fn const& fn) {
    std::scoped_lock const lock{mutex};
    return fn();
  }

  pool::Driver<Connection> const driver;
  pool::Options const options;
  [[no_unique_address]] Clock clock;
  std::shared_ptr<PoolBook> const book;
  std::mutex& mutex{book->mutex};
  Ledger& ledger{book->ledger};
  std::string failure{};  // the last one to connect
};

}  // namespace poise::inline v0_1_0::detail
