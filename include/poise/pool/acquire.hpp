// SPDX-License-Identifier: MIT
#pragma once

// A pick and a connection of the backend's pool as one value.
//
//   auto connection = poise::pool::acquire(servers, {.deadline = ...});
//   auto reply = connection->query("select 1");
//   connection.finish();                  // reports the outcome, and gives the connection back
//
// While a caller waits for a connection its request is in flight, so that policies see the queue.
// To have callers go to a backend with a free connection instead, set Endpoint::max_in_flight to
// the pool's size: then nobody waits at a pool, but all in the balancer's queue (docs/waiting.md).

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <exception>
#include <optional>
#include <utility>
#include <vector>

#include <poise/base/check.hpp>
#include <poise/call.hpp>
#include <poise/error.hpp>
#include <poise/outcome.hpp>
#include <poise/pool/options.hpp>
#include <poise/request.hpp>
#include <poise/sync/stop.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::pool {

/// For how long acquire() tries.
struct AcquireOptions {
  /// For everything: the pick, connecting, waiting, the next backend. Real time. The request's
  /// deadline also holds.
  Duration wait = std::chrono::seconds{1};
  sync::StopToken const& stop = detail::no_stop;
};

/// A lease with a connection. A value that is destroyed before finish() closes the connection,
/// whose state is unknown, and ends the lease as abandoned.
/// *Threads* one at a time.
template <class Lease, class Held>
class Acquired {
 public:
  Acquired(Lease lease, Held held) : lease_{std::move(lease)}, held_{std::move(held)} {
    if (held_.waited()) use_began_ = lease_.core()->now();
  }
  Acquired(Acquired&&) noexcept = default;
  Acquired& operator=(Acquired&& other) noexcept {
    if (this == &other) return *this;
    held_.discard();
    lease_ = std::move(other.lease_);
    held_ = std::move(other.held_);
    use_began_ = other.use_began_;
    return *this;
  }
  ~Acquired() { held_.discard(); }

  /// True until it is finished or moved from.
  [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(held_); }
  /// The connection. *Requires* `*this` to be true, as does ->.
  [[nodiscard]] auto& operator*() const noexcept { return *held_; }
  [[nodiscard]] auto* operator->() const noexcept { return &*held_; }
  /// The backend. *Errors* NoBackend if `*this` is false.
  [[nodiscard]] auto& backend() const { return *lease_; }

  /// Did the pool take its time, to open or check a connection, or to wait for one? *Requires*
  /// `*this` to be true.
  [[nodiscard]] bool waited() const noexcept { return held_.waited(); }

  /// Gives the connection back if the outcome leaves it usable, and reports the outcome. The wait
  /// for the connection does not count as latency. A second call does nothing.
  void finish(Outcome outcome = {}) noexcept {
    if (!held_) return;
    if (is_usable_after(outcome.result)) held_.give_back();
    else held_.discard();
    if (use_began_) lease_.finish(outcome, lease_.core()->now() - *use_began_);
    else lease_.finish(outcome);
  }

  /// Gives the connection back unused, and ends the lease without a verdict. Does nothing after
  /// finish().
  void give_back() noexcept {
    held_.give_back();
    lease_.finish({Result::cancelled, false});
  }

 private:
  /// An answer that was not read, or not read to its end, would be taken for that of the next
  /// request.
  static bool is_usable_after(Result result) noexcept {
    return result == Result::success || result == Result::error || result == Result::overloaded ||
           result == Result::rejected;
  }

  Lease lease_;
  Held held_;
  std::optional<Time> use_began_{};  // if that was not when the backend was picked
};

}  // namespace poise::inline v0_1_0::pool

namespace poise::inline v0_1_0::detail {

/// The pool of a backend: its payload, or what the payload points to.
template <class Payload>
auto& pool_of(Payload& payload) {
  if constexpr (requires { payload.acquire(); }) return payload;
  else return *payload;
}

/// How failing to get a connection ended: nothing was sent. A pool that is full or waits before its
/// next attempt says nothing new about the backend.
template <class OutcomeOf>
Outcome outcome_of_acquiring(std::exception_ptr const& thrown, OutcomeOf const& of) noexcept {
  try {
    std::rethrow_exception(thrown);
  } catch (pool::NoConnection const&) {
    return {Result::cancelled, false};
  } catch (...) {
    auto outcome = of(thrown);
    outcome.sent = false;
    return outcome;
  }
}

/// Which backends pool::acquire has tried, and how long it may go on.
class PoolTries {
 public:
  /// *Requires* that the request outlives it.
  PoolTries(Request const& request, Duration wait, Time now) : first_{&request}, left_{wait} {
    check_positive("wait of pool::AcquireOptions", wait);
    if (request.deadline) left_ = std::min(wait, *request.remaining(now));
    end_ = clock_.now() + left_;
  }
  PoolTries(PoolTries const&) = delete;
  PoolTries& operator=(PoolTries const&) = delete;

  [[nodiscard]] Request const& request() const noexcept { return again_ ? *again_ : *first_; }
  /// Real time, as of the beginning of this try.
  [[nodiscard]] Duration left() const noexcept { return left_; }

  /// False if no backend is left. *Errors* NoBackend: there was none from the beginning.
  template <class Lease>
  [[nodiscard]] bool is_of_use(Lease& lease) const {
    if (!lease && !failure_) throw NoBackend{lease.error()};
    if (lease && !(failure_ && lease.repeated())) return true;
    lease.finish({Result::cancelled, false});
    return false;
  }
  /// Its pool threw. False if no other backend is to be tried.
  template <class Lease, class OutcomeOf>
  [[nodiscard]] bool go_on(Lease& lease, std::exception_ptr failure, OutcomeOf const& of,
                           bool stopped) {
    failure_ = std::move(failure);
    auto const outcome = outcome_of_acquiring(failure_, of);
    if (!again_) {
      again_ = *first_;
      tried_.assign(first_->excluded.begin(), first_->excluded.end());
    }
    tried_.push_back(lease.serial());
    again_->excluded = tried_;
    lease.finish(outcome);
    left_ = end_ - clock_.now();
    return outcome.result != Result::rejected && !stopped;
  }
  /// *Errors* what the last pool threw, or NoConnection.
  [[noreturn]] void fail() const {
    if (failure_) std::rethrow_exception(failure_);
    throw pool::NoConnection{pool::Refusal::timeout};
  }

 private:
  pool::CoarseClock clock_{};
  Request const* first_;
  std::optional<Request> again_{};  // once a backend has failed
  Duration left_;
  Time end_{};
  std::vector<std::uint64_t> tried_{};
  std::exception_ptr failure_;
};

}  // namespace poise::inline v0_1_0::detail

namespace poise::inline v0_1_0::pool {

/// Picks a backend and takes a connection of its pool. If it has none to give, tries the next
/// backend, each one at most once; only what the pool says of connecting counts as the backend's
/// failure.
/// *Errors* NoBackend if no backend could be picked; else what the last pool threw: NoConnection,
/// or what Driver::open throws. A refused password (Result::rejected) is thrown at once, since all
/// backends would refuse it.
template <class Balancer>
[[nodiscard]] auto acquire(Balancer const& balancer, Request const& request = any_request,
                           AcquireOptions const& options = {}, Place where = Place::here()) {
  using Held = decltype(detail::pool_of(balancer.pick()->payload()).acquire());
  using Both = Acquired<typename Balancer::Lease, Held>;

  detail::PoolTries tries{request, options.wait, balancer.now()};
  auto const of = [](std::exception_ptr const& thrown) { return outcome_of(thrown); };
  while (tries.left() > Duration::zero()) {
    auto lease = balancer.pick_for(tries.request(), tries.left());
    if (!tries.is_of_use(lease)) break;
    std::exception_ptr failure;
    try {
      auto held = detail::pool_of(lease->payload()).acquire(tries.left(), options.stop, where);
      return Both{std::move(lease), std::move(held)};
    } catch (...) {
      failure = std::current_exception();
      if (!failure) throw;  // not of C++: a cancelled thread unwinds
    }
    if (!tries.go_on(lease, std::move(failure), of, options.stop.stop_requested())) break;
  }
  tries.fail();
}

}  // namespace poise::inline v0_1_0::pool
