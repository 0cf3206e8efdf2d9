// SPDX-License-Identifier: MIT
#pragma once

// The balancer: give it backends and a policy, and it says which one takes the next request.
//
//   poise::Balancer<> servers{poise::endpoints({"10.0.0.1:80", "10.0.0.2:80"})};
//   auto reply = servers.call([](auto& backend) { return fetch(backend.address()); });
//
// Thread safety: all members may be called from any thread at any time, except that moving,
// assigning and destroying need the object for themselves, as with any other value. Picks never
// wait; changes wait for each other. Callbacks may use the balancer, except where engine/core.hpp's
// C4 says otherwise.

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <poise/call.hpp>
#include <poise/changes.hpp>
#include <poise/engine/blocking_call.hpp>
#include <poise/engine/call.hpp>
#include <poise/engine/constructor_checks.hpp>
#include <poise/engine/core.hpp>
#include <poise/engine/endpoint_checks.hpp>
#include <poise/error.hpp>
#include <poise/fwd.hpp>
#include <poise/handle.hpp>
#include <poise/lease.hpp>
#include <poise/policy/adaptive.hpp>
#include <poise/rehearsed.hpp>
#include <poise/request.hpp>
#include <poise/runtime.hpp>

namespace poise::inline v0_1_0 {

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
  using Handle = BackendHandle<Core>;
  using Backend = BackendWith<Payload>;

  /// Starts with these backends; none is allowed, and picks fail until some are added.
  /// *Errors* ConfigError; what the payload's factory throws.
  explicit Balancer(std::vector<Endpoint> endpoints, P policy = detail::default_policy<P>(),
                    R runtime = {})
    requires(detail::makes_payload<Payload>)
      : core_{start(std::move(endpoints), default_maker(), std::move(policy), std::move(runtime))} {
  }

  /// The same with a payload per backend. The factory runs before anything is published, one call
  /// at a time, and nothing waits for it. If it throws, nothing is changed. A payload is destroyed
  /// after its last lease: by an update, a tick or the balancer's destructor, and by the last
  /// request only if the balancer no longer exists.
  Balancer(std::vector<Endpoint> endpoints, Factory<Payload> make,
           P policy = detail::default_policy<P>(), R runtime = {})
    requires(!std::is_void_v<Payload>)
      : core_{start(std::move(endpoints), std::move(make), std::move(policy), std::move(runtime))} {
  }

  /// Does not compile: says which argument is wrong.
  template <class First, class... More>
    requires(!std::same_as<std::remove_cvref_t<First>, Balancer> &&
             !detail::fits<P, Payload, R, First, More...>)
  explicit Balancer(First&&, More&&...) {
    static_assert(detail::explain_arguments<P, Payload, R, First, More...>());
  }
  /// These do not compile either: say what to write for addresses. (One more for an Endpoint would
  /// make `Balancer b({{.id = "a"}})` ambiguous for g++.)
  template <std::convertible_to<std::string_view> T, class... More>
  explicit Balancer(std::initializer_list<T>, More&&...) {
    detail::refuse_addresses<T>();
  }
  template <std::convertible_to<std::string_view> T>
  Balancer(std::initializer_list<T>, P, R = {}) {
    detail::refuse_addresses<T>();
  }
  /// Never a candidate: lists its condition's name beside `{{.id = "a"}, {.id = "b"}}`. (As one
  /// that says so with a static_assert, it would make `Balancer b({{.id = "a"}, {.id = "b"}})`
  /// ambiguous: those braces would be a Balancer to be moved, too.)
  template <class None = void>
    requires detail::EndpointsHaveOneMorePairOfBraces<None>
  explicit Balancer(Endpoint const&, Endpoint const&, Endpoint const& = {}, Endpoint const& = {});

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
  /// *Cost* no lock, no allocation, no system call; a clock read only if the policy or an observer
  /// uses time.
  [[nodiscard, gnu::always_inline]] Lease pick(Request const& request = any_request) const {
    if (!core_) [[unlikely]]
      return Lease{Error{.reason = PickError::closed}};
    return core_->pick(request);
  }

  /// The same, but waits at most so long if every backend that would do is at a limit: by priority,
  /// and first come, first served within a priority. A plain pick() does not queue, and may take
  /// the room that a waiter hopes for. Fails at once if there is no use in waiting (all backends
  /// are drained or unhealthy, say), or if too many wait already.
  /// *Cost* as pick() if there is room and no queue. The timeout is real time, not the clock's.
  [[nodiscard]] Lease pick_for(Request const& request, Duration timeout) const {
    return core_ ? core_->pick_for(request, timeout) : Lease{Error{.reason = PickError::closed}};
  }
  [[nodiscard]] Lease pick_for(Duration timeout) const { return pick_for(any_request, timeout); }
  /// At most so many requests wait at once, 1024 unless set; the others fail with queue_full.
  void set_max_waiting(std::size_t max) { core().room().set_max_waiting(max); }
  /// How many requests wait now.
  [[nodiscard]] std::size_t waiting() const { return core().room().waiting(); }

  /// Leases on `count` distinct backends of one moment, for reads that need a quorum: the policy's
  /// choice, then its choice among the others. Fewer if fewer take the request; a backend that the
  /// request excludes never. If there are none, `error` says why.
  /// *Cost* O(count^2), and allocations.
  [[nodiscard]] std::vector<Lease> pick_many(std::size_t count,
                                             Request const& request = any_request,
                                             Error* error = nullptr) const {
    return lease_several(
        error, [&](Core& core, Error& why) { return core.pick_many(count, request, why); });
  }
  /// A lease on every backend that takes the request now, for a broadcast. Limits hold; the shares
  /// of backends that warm up do not.
  /// *Cost* O(backends), and allocations.
  [[nodiscard]] std::vector<Lease> pick_all(Request const& request = any_request,
                                            Error* error = nullptr) const {
    return lease_several(error,
                         [&](Core& core, Error& why) { return core.pick_all(request, why); });
  }

  /// Picks, runs fn(backend) or fn(backend, request), classifies its reply with outcome_of and
  /// reports it. If the policy retries (compose/retry.hpp), tries another backend after a pause.
  /// The request that fn gets has the number and the deadline of its attempt. Returns the last
  /// reply or rethrows the last exception.
  /// *Errors* NoBackend if no backend could be picked; CallStopped if the deadline was in the past
  /// or a stop was requested before the first attempt.
  /// *Cost* 10 to 20 ns over pick and finish if the first attempt succeeds (bench/calls), and a
  /// clock read if there is a timeout or deadline.
  template <class Fn>
  auto call(Fn&& fn, CallOptions const& options = {}) const {
    return call(any_request, std::forward<Fn>(fn), options);
  }
  template <class Fn>
  auto call(Request const& request, Fn&& fn, CallOptions const& options = {}) const {
    if (!core_) throw NoBackend{Error{.reason = PickError::closed}};
    using Reply = typename detail::BlockingCall<Core>::template ReplyOf<Fn>;
    return detail::BlockingCall<Core>::template call<Reply>(*core_, request, fn, options);
  }

  /// call(), with a reply for the case that no backend gives one: nobody can be picked, the
  /// deadline was in the past, or the last attempt failed, by its exception or by its reply.
  /// `fallback` is a value, fallback() or fallback(Unanswered const&). Attempts count as in call();
  /// the fallback does not count. The caller's own fault (Result::rejected) and a caller that gave
  /// up get what call() gives them.
  /// *Errors* those of the fallback.
  template <class Fn, class Fallback>
  auto call_or(Fn&& fn, Fallback&& fallback, CallOptions const& options = {}) const {
    return call_or(any_request, std::forward<Fn>(fn), std::forward<Fallback>(fallback), options);
  }
  template <class Fn, class Fallback>
  auto call_or(Request const& request, Fn&& fn, Fallback&& fallback,
               CallOptions const& options = {}) const {
    if (!core_) throw NoBackend{Error{.reason = PickError::closed}};
    return detail::BlockingCall<Core>::call_or(*core_, request, fn,
                                               std::forward<Fallback>(fallback), options);
  }

  /// For attempts that are made by hand, with pick(): does the policy make another one after this
  /// outcome, and after which pause? As call() asks it: `request.attempt` is the number of the
  /// attempt that ended, and `request.excluded` has its backend too. A retry that is allowed is
  /// taken from the budget.
  [[nodiscard]] Decision decide(Request const& request, Outcome outcome) const {
    return core_ ? core_->decide(request, outcome, core_->now(), false) : Decision{};
  }
  /// The timeouts that call() would keep for this request; none without Retry.
  [[nodiscard]] CallTimeouts timeouts(Request const& request = any_request) const {
    return core_ ? core_->timeouts(request) : CallTimeouts{};
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
  /// What a backend said about its load, outside of an answer. Returns false if there is no such
  /// backend. Does not compile if no observer of the runtime takes load reports.
  bool report_load(std::string_view id, LoadReport const& report) noexcept {
    return core_ && core_->report_load(id, report);
  }

  /// Does not compile: says what to write for a status or a reply.
  template <class T, class... More>
    requires(!std::convertible_to<T, Outcome>)
  bool record(std::string_view, T const&, More const&...) {
    detail::require_outcome<T>();
    return false;
  }

  // -- changes: all or nothing; ConfigError says what is wrong, UpdateRefused where it can't be
  // done ---

  /// Replaces the set. Backends whose id stays keep statistics and health; leases of removed ones
  /// finish in peace. An empty set is refused: see clear().
  void update(std::vector<Endpoint> endpoints) { core().update(std::move(endpoints), false); }
  void add(Endpoint endpoint) { core().add(std::move(endpoint)); }
  /// These do not compile: say what is wrong with the argument.
  template <std::convertible_to<std::string_view> T>
  void update(std::initializer_list<T>) {
    detail::refuse_addresses<T>();
  }
  template <std::convertible_to<std::string_view> T>
  void update(T const&) {
    detail::refuse_addresses<T>();
  }
  template <class None = void>
  void update(Endpoint const&) {
    detail::refuse_single_endpoint<None>();
  }
  template <std::convertible_to<std::string_view> T>
  void add(T const&) {
    detail::refuse_addresses<T>();
  }
  void remove(std::string_view id) { core().remove(id); }
  void clear() { core().update({}, true); }
  /// No new requests for it, until undrain(); those in flight finish.
  void drain(std::string_view id) { core().set_drained(id, true); }
  /// Drains it, and waits until it has no requests in flight: true; or for so long: false. It stays
  /// drained. *Requires* that this thread holds no lease of it.
  [[nodiscard]] bool drain_and_wait(std::string_view id, Duration timeout) {
    return core().drain_and_wait(id, timeout);
  }
  void undrain(std::string_view id) { core().set_drained(id, false); }
  /// The operator's weight: updates don't change it, until nullopt takes it back. Then the
  /// endpoint's counts again.
  void set_weight(std::string_view id, std::optional<std::uint32_t> weight) {
    core().set_weight(id, weight);
  }
  /// The operator's word: no rule or probe overrides it, until it is taken back with nullopt.
  void set_health(std::string_view id, std::optional<HealthState> health) {
    core().declare_health(id, health);
  }
  /// What a rule or probe found; the operator's word beats it.
  void report_health(std::string_view id, HealthState health) { core().report_health(id, health); }
  /// What the backend accepts, for instance {.share = Admission::share_of(0.25)}; {} is all. Rules,
  /// such as a slow start, may lower it. *Errors* ConfigError: a share of 1, which is 2^-32.
  void set_admission(std::string_view id, Admission admission) {
    core().set_admission(id, admission);
  }
  /// Several changes as one: all or nothing, and published once.
  void apply(Changes const& changes) { core().apply(changes); }
  /// Another policy of the same type; its per-backend state starts afresh.
  void set_policy(P policy) { core().set_policy(std::move(policy)); }
  /// Asks the policy to plan anew, after something changed that it reads when it plans and the
  /// balancer cannot see: Clients, or what a Filter's condition looks at. Statistics, health and
  /// what the policy learned stay. *Cost* that of a change of members.
  void replan() { core().replan(); }

  /// Periodic work: call it about once a second, from one place.
  void tick() { core().tick(core().now()); }
  void tick(Time now) { core().tick(now); }

  // -- time ------------------------------------------------------------------------------------

  /// The time by the balancer's clock.
  [[nodiscard]] Time now() const { return core().now(); }
  /// A point in time of any clock, by the balancer's clock: for Request::deadline.
  template <class Clock, class Span>
  [[nodiscard]] Time time_of(std::chrono::time_point<Clock, Span> time) const {
    auto const left = std::chrono::duration<double>{time - Clock::now()};
    constexpr std::chrono::duration<double> most = std::chrono::hours{24 * 365 * 100};
    return now() + std::chrono::duration_cast<Duration>(std::clamp(left, -most, most));
  }

  // -- questions -------------------------------------------------------------------------------

  /// Calls fn(backend) for every backend of this moment, picked or not, in configured order. fn may
  /// use the balancer, and change it.
  /// *Cost* one atomic add in all; picks and changes never wait for it, but backends that are
  /// removed meanwhile stay alive until it returns.
  template <class Fn>
  void for_each(Fn&& fn) const {
    if (core_) core_->for_each(fn);
  }
  /// The backend of this id, kept alive with its payload for as long as the handle lives, also if
  /// it is removed. Empty if there is none.
  /// *Cost* a hash of the id and one atomic add.
  [[nodiscard]] Handle find(std::string_view id) const noexcept {
    return core_ ? core_->find_backend(id) : Handle{};
  }

  /// What pick(request) on this thread would do now, without doing it: nothing changes, and no
  /// observer is called. With an injected seed this is true of any thread, otherwise threads have
  /// random numbers and rotations of their own. See analysis/explain.hpp for words.
  /// *Errors* what the policy throws. *Cost* O(n log n); allocates.
  [[nodiscard]] Rehearsed rehearse(Request const& request = any_request) const {
    return core().rehearse(request);
  }

  /// The numbers of all backends. Waits for no change.
  [[nodiscard]] Stats stats() const { return core().stats(); }
  /// Adds a sentence to Stats::warnings, in place of the last one with this `about`; an empty text
  /// takes it back. Observers are told once while it lasts, by the next tick() or stats().
  /// *Cost* a lock that no pick takes; allocates.
  void set_warning(std::string about, std::string text) {
    core().set_warning(std::move(about), std::move(text));
  }
  /// The policy's name.
  [[nodiscard]] std::string name() const { return core().name(); }
  /// The runtime's observer of this type, as the balancer holds it: a reference into the balancer.
  template <class Observer>
  [[nodiscard]] Observer& observer() {
    static_assert(detail::has_observer<Observer, decltype(R::observers)>());
    return std::get<Observer>(core().observers());
  }
  template <class Observer>
  [[nodiscard]] Observer const& observer() const {
    static_assert(detail::has_observer<Observer, decltype(R::observers)>());
    return std::get<Observer>(core().observers());
  }

 private:
  friend struct detail::Inside;

  static std::shared_ptr<Core> start(std::vector<Endpoint> endpoints, typename Core::Maker make,
                                     P policy, R runtime) {
    auto core = std::make_shared<Core>(std::move(policy), std::move(make), std::move(runtime));
    core->update(std::move(endpoints), true);
    return core;
  }
  static typename Core::Maker default_maker() {
    if constexpr (!std::is_void_v<Payload>)
      return [](Endpoint const& endpoint) { return Payload(endpoint); };
    else return nullptr;
  }

  template <class Pick>
  [[nodiscard]] std::vector<Lease> lease_several(Error* error, Pick const& pick) const {
    Error why{.reason = PickError::closed};
    auto leases = core_ ? pick(*core_, why) : std::vector<Lease>{};
    if (error != nullptr) *error = leases.empty() ? why : Error{};
    return leases;
  }

  [[nodiscard]] Core& core() const {
    if (!core_) throw UpdateRefused{"this balancer was moved from"};
    return *core_;
  }

  void close() noexcept {
    if (core_) core_->close();
  }

  std::shared_ptr<Core> core_;
};

}  // namespace poise::inline v0_1_0
