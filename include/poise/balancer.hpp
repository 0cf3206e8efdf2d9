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

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <poise/core.hpp>
#include <poise/error.hpp>
#include <poise/fwd.hpp>
#include <poise/lease.hpp>
#include <poise/policy/power_of_two.hpp>
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
  /// reports it; tries again if the policy says so. Returns the last reply, rethrows the last
  /// exception.
  /// *Errors* NoBackend if there was nobody to call.
  template <class Fn>
  auto call(Fn&& fn) {
    return call(Request{}, std::forward<Fn>(fn));
  }
  template <class Fn>
  auto call(Request request, Fn&& fn) {
    auto lease = pick(request);
    if (!lease) throw NoBackend{lease.error()};
    if constexpr (hooks::has_decide<P>) return call_again(std::move(lease), request, fn);
    else return call_once(lease, request, fn);
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

  template <class Fn>
  static decltype(auto) invoke(Fn& fn, Backend& backend, Request const& request) {
    if constexpr (std::is_invocable_v<Fn&, Backend&, Request const&>) return fn(backend, request);
    else return fn(backend);
  }

  template <class Fn>
  static auto call_once(Lease& lease, Request const& request, Fn& fn) {
    using Reply = std::remove_cvref_t<decltype(invoke(fn, *lease, request))>;
    try {
      if constexpr (std::is_void_v<Reply>) {
        invoke(fn, *lease, request);
        lease.finish();
      } else {
        Reply reply = invoke(fn, *lease, request);
        lease.finish(detail::classify(reply));
        return reply;
      }
    } catch (...) {
      lease.finish(outcome_of(std::current_exception()));
      throw;
    }
  }

  /// What one try brought: a reply or an exception, to be handed on if it was the last.
  template <class Reply>
  struct Try {
    std::optional<Reply> reply{};
    std::exception_ptr thrown{};
    Outcome outcome{};

    Reply take() {
      if (thrown) std::rethrow_exception(thrown);
      return std::move(*reply);
    }
  };

  template <class Fn>
  static auto try_it(Lease& lease, Request const& request, Fn& fn) {
    using Reply = std::remove_cvref_t<decltype(invoke(fn, *lease, request))>;
    using Stored = std::conditional_t<std::is_void_v<Reply>, std::monostate, Reply>;
    Try<Stored> result;
    try {
      if constexpr (std::is_void_v<Reply>) {
        invoke(fn, *lease, request);
        result.reply.emplace();
      } else {
        result.reply.emplace(invoke(fn, *lease, request));
        result.outcome = detail::classify(*result.reply);
      }
    } catch (...) {
      result.thrown = std::current_exception();
      result.outcome = outcome_of(result.thrown);
    }
    return result;
  }

  /// Runs until the policy says stop. From the second try on it uses nothing of this object, which
  /// may be destroyed while a call is in progress.
  template <class Fn>
  static auto call_again(Lease lease, Request& request, Fn& fn) {
    using Reply = std::remove_cvref_t<decltype(invoke(fn, *lease, request))>;
    Tried tried{request.excluded};
    for (;;) {
      auto result = try_it(lease, request, fn);
      auto const core = result.outcome.ending == Ending::success ? nullptr : lease.core();
      auto const serial = lease.serial();
      lease.finish(result.outcome);
      if (core) {
        if (auto const decision = core->decide(request, result.outcome); decision.retry) {
          request.excluded = tried.with(serial);
          ++request.attempt;
          core->sleep(decision.after);
          lease = core->pick(request);
          if (lease) continue;
        }
      }
      if constexpr (std::is_void_v<Reply>) {
        (void)result.take();
        return;
      } else {
        return result.take();
      }
    }
  }

  /// The last backends a request was sent to.
  class Tried {
   public:
    explicit Tried(std::span<std::uint64_t const> before) noexcept {
      for (auto const serial : before) with(serial);
    }
    std::span<std::uint64_t const> with(std::uint64_t serial) noexcept {
      serials_[count_++ % serials_.size()] = serial;
      return {serials_.data(), std::min(count_, serials_.size())};
    }

   private:
    std::array<std::uint64_t, max_excluded> serials_{};
    std::size_t count_ = 0;
  };

  std::shared_ptr<Core> core_;
};

}  // namespace poise
