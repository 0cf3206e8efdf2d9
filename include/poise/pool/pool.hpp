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

#include <memory>
#include <utility>
#include <vector>

#include <poise/backend.hpp>
#include <poise/base/check.hpp>
#include <poise/call.hpp>
#include <poise/error.hpp>
#include <poise/pool/core.hpp>
#include <poise/pool/ledger.hpp>
#include <poise/pool/options.hpp>
#include <poise/sync/stop.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::pool {

/// A connection in use. Its destructor gives it back; it may outlive the pool.
/// *Threads* one at a time.
template <class Connection, class Clock = CoarseClock>
class Held {
 public:
  Held() = default;
  /// Made by pools.
  explicit Held(typename detail::PoolCore<Connection, Clock>::SlotPtr slot) noexcept
      : slot_{std::move(slot)} {}
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
    if (slot_) Shared::close(std::move(slot_), Closing::discarded);
  }

 private:
  using Shared = detail::PoolCore<Connection, Clock>;

  typename Shared::SlotPtr slot_{};
};

/// *Threads* any; moving and destroying need it for themselves. *Requires* that nobody waits in
/// acquire() when it is destroyed; a lease of the backend sees to that.
template <class Connection, class Clock = CoarseClock>
class Pool {
 public:
  using Held = pool::Held<Connection, Clock>;

  /// *Errors* ConfigError: an option is out of range, or `open` is empty.
  explicit Pool(Driver<Connection> driver, Options const& options = {}, Clock clock = {})
      : shared_{std::make_shared<Shared>(std::move(driver), options, std::move(clock))} {
    if (!shared_->driver.open)
      throw ConfigError{"open of pool::Driver is empty: use a function that connects"};
  }
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

  [[nodiscard]] Numbers numbers() const { return shared_->book->numbers(); }
  /// For an observe::Reader: what the pool counts, which outlives it.
  [[nodiscard]] std::shared_ptr<detail::PoolBook const> book() const { return shared_->book; }
  /// Connections that are in use for longer than Options::leak_after, the longest first.
  [[nodiscard]] std::vector<Leak> leaks() const { return shared_->leaks(); }

 private:
  using Shared = detail::PoolCore<Connection, Clock>;

  std::shared_ptr<Shared> shared_;
};

}  // namespace poise::inline v0_1_0::pool
