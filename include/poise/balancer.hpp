// SPDX-License-Identifier: MIT
#pragma once

// The balancer: give it backends and a policy, and it says which one takes the next request.
//
//   poise::Balancer<> servers{poise::endpoints({"10.0.0.1:80", "10.0.0.2:80"})};
//   auto reply = servers.call([](auto& backend) { return fetch(backend.address()); });
//
// Thread safety: all members may be called from any thread at any time, except that moving,
// assigning and destroying need the object for themselves, as with any other value. Picks never
// wait; changes wait for each other. Callbacks may use the balancer, except where core.hpp's C4
// says otherwise.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <poise/call.hpp>
#include <poise/core.hpp>
#include <poise/core/call.hpp>
#include <poise/error.hpp>
#include <poise/fwd.hpp>
#include <poise/lease.hpp>
#include <poise/policy/adaptive.hpp>
#include <poise/runtime.hpp>

namespace poise {

/// @tparam P       how to choose (policy.hpp)
/// @tparam Payload a value of yours per backend, a connection pool say; void for none
/// @tparam R       clock, seed and observers (runtime.hpp)
template <class P, class Payload, class R>
class Balancer {
  static_assert(Policy<P>,
                "a poise policy needs: std::size_t pick(Candidates const&, Context&) const");
  static_assert(detail::check_policy<P>());
  using Core = detail::Core<P, Payload, R>;

 public:
  using Lease = poise::Lease<Core>;
  using Backend = BackendWith<Payload>;

  /// Starts with these backends; none is allowed, and picks fail until some are added.
  /// *Errors* ConfigError; what the payload's factory throws.
  explicit Balancer(std::vector<Endpoint> endpoints, P policy = {}, R runtime = {})
    requires(std::is_void_v<Payload> || std::is_constructible_v<Payload, Endpoint const&>)
      : Balancer{Private{}, std::move(endpoints), default_maker(), std::move(policy),
                 std::move(runtime)} {}

  /// The same with a payload per backend. The factory runs under the balancer's lock, before
  /// anything is published; if it throws, nothing was changed. Payloads are destroyed after their
  /// last lease, by an update, tick or the balancer's destructor, not by the request that ends last
  /// (unless the balancer is gone by then).
  Balancer(std::vector<Endpoint> endpoints, Factory<Payload> make, P policy = {}, R runtime = {})
    requires(!std::is_void_v<Payload>)
      : Balancer{Private{}, std::move(endpoints), std::move(make), std::move(policy),
                 std::move(runtime)} {}

  Balancer(Balancer&&) noexcept = default;
  Balancer& operator=(Balancer&& other) noexcept {
    if (this == &other) return *this;
    close();
    core_ = std::move(other.core_);
    return *this;
  }
  Balancer(Balancer const&) = delete;
  Balancer& operator=(Balancer const&) = delete;
  /// Leases may outlive it.
  ~Balancer() { close(); }

  // -- requests --------------------------------------------------------------------------------

  /// Chooses a backend and counts the request in. On failure the lease is false and says why.
  /// *Cost* no lock, no allocation, no system call; a clock read only if somebody uses time.
  [[nodiscard, gnu::always_inline]] Lease pick(Request const& request = any_request) {
    if (!core_) [[unlikely]]
      return Lease{Error{.reason = PickError::closed}};
    return core_->pick(request);
  }

  /// Picks, runs fn(backend) or fn(backend, request), classifies its reply with outcome_of and
  /// reports it; tries again, elsewhere and after a pause, if the policy says so
  /// (compose/retry.hpp). The request that fn gets has the number and the deadline of its attempt.
  /// Returns the last reply, rethrows the last exception.
  /// *Errors* NoBackend if there was nobody to call; CallStopped if its deadline was in the past or
  /// a stop was asked for, and so nobody was asked.
  /// *Cost* 10 to 20 ns over pick and finish if the first attempt succeeds (bench/calls), and a
  /// clock read if there is a timeout or deadline.
  template <class Fn>
  auto call(Fn&& fn, CallOptions const& options = {}) {
    return call(any_request, std::forward<Fn>(fn), options);
  }
  template <class Fn>
  auto call(Request const& request, Fn&& fn, CallOptions const& options = {}) {
    if (!core_) throw NoBackend{Error{.reason = PickError::closed}};
    auto& core = *core_;  // from here on nothing of this object: fn may destroy it
    detail::Terms const terms{core, request, options.report};
    if (terms.too_late() || options.stop.stop_requested()) [[unlikely]]
      refuse(core, request, terms, options);
    auto const deadline = terms.deadline_at(terms.began);
    if (!deadline) [[likely]]
      return call_for(core, request, request, terms, fn, options);
    auto timed = request;
    timed.deadline = deadline;
    return call_for(core, request, timed, terms, fn, options);
  }

  /// Ends a lease; the same as lease.finish(outcome).
  static void finish(Lease lease, Outcome outcome = {}) noexcept { lease.finish(outcome); }

  /// Counts a request that poise did not pick: totals, failures and latency, never in-flight.
  /// Returns false if there is no such backend.
  bool record(std::string_view id, Outcome outcome) noexcept {
    return core_ && core_->record(id, outcome, detail::unmeasured);
  }
  template <class Rep, class Period>
  bool record(std::string_view id, Outcome outcome,
              std::chrono::duration<Rep, Period> latency) noexcept {
    return core_ && core_->record(id, outcome, detail::sample_of(latency));
  }

  // -- changes: all or nothing; ConfigError says what is wrong, UpdateRefused where it can't be
  // done ---

  /// Replaces the set. Backends whose id stays keep statistics and health; leases of removed ones
  /// finish in peace. An empty set is refused: see clear().
  void update(std::vector<Endpoint> endpoints) { core().update(std::move(endpoints), false); }
  void add(Endpoint endpoint) { core().add(std::move(endpoint)); }
  void remove(std::string_view id) { core().remove(id); }
  void clear() { core().update({}, true); }
  /// No new requests for it, until undrain(); those in flight finish.
  void drain(std::string_view id) { core().set_drained(id, true); }
  void undrain(std::string_view id) { core().set_drained(id, false); }
  void set_weight(std::string_view id, std::uint32_t weight) { core().set_weight(id, weight); }
  /// The operator's word: no rule or probe overrides it, until it is taken back with nullopt.
  void set_health(std::string_view id, std::optional<HealthState> health) {
    core().declare_health(id, health);
  }
  /// What a rule or probe found; the operator's word beats it.
  void report_health(std::string_view id, HealthState health) { core().report_health(id, health); }
  void set_admission(std::string_view id, Admission admission) {
    core().set_admission(id, admission);
  }
  /// Another policy of the same type; its per-backend state starts afresh.
  void set_policy(P policy) { core().set_policy(std::move(policy)); }

  /// Periodic work: call it about once a second, from one place.
  void tick() { core().tick(core().now()); }
  void tick(Time now) { core().tick(now); }

  // -- questions -------------------------------------------------------------------------------

  [[nodiscard]] Stats stats() { return core().stats(); }
  /// The policy's name.
  [[nodiscard]] std::string name() { return core().name(); }
  /// The runtime's observer of this type, as the balancer holds it.
  template <class Observer>
  [[nodiscard]] Observer& observer() {
    return std::get<Observer>(core().observers());
  }

 private:
  friend struct detail::Inside;
  struct Private {};

  Balancer(Private, std::vector<Endpoint> endpoints, typename Core::Maker make, P policy, R runtime)
      : core_{std::make_shared<Core>(std::move(policy), std::move(make), std::move(runtime))} {
    core_->update(std::move(endpoints), true);
  }
  static typename Core::Maker default_maker() {
    if constexpr (!std::is_void_v<Payload>)
      return [](Endpoint const& endpoint) { return Payload(endpoint); };
    else return nullptr;
  }

  [[nodiscard]] Core& core() {
    if (!core_) throw UpdateRefused{"this balancer was moved from"};
    return *core_;
  }

  void close() noexcept {
    if (core_) core_->close();
  }

  /// `first` is the request as the first attempt has it.
  template <class Fn>
  static auto call_for(Core& core, Request const& request, Request const& first,
                       detail::Terms const& terms, Fn& fn, CallOptions const& options) {
    auto lease = core.pick(first);
    if (!lease) [[unlikely]]
      refuse(core, request, terms, options, lease.error());
    auto result = run(*lease, first, fn);
    if (result.outcome.ending != Ending::success || options.report != nullptr) [[unlikely]]
      return go_on(core, request, first, terms, lease.release(), std::move(result), fn, options);
    lease.finish(result.outcome);
    return result.take();
  }

  /// One attempt.
  template <class Fn>
  [[gnu::always_inline]] static auto run(Backend& backend, Request const& request, Fn& fn) {
    using Reply = std::remove_cvref_t<decltype(detail::invoke(fn, backend, request))>;
    detail::Result<Reply> result;
    try {
      if constexpr (std::is_void_v<Reply>) {
        detail::invoke(fn, backend, request);
        result.keep();
      } else {
        result.keep(detail::invoke(fn, backend, request));
      }
    } catch (...) {
      result.keep_exception([](std::exception_ptr const& thrown) { return outcome_of(thrown); });
    }
    return result;
  }

  /// What follows if a first attempt failed, or somebody wants to hear of it.
  template <class Reply, class Fn>
  [[gnu::noinline]] static Reply go_on(Core& core, Request const& request, Request const& first,
                                       detail::Terms terms, typename Lease::Token token,
                                       detail::Result<Reply> result, Fn& fn,
                                       CallOptions const& options) {
    detail::Call<Core> call{core, request, terms, options.report};
    auto going = call.adopt(Lease::adopt(token), first);
    for (;;) {
      auto const pause = call.ended(going, result.outcome);
      if (!pause || !call.wait(*pause, options.stop) || !call.again(going, *pause))
        return result.take();
      result = run(*going.lease, *going.request, fn);
    }
  }

  [[noreturn, gnu::noinline]] static void refuse(Core& core, Request const& request,
                                                 detail::Terms terms, CallOptions const& options,
                                                 Error const& error = {}) {
    detail::Call<Core> call{core, request, terms, options.report};
    auto const why = error.reason != PickError::none ? Stop::nobody
                     : options.stop.stop_requested() ? Stop::cancelled
                                                     : Stop::deadline;
    call.refuse(why, error);
  }

  std::shared_ptr<Core> core_;
};

}  // namespace poise
