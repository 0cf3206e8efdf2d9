// SPDX-License-Identifier: MIT
#pragma once

// One call in progress. Blocking and asynchronous calls run the attempts and the pauses in their
// own ways; everything else is here.
//
//   Terms const terms{core, request, report};
//   Call call{core, request, terms, report};
//   auto attempt = call.begin();                   // or throws
//   do {
//     ...                                          // run it: attempt.lease, *attempt.request
//     pause = call.ended(attempt, outcome);        // none: that was the last attempt
//     ...                                          // wait
//   } while (pause && call.again(attempt, *pause));
//
// The balancer may be destroyed once an attempt has ended: the call keeps its core alive. A
// blocking call whose first attempt succeeds makes no Call at all: every store before the atomic
// operations of pick and finish makes these wait.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <poise/call.hpp>
#include <poise/classify.hpp>
#include <poise/engine/core.hpp>
#include <poise/error.hpp>
#include <poise/lease.hpp>
#include <poise/outcome.hpp>
#include <poise/policy.hpp>
#include <poise/request.hpp>
#include <poise/runtime.hpp>
#include <poise/sync/stop.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::detail {

/// The reply of a function that returns void.
struct Nothing {};

/// The reply or exception of an attempt; the caller gets it if the attempt was the last.
template <class Reply>
struct AttemptResult {
  using Stored = std::conditional_t<std::is_void_v<Reply>, Nothing, Reply>;

  std::optional<Stored> reply{};
  std::exception_ptr thrown{};
  Outcome outcome{};

  [[nodiscard]] bool empty() const noexcept { return !reply && !thrown; }
  /// Stores the reply; without a value if fn returns void. `Observers` are those of the runtime.
  template <class Observers, class Fn, class... Value>
  void keep(Fn const& fn, Value&&... value) {
    reply.emplace(std::forward<Value>(value)...);
    if constexpr (!std::is_void_v<Reply>) outcome = classify_reply<Observers>(fn, *reply);
  }
  /// *Requires* an exception that is being handled. An exception that is not of C++ is thrown on,
  /// and the lease is abandoned: the unwinding of a cancelled thread must not be stopped, and an
  /// exception of another language can't be stored.
  template <class Classify>
  void keep_exception(Classify const& outcome_of_it) {
    thrown = std::current_exception();
    if (!thrown) throw;
    outcome = outcome_of_it(thrown);
  }
  Reply take() {
    if (thrown) std::rethrow_exception(thrown);
    if constexpr (!std::is_void_v<Reply>) return std::move(*reply);
  }
  /// take(), or all of it where the caller asks for an AttemptResult.
  template <class Out>
  Out take_as() {
    if constexpr (std::is_same_v<Out, AttemptResult>) return std::move(*this);
    else return take();
  }
};

/// fn(backend, request) if it can be called so, else fn(backend).
template <class Fn, class Backend>
decltype(auto) invoke(Fn& fn, Backend& backend, Request const& request) {
  if constexpr (std::is_invocable_v<Fn&, Backend&, Request const&>) return fn(backend, request);
  else return fn(backend);
}

/// The backends that a call tried.
class TriedBackends {
 public:
  void add(std::uint64_t serial) {
    if (std::ranges::find(serials_, serial) == serials_.end()) serials_.push_back(serial);
  }
  [[nodiscard]] std::span<std::uint64_t const> all() const noexcept { return serials_; }

 private:
  std::vector<std::uint64_t> serials_{};
};

/// A call's timeouts and deadline, fixed when it begins.
struct Terms {
  template <class Core>
  [[gnu::always_inline]] Terms(Core& core, Request const& request, CallReport const* report)
      : timeouts{core.timeouts(request)} {
    timed = timeouts != CallTimeouts{} || request.deadline || report != nullptr;
    if (!timed) return;
    began = core.now();
    if (request.deadline) deadline = *request.deadline;
    if (timeouts.timeout > Duration::zero())
      deadline = std::min(deadline, after(began, timeouts.timeout));
  }

  [[nodiscard]] bool too_late() const noexcept { return deadline <= began; }
  /// Of an attempt that begins now.
  [[nodiscard]] std::optional<Time> deadline_at(Time now) const noexcept {
    auto const own = timeouts.attempt_timeout > Duration::zero()
                         ? std::min(deadline, after(now, timeouts.attempt_timeout))
                         : deadline;
    return own == Time::max() ? std::nullopt : std::optional{own};
  }

  CallTimeouts timeouts;
  bool timed = false;
  Time began{};
  Time deadline = Time::max();  // of the whole call

 private:
  static Time after(Time now, Duration time) noexcept {
    return time < Time::max() - now ? now + time : Time::max();
  }
};

/// Gives other kinds of calls access to a balancer's core.
struct Inside {
  template <class Balancer>
  [[nodiscard]] static auto const& core(Balancer const& balancer) noexcept {
    return balancer.core_;
  }
};

template <class Core>
class Call {
 public:
  using Lease = typename Core::Lease;

  /// One attempt in progress.
  struct ActiveAttempt {
    Lease lease{};
    Request const* request;  ///< With its number and own deadline; until the next one begins.
    std::optional<Time> began{};
    Duration waited{};
    bool hedge = false;
  };

  /// *Requires* that the core lives until begin() returns or a first attempt is adopted, and that
  /// the request lives until the call ends.
  Call(Core& core, Request const& request, Terms const& terms, CallReport* report)
      : core_{&core}, given_{&request}, terms_{terms}, report_{report}, now_{terms.began} {
    if (report_ != nullptr) *report_ = {};
  }
  Call(Call const&) = delete;
  Call& operator=(Call const&) = delete;
  ~Call() = default;

  /// The first attempt.
  /// *Errors* NoBackend; CallStopped if the deadline is in the past.
  [[nodiscard]] ActiveAttempt begin() {
    if (terms_.too_late()) refuse(StopReason::deadline);
    if (auto const deadline = terms_.deadline_at(now_); deadline) {
      attempt_ = *given_;
      attempt_->deadline = deadline;
    }
    auto attempt =
        adopt(core_->pick(attempt_ ? *attempt_ : *given_), attempt_ ? *attempt_ : *given_);
    if (!attempt.lease) refuse(StopReason::no_backend, attempt.lease.error());
    return attempt;
  }
  /// The first attempt, if the caller already picked for it.
  [[nodiscard]] ActiveAttempt adopt(Lease lease, Request const& request) const {
    ActiveAttempt attempt{.lease = std::move(lease), .request = &request};
    if (terms_.timed) attempt.began = terms_.began;
    return attempt;
  }

  /// Reports an attempt's outcome. Returns the pause before the next attempt; none if there is no
  /// next attempt.
  [[nodiscard]] std::optional<Duration> ended(ActiveAttempt& attempt, Outcome outcome) {
    if (outcome.result == Result::success && report_ == nullptr && !state_) {
      attempt.lease.finish(outcome);
      return std::nullopt;
    }
    record(attempt, outcome);
    return next(outcome);
  }
  /// The first half of ended(): reports the outcome.
  void record(ActiveAttempt& attempt, Outcome outcome) {
    note(attempt, outcome);
    attempt.lease.finish(outcome);
  }
  /// The same for an attempt that may still run although the call no longer waits for it. The
  /// returned pointer keeps its backend alive. It is null if the backend was removed; then the
  /// attempt's lease, not finished here, keeps it alive.
  [[nodiscard]] std::shared_ptr<void const> cut_off(ActiveAttempt& attempt, Outcome outcome) {
    note(attempt, outcome);
    auto owner = core_->owner_of(*attempt.lease);
    if (owner) attempt.lease.finish(outcome);
    return owner;
  }
  /// The second half of ended(): decides.
  [[nodiscard]] std::optional<Duration> next(Outcome outcome) {
    auto why = StopReason::settled;
    if (outcome.result != Result::success) {
      auto const decision =
          late(Duration::zero()) ? Decision{.why = StopReason::deadline} : decide(outcome, false);
      if (decision.retry && !late(decision.after))
        return std::max(decision.after, Duration::zero());
      why = decision.retry ? StopReason::deadline : decision.why;
    }
    over(why);
    return std::nullopt;
  }

  /// False if the caller gave up meanwhile.
  [[nodiscard]] bool wait(Duration pause, sync::StopToken const& stop) {
    core_->sleep(pause, stop);
    if (!stop.stop_requested()) return true;
    over(StopReason::cancelled);
    return false;
  }

  /// Begins the next attempt, on an untried backend if there is one. False if no backend can be
  /// picked.
  [[nodiscard]] bool again(ActiveAttempt& attempt, Duration waited) {
    start(attempt, waited);
    if (attempt.lease) return true;
    error_ = attempt.lease.error();
    over(StopReason::no_backend);
    return false;
  }
  /// Begins a second attempt beside a running one. False if the policy decides against it or no
  /// other backend can be picked.
  [[nodiscard]] bool hedge(ActiveAttempt& attempt, ActiveAttempt const& beside, Duration waited) {
    open_state(beside.lease);
    state_->tried.add(beside.lease.serial());
    now_ = core_->now();
    if (!decide({}, true).retry) return false;
    start(attempt, waited);
    attempt.hedge = true;
    if (attempt.lease && !attempt.lease.repeated()) return true;
    attempt.lease.finish(Result::cancelled);
    return false;
  }

  /// Ends the call for this reason and notifies the observers. Called once per call: by the members
  /// above when they end it, else by the code that runs the call.
  void over(StopReason why) {
    report().why = why;
    auto const& attempts = report().attempts;
    if (attempts.size() != 1 || is_failure(attempts.back().outcome.result))
      core_->notify_of_call(Called{attempt_ ? *attempt_ : *given_, report()});
  }
  /// Throws why there is no reply.
  [[noreturn]] void fail() {
    if (report().why != StopReason::no_backend) throw CallStopped{report()};
    auto const tried = message(report().attempts);
    throw NoBackend{error_, tried.empty() ? tried : "; tried " + tried};
  }
  /// Ends a call that makes no attempt.
  [[noreturn]] void refuse(StopReason why, Error const& error = {}) {
    error_ = error;
    over(why);
    fail();
  }

  [[nodiscard]] CallTimeouts const& timeouts() const noexcept { return terms_.timeouts; }
  [[nodiscard]] Time now() const { return core_->now(); }

 private:
  /// Needed only by calls that fill a report or whose first attempt fails.
  struct CallState {
    std::shared_ptr<Core> core{};
    CallReport report{};
    TriedBackends tried{};
    std::uint32_t attempts = 0;
  };

  [[nodiscard]] CallReport& report() {
    if (report_ != nullptr) return *report_;
    if (!state_) state_.emplace();
    return state_->report;
  }

  void start(ActiveAttempt& attempt, Duration waited) {
    now_ = core_->now();
    attempt_ = *given_;
    attempt_->attempt = ++state_->attempts;
    attempt_->excluded = state_->tried.all();
    attempt_->deadline = terms_.deadline_at(now_);
    attempt = ActiveAttempt{.request = &*attempt_, .began = now_, .waited = waited};
    attempt.lease = core_->pick(*attempt_);
  }

  /// *Requires* that the lease holds a backend, which keeps the core alive.
  void open_state(Lease const& lease) {
    if (!state_) state_.emplace();
    if (state_->core) return;
    state_->core = lease.core();
    state_->attempts = given_->attempt;
    for (auto const serial : given_->excluded) state_->tried.add(serial);
  }

  void note(ActiveAttempt const& attempt, Outcome outcome) {
    open_state(attempt.lease);
    now_ = core_->now();
    state_->tried.add(attempt.lease.serial());
    AttemptReport entry{.id = attempt.lease->id(),
                        .outcome = outcome,
                        .waited = attempt.waited,
                        .hedge = attempt.hedge,
                        .repeated = attempt.lease.repeated()};
    if (attempt.began) entry.latency = now_ - *attempt.began;
    else if (attempt.lease.started() != Time{}) entry.latency = now_ - attempt.lease.started();
    report().attempts.push_back(std::move(entry));
  }

  /// Asks the policy. The deadline of the request is that of the whole call.
  [[nodiscard]] Decision decide(Outcome outcome, bool running) {
    auto request = *given_;
    request.attempt = state_->attempts;
    request.excluded = state_->tried.all();
    if (terms_.deadline != Time::max()) request.deadline = terms_.deadline;
    return core_->decide(request, outcome, now_, running);
  }

  /// True if the deadline is in the past after this pause.
  [[nodiscard]] bool late(Duration pause) const noexcept {
    auto const deadline = terms_.deadline;
    return deadline != Time::max() && (deadline <= now_ || pause >= deadline - now_);
  }

  Core* core_;
  Request const* given_;
  Terms const terms_;
  CallReport* report_;
  Time now_;
  std::optional<Request> attempt_{};  // the last attempt's request; none: the same as *given_
  std::optional<CallState> state_{};
  Error error_{};  // why no backend could be picked
};

}  // namespace poise::inline v0_1_0::detail
