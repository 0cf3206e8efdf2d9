// SPDX-License-Identifier: MIT
#pragma once

// Which connection of a pool is where, and who is next: the rules, without connections, locks and
// clocks. pool.hpp puts a lock around it and does what it says; tests drive it in virtual time.
//
// Invariants, which tests/property/pool.cpp checks after every step:
//   L1  idle + in use + opening <= max. A connection counts as in use until it is closed.
//   L2  Callers wait only while no connection is idle.
//   L3  Callers wait only while a connection is in use or being opened: its return, its end or its
//       failure serves them. After a failed attempt to connect they also wake at retry_after().
//   L4  Callers are served in the order in which they came: with a connection, or with the
//       permission to open one.
//   L5  After a failure one connection is opened at a time. Each success doubles that number, up
//       to max.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <list>
#include <mutex>
#include <optional>
#include <vector>

#include <poise/base/saturating.hpp>
#include <poise/pool/options.hpp>
#include <poise/random.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::detail {

/// What a ledger notes of one connection. It has its node of a list from the start, so that moving
/// it between lists allocates nothing.
struct PoolSlot {
  std::list<PoolSlot*> home{this};
  std::list<PoolSlot*>::iterator place = home.begin();
  std::uint64_t epoch = 0;
  Time expires{};
  Time since{};  // idle or in use
  pool::Place where{};
  pool::Closing closing{};  // set when it is taken to be closed

  PoolSlot() = default;
  PoolSlot(PoolSlot const&) = delete;
  PoolSlot& operator=(PoolSlot const&) = delete;
};

/// A caller that waits.
class PoolWaiter {
 public:
  enum class State : std::uint8_t {
    waiting,
    given,     // it has `slot`
    may_open,  // it is to open a connection
    refused,   // it gets none: `why`
  };
  PoolWaiter(PoolWaiter const&) = delete;
  PoolWaiter& operator=(PoolWaiter const&) = delete;

  State state = State::waiting;
  PoolSlot* slot = nullptr;
  pool::Refusal why = pool::Refusal::none;

  /// Called once, under the pool's lock, when the state has changed.
  virtual void wake() noexcept = 0;

 protected:
  PoolWaiter() = default;
  ~PoolWaiter() = default;
};

/// *Threads* one at a time: its owner has a lock.
class PoolLedger {
 public:
  /// What a caller is to do.
  enum class Step : std::uint8_t { use, open, wait, fail };
  struct Answer {
    Step step;
    PoolSlot* slot = nullptr;
    pool::Refusal why = pool::Refusal::none;
  };

  PoolLedger(pool::Options const& options, std::uint64_t seed) : options_{options}, random_{seed} {}

  // -- callers -----------------------------------------------------------------------------------

  /// The idle connection that was used last, or else the permission to open one; neither if others
  /// wait already.
  [[nodiscard]] Answer acquire(Time now) {
    serve(now);
    if (waiters_.empty()) {
      if (!idle_.empty()) return {.step = Step::use, .slot = take_idle(*idle_.back())};
      if (may_open(now)) {
        ++opening_;
        return {.step = Step::open};
      }
      if (!anyone_returns()) return refuse(pool::Refusal::unreachable);
    }
    if (waiters_.size() >= options_.max_waiting) return refuse(pool::Refusal::queue_full);
    return {.step = Step::wait};
  }
  void wait(PoolWaiter& waiter) {
    waiters_.push_back(&waiter);
    ++total_.waited;
  }
  /// A caller's wait is over, with or without success.
  void has_waited(Duration time) noexcept { total_.wait_time += time; }
  /// Does nothing if the waiter was served meanwhile.
  void give_up(PoolWaiter& waiter, pool::Refusal why) noexcept {
    if (waiter.state != PoolWaiter::State::waiting) return;
    waiters_.remove(&waiter);
    refuse(waiter, why);
  }
  /// Lets waiters open connections, if any may be opened now.
  void serve(Time now) noexcept {
    while (!waiters_.empty() && may_open(now)) {
      ++opening_;
      next_waiter(PoolWaiter::State::may_open).wake();
    }
  }
  /// The time after which waiters should call serve(), though nothing else happens.
  [[nodiscard]] std::optional<Duration> retry_after(Time now) const noexcept {
    if (!pauses(now)) return std::nullopt;
    return pause_ - (now - failed_at_);
  }
  void handed_out(PoolSlot& slot, Time now, pool::Place where) noexcept {
    ++total_.acquired;
    slot.since = now;
    slot.where = where;
  }

  // -- connections -------------------------------------------------------------------------------

  /// An attempt to connect succeeded: the connection is in use.
  void opened(PoolSlot& slot, Time now) noexcept {
    --opening_;
    in_use_.splice(in_use_.end(), slot.home);
    ++total_.opened;
    slot.epoch = epoch_;
    slot.since = now;
    auto const longest_cut = saturating_scale(options_.lifetime, options_.jitter);
    slot.expires = saturating_add(now, options_.lifetime - next_part(random_, longest_cut));
    failures_ = 0;
    pause_ = Duration::zero();
    gate_ = std::min(gate_ * 2, options_.max);
    serve(now);
  }
  void not_opened(Time now) noexcept {
    --opening_;
    ++total_.not_opened;
    gate_ = 1;
    failed_at_ = now;
    pause_ = next_pause();
    if (!anyone_returns()) refuse_all(pool::Refusal::unreachable);
  }

  /// An attempt to connect was given up by its caller: that says nothing of the backend.
  void not_tried(Time now) noexcept {
    --opening_;
    serve(now);
    if (!anyone_returns()) refuse_all(pool::Refusal::unreachable);
  }

  /// A connection comes back: it goes to the first waiter, or becomes idle. False if it is to be
  /// closed, for slot.closing; it counts as in use until closed().
  [[nodiscard]] bool put_back(PoolSlot& slot, Time now) noexcept {
    using enum pool::Closing;
    slot.closing = slot.epoch != epoch_ || ejected_ ? ejected : drained;
    if (slot.epoch != epoch_) return false;
    if (is_expired(slot, now)) {
      slot.closing = lifetime;
      return false;
    }
    if (!waiters_.empty()) {
      auto& waiter = next_waiter(PoolWaiter::State::given);
      waiter.slot = &slot;
      waiter.wake();
      return true;
    }
    if (!keeps_idle()) return false;
    idle_.splice(idle_.end(), in_use_, slot.place);
    slot.since = now;
    return true;
  }
  /// Is a connection that was taken to be closed, or checked, before it is used?
  [[nodiscard]] bool is_expired(PoolSlot const& slot, Time now) const noexcept {
    return now >= slot.expires;
  }
  [[nodiscard]] bool needs_check(PoolSlot const& slot, Time now) const noexcept {
    return now < slot.since || now - slot.since >= options_.check_after;
  }
  /// `place` is that of a slot in use, which may be destroyed by now.
  void closed(std::list<PoolSlot*>::iterator place, pool::Closing why, Time now) noexcept {
    in_use_.erase(place);
    ++total_.closed[static_cast<std::size_t>(why)];
    serve(now);
    if (!anyone_returns()) refuse_all(pool::Refusal::unreachable);
  }

  // -- the backend -------------------------------------------------------------------------------

  /// Both return the idle connections, which are to be closed for their `closing`, as does
  /// take_overdue(). Those in use are closed when they come back.
  [[nodiscard]] std::vector<PoolSlot*> eject() {
    ejected_ = true;
    ++epoch_;
    gate_ = 1;
    refuse_all(pool::Refusal::ejected);
    return take_all_idle(pool::Closing::ejected);
  }
  [[nodiscard]] std::vector<PoolSlot*> drain() {
    drained_ = true;
    return take_all_idle(pool::Closing::drained);
  }
  void readmit() noexcept { ejected_ = false; }
  void undrain() noexcept { drained_ = false; }

  // -- maintenance -------------------------------------------------------------------------------

  /// Takes idle connections that are too old, or idle for too long. They are to be closed.
  [[nodiscard]] std::vector<PoolSlot*> take_overdue(Time now) {
    std::vector<PoolSlot*> overdue;
    auto left = numbers().size();
    for (auto next = idle_.begin(); next != idle_.end();) {
      auto& slot = **next++;
      slot.since = std::min(slot.since, now);  // later if the clock was set back
      slot.expires = std::min(slot.expires, saturating_add(now, options_.lifetime));
      bool const unused = now - slot.since >= options_.idle_timeout && left > options_.idle;
      if (!unused && !is_expired(slot, now)) continue;
      slot.closing = unused ? pool::Closing::unused : pool::Closing::lifetime;
      overdue.push_back(&slot);
      take_idle(slot);
      --left;
    }
    return overdue;
  }
  /// May one more be opened, to have as many as options say?
  [[nodiscard]] bool begin_filling(Time now) noexcept {
    if (!keeps_idle() || numbers().size() >= options_.idle || !may_open(now)) return false;
    ++opening_;
    return true;
  }
  [[nodiscard]] std::vector<pool::Leak> leaks(Time now) const {
    std::vector<pool::Leak> result;
    for (auto const* slot : in_use_)
      if (now - slot->since >= options_.leak_after)
        result.push_back({now - slot->since, slot->where});
    return result;
  }
  [[nodiscard]] pool::Numbers numbers() const noexcept {
    auto result = total_;
    result.idle = idle_.size();
    result.in_use = in_use_.size();
    result.opening = opening_;
    result.waiting = waiters_.size();
    return result;
  }

 private:
  [[nodiscard]] bool may_open(Time now) const noexcept {
    return idle_.size() + in_use_.size() + opening_ < options_.max && opening_ < gate_ &&
           !pauses(now);
  }
  /// No longer once the clock was set back: it could take hours until it has caught up.
  [[nodiscard]] bool pauses(Time now) const noexcept {
    return pause_ > Duration::zero() && now >= failed_at_ && now - failed_at_ < pause_;
  }
  [[nodiscard]] bool keeps_idle() const noexcept { return !ejected_ && !drained_; }
  /// L3
  [[nodiscard]] bool anyone_returns() const noexcept { return in_use_.size() + opening_ != 0; }

  PoolSlot* take_idle(PoolSlot& slot) noexcept {
    in_use_.splice(in_use_.end(), idle_, slot.place);
    return &slot;
  }
  [[nodiscard]] std::vector<PoolSlot*> take_all_idle(pool::Closing why) {
    for (auto* slot : idle_) slot->closing = why;
    std::vector<PoolSlot*> all{idle_.begin(), idle_.end()};
    in_use_.splice(in_use_.end(), idle_);
    return all;
  }

  PoolWaiter& next_waiter(PoolWaiter::State state) noexcept {
    auto& waiter = *waiters_.front();
    waiters_.pop_front();
    waiter.state = state;
    return waiter;
  }
  Answer refuse(pool::Refusal why) noexcept {
    ++total_.refused;
    return {.step = Step::fail, .why = why};
  }
  void refuse(PoolWaiter& waiter, pool::Refusal why) noexcept {
    ++total_.refused;
    waiter.state = PoolWaiter::State::refused;
    waiter.why = why;
    waiter.wake();
  }
  void refuse_all(pool::Refusal why) noexcept {
    while (!waiters_.empty()) refuse(next_waiter(PoolWaiter::State::refused), why);
  }

  /// Half of it is random, so that clients that failed together do not try again together.
  Duration next_pause() noexcept {
    auto pause = options_.backoff;
    for (unsigned i = 0; i < failures_ && pause < options_.max_backoff; ++i)
      pause = std::min(saturating_mul(pause, 2), options_.max_backoff);
    ++failures_;
    return pause / 2 + next_part(random_, pause / 2);
  }

  pool::Options options_;
  std::uint64_t random_;
  std::list<PoolSlot*> idle_{};  // the one that was used last is at the end
  std::list<PoolSlot*> in_use_{};
  std::list<PoolWaiter*> waiters_{};
  std::size_t opening_ = 0;
  std::size_t gate_ = 1;     // L5
  unsigned failures_ = 0;    // to connect, in a row
  Time failed_at_{};         // to connect, last
  Duration pause_{};         // since then
  std::uint64_t epoch_ = 0;  // connections of an earlier one are closed
  bool ejected_ = false;
  bool drained_ = false;
  pool::Numbers total_{};  // what only grows
};

/// A ledger and its lock. It may outlive its pool, for readers of its numbers.
struct PoolBook {
  PoolBook(pool::Options const& options, std::uint64_t seed) : ledger{options, seed} {}
  [[nodiscard]] pool::Numbers numbers() const {
    std::scoped_lock const lock{mutex};
    return ledger.numbers();
  }

  mutable std::mutex mutex{};
  PoolLedger ledger;
};

}  // namespace poise::inline v0_1_0::detail
