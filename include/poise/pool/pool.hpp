// SPDX-License-Identifier: MIT
#pragma once

// A pool of connections to one backend, as the payload of a balancer.
//
//   poise::Balancer<poise::P2C, poise::pool::Pool<Socket>> servers{
//       endpoints, [](poise::Endpoint const& endpoint) {
//         return poise::pool::Pool<Socket>{
//             {.open = [=](poise::Duration limit) { return Socket{endpoint.address, limit}; }}};
//       }};
//   auto socket = poise::pool::acquire(servers);   // pool/acquire.hpp: a pick and a connection
//
// The balancer chooses the backend, the pool the connection: the one that was used last, so that
// the others may go idle and be closed. Callers that wait are served first come, first served. When
// the backend is ejected, drained or removed, the pool closes what is idle at once, and what is in
// use when it comes back. A backend that refuses connections gets one attempt at a time, with
// growing pauses; meanwhile callers fail at once and can go elsewhere.
//
// It has no thread: call tick() once a second if connections are to be closed for their age while
// nobody uses them, or opened in advance.

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
#include <poise/call.hpp>
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

template <class Connection, class Clock>
class Pool;

/// A connection in use. Its destructor gives it back; it may outlive the pool.
/// *Threads* one at a time.
template <class Connection, class Clock = CoarseClock>
class Held {
 public:
  Held() = default;
  Held(Held&&) noexcept = default;
  Held& operator=(Held&& other) noexcept {
    if (this != &other) {
      give_back();
      slot_ = std::move(other.slot_);
    }
    return *this;
  }
  ~Held() { give_back(); }

  /// False once it was given back, discarded or moved from.
  [[nodiscard]] explicit operator bool() const noexcept { return slot_ != nullptr; }
  /// *Requires* `*this` to be true, as do -> and waited().
  [[nodiscard]] Connection& operator*() const noexcept { return slot_->connection; }
  [[nodiscard]] Connection* operator->() const noexcept { return &slot_->connection; }
  /// Did acquire() take its time: to wait, to check or to open it?
  [[nodiscard]] bool waited() const noexcept { return slot_->waited; }

  /// Gives it back for others to use, if Driver::reset can.
  void give_back() noexcept {
    if (slot_) Shared::give_back(std::move(slot_));
  }
  /// Has it closed: for a connection that broke, or in whose middle the caller stopped.
  void discard() noexcept {
    if (slot_) Shared::close(std::move(slot_), false);
  }

 private:
  friend class Pool<Connection, Clock>;
  using Shared = typename Pool<Connection, Clock>::Shared;
  explicit Held(std::unique_ptr<typename Shared::Slot> slot) noexcept : slot_{std::move(slot)} {}

  std::unique_ptr<typename Shared::Slot> slot_{};
};

/// *Threads* any; moving and destroying need it for themselves. *Requires* that nobody waits in
/// acquire() when it is destroyed; a lease of the backend sees to that.
template <class Connection, class Clock = CoarseClock>
class Pool {
 public:
  using Held = pool::Held<Connection, Clock>;

  /// *Errors* ConfigError: an option is out of range, or `open` is empty.
  explicit Pool(Driver<Connection> driver, Options const& options = {}, Clock clock = {})
      : shared_{std::make_shared<Shared>(std::move(driver), options, std::move(clock))} {}
  Pool(Pool&&) noexcept = default;
  Pool& operator=(Pool&&) = delete;
  ~Pool() {
    if (shared_) shared_->drain();
  }

  /// A connection: an idle one, or a new one, or the one that comes back first.
  /// *Errors* NoConnection; what Driver::open throws. ConfigError: `wait` is not above 0.
  /// *Cost* if one is idle: a lock and a read of the clock; no allocation. `wait` is real time,
  /// whatever the clock; opening is not interrupted, but told what is left of it.
  [[nodiscard]] Held acquire(Duration wait, sync::StopToken const& stop = detail::no_stop,
                             Place where = Place::here()) {
    detail::check_positive("wait of pool::Pool::acquire", wait);
    return Held{shared_->acquire({wait, stop, where})};
  }
  /// The same with Options::wait.
  [[nodiscard]] Held acquire(Place where = Place::here()) {
    return acquire(shared_->options.wait, detail::no_stop, where);
  }

  /// Closes idle connections that are overdue, and opens some if Options::idle says so. Call it
  /// about once a second, where it may block.
  void tick() { shared_->tick(); }

  /// Called by the balancer (poise::BackendEvent).
  void on_event(BackendEvent event) { shared_->on_event(event); }

  [[nodiscard]] Numbers numbers() const {
    std::scoped_lock const lock{shared_->mutex};
    return shared_->ledger.numbers();
  }
  /// Connections that are in use for longer than Options::leak_after, the longest first.
  [[nodiscard]] std::vector<Leak> leaks() const {
    auto const now = shared_->clock.now();
    std::scoped_lock const lock{shared_->mutex};
    return shared_->ledger.leaks(now);
  }

 private:
  friend class pool::Held<Connection, Clock>;
  struct Shared;

  std::shared_ptr<Shared> shared_;
};

/// What pool and connections in use own together.
template <class Connection, class Clock>
struct Pool<Connection, Clock>::Shared : std::enable_shared_from_this<Shared> {
  using Ledger = detail::PoolLedger;
  using State = detail::PoolWaiter::State;
  using RealClock = std::chrono::steady_clock;

  struct Slot : detail::PoolSlot {
    Slot(std::shared_ptr<Shared> shared, Duration limit)
        : owner{std::move(shared)}, connection(owner->driver.open(limit)) {}
    std::shared_ptr<Shared> owner;  // a cycle while it is idle, which drain() breaks
    bool waited = false;
    Connection connection;
  };
  using SlotPtr = std::unique_ptr<Slot>;

  /// How one call of acquire() was made.
  struct Call {
    Call(Duration wait, sync::StopToken const& token, Place caller)
        : limit{std::min<Duration>(wait, std::chrono::hours{24 * 365})},
          stop{token},
          where{caller} {}
    Duration limit;
    sync::StopToken const& stop;
    Place where;
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
  struct Blocked final : detail::PoolWaiter {
    std::condition_variable ready{};
    void wake() noexcept override { ready.notify_one(); }
  };

  Shared(Driver<Connection> how, Options const& chosen, Clock time)
      : driver{std::move(how)},
        options{chosen},
        clock{std::move(time)},
        ledger{options, fresh_seed()} {
    detail::check(options);
    if (!driver.open)
      throw ConfigError{"open of pool::Driver is empty: use a function that connects"};
  }

  // -- callers -----------------------------------------------------------------------------------

  SlotPtr acquire(Call call) {
    for (;;) {
      auto const now = clock.now();
      std::unique_lock lock{mutex};
      auto const answer = ledger.acquire(now);
      switch (answer.step) {
        case Ledger::Step::use:
          if (auto slot = take(SlotPtr{static_cast<Slot*>(answer.slot)}, now, call.where, lock))
            return slot;
          break;
        case Ledger::Step::open: lock.unlock(); return open_for(call);
        case Ledger::Step::wait: return wait(call, lock);
        case Ledger::Step::fail: throw NoConnection{answer.why, last_failure(answer.why)};
      }
    }
  }

  /// Null if the idle connection was too old or dead.
  SlotPtr take(SlotPtr slot, Time now, Place where, std::unique_lock<std::mutex>& lock) {
    bool const expired = ledger.is_expired(*slot, now);
    if (!expired && (!driver.check || !ledger.needs_check(*slot, now))) {
      ledger.handed_out(*slot, now, where);
      slot->waited = false;
      return slot;
    }
    lock.unlock();
    if (expired || !succeeds(driver.check, slot->connection)) {
      close(std::move(slot), !expired);
      return nullptr;
    }
    hand_out(*slot, where);
    return slot;
  }

  SlotPtr wait(Call& call, std::unique_lock<std::mutex>& lock) {
    auto const end = call.end();
    Blocked waiter;
    ledger.wait(waiter);
    lock.unlock();
    {
      auto const give_up = [&] {
        std::scoped_lock const inner{mutex};
        ledger.give_up(waiter, Refusal::stopped);
      };
      sync::StopCallback<decltype(give_up)> const on_stop{call.stop, give_up};
      lock.lock();
      while (waiter.state == State::waiting) sleep(waiter, end, lock);
      lock.unlock();  // its destructor waits for give_up(), which locks
    }
    if (waiter.state == State::may_open) return open_for(call);
    if (waiter.state == State::refused)
      throw NoConnection{waiter.why, locked([&] { return last_failure(waiter.why); })};
    SlotPtr slot{static_cast<Slot*>(waiter.slot)};
    hand_out(*slot, call.where);
    return slot;
  }
  void sleep(Blocked& waiter, RealClock::time_point end, std::unique_lock<std::mutex>& lock) {
    auto until = end;
    auto const now = clock.now();
    if (auto const retry = ledger.retry_at(now))
      until = std::min(
          until, RealClock::now() + std::chrono::duration_cast<RealClock::duration>(*retry - now));
    waiter.ready.wait_until(lock, until);
    if (waiter.state != State::waiting) return;
    if (RealClock::now() >= end) ledger.give_up(waiter, Refusal::timeout);
    else ledger.serve(clock.now());
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
  void not_opened(std::string what) noexcept {
    locked([&] {
      failure.swap(what);
      ledger.not_opened(clock.now());
    });
  }
  void hand_out(Slot& slot, Place where) {
    slot.waited = true;
    locked([&] { ledger.handed_out(slot, clock.now(), where); });
  }
  /// *Requires* the lock.
  [[nodiscard]] std::string last_failure(Refusal why) const {
    return why == Refusal::unreachable && !failure.empty() ? ": " + failure : "";
  }

  // -- connections -------------------------------------------------------------------------------

  static void give_back(SlotPtr slot) noexcept {
    auto& shared = *slot->owner;
    if (!shared.driver.reset || succeeds(shared.driver.reset, slot->connection)) {
      auto const now = shared.clock.now();
      std::scoped_lock const lock{shared.mutex};
      if (shared.ledger.put_back(*slot, now)) {
        static_cast<void>(slot.release());  // the ledger has it
        return;
      }
    }
    close(std::move(slot), false);
  }
  /// It counts until it is gone, so that the backend never has more than `max`.
  static void close(SlotPtr slot, bool found_dead) noexcept {
    auto const shared = slot->owner;
    auto const place = slot->place;
    try {
      if (shared->driver.close) shared->driver.close(slot->connection);
    } catch (...) {  // NOLINT(bugprone-empty-catch): it is destroyed anyway
    }
    slot.reset();
    shared->locked([&] { shared->ledger.closed(place, found_dead, shared->clock.now()); });
  }
  static void close_all(std::vector<detail::PoolSlot*> const& slots) noexcept {
    for (auto* slot : slots) close(SlotPtr{static_cast<Slot*>(slot)}, false);
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
      while (locked([&] { return ledger.begin_filling(now); })) give_back(open(options.wait));
    } catch (...) {  // NOLINT(bugprone-empty-catch): counted, and the next tick tries again
    }
  }

  template <class Fn>
  decltype(auto) locked(Fn const& fn) {
    std::scoped_lock const lock{mutex};
    return fn();
  }

  Driver<Connection> const driver;
  Options const options;
  [[no_unique_address]] Clock clock;
  std::mutex mutex{};
  Ledger ledger;
  std::string failure{};  // the last one to connect
};

}  // namespace poise::inline v0_1_0::pool
