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
inline Outcome outcome_of_acquiring(std::exception_ptr const& thrown) noexcept {
  try {
    std::rethrow_exception(thrown);
  } catch (pool::NoConnection const&) {
    return {Result::cancelled, false};
  } catch (...) {
    auto outcome = outcome_of(thrown);
    outcome.sent = false;
    return outcome;
  }
}

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

  detail::check_positive("wait of pool::AcquireOptions", options.wait);
  auto limit = options.wait;
  if (request.deadline) limit = std::min(limit, *request.remaining(balancer.now()));
  CoarseClock const clock;
  auto const end = clock.now() + limit;
  std::optional<Request> again;  // once a backend has failed
  std::vector<std::uint64_t> tried;
  std::exception_ptr failure;
  while (limit > Duration::zero()) {
    auto lease = balancer.pick_for(again ? *again : request, limit);
    if (!lease && !failure) throw NoBackend{lease.error()};
    if (failure && (!lease || lease.repeated())) {
      lease.finish({Result::cancelled, false});
      break;
    }
    try {
      auto held = detail::pool_of(lease->payload()).acquire(limit, options.stop, where);
      return Both{std::move(lease), std::move(held)};
    } catch (...) {
      failure = std::current_exception();
      if (!failure) throw;  // not of C++: a cancelled thread unwinds
    }
    auto const outcome = detail::outcome_of_acquiring(failure);
    if (!again) {
      again = request;
      tried.assign(request.excluded.begin(), request.excluded.end());
    }
    tried.push_back(lease.serial());
    again->excluded = tried;
    lease.finish(outcome);
    if (outcome.result == Result::rejected || options.stop.stop_requested()) break;
    limit = end - clock.now();
  }
  if (failure) std::rethrow_exception(failure);
  throw NoConnection{Refusal::timeout};
}

}  // namespace poise::inline v0_1_0::pool
