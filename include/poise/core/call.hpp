// SPDX-License-Identifier: MIT
#pragma once

// One call in progress: everything but running its attempts and waiting, which blocking and
// asynchronous calls do in their own ways.
//
//   Terms const terms{core, request, report};
//   Call call{core, request, terms, report};
//   auto going = call.begin();                   // or throws
//   do {
//     ...                                        // runs it with going.lease and *going.request
//     pause = call.ended(going, outcome);        // none: that was the last
//     ...                                        // waits
//   } while (pause && call.again(going, *pause));
//
// Once an attempt has ended the balancer may be gone: the call keeps its core. A blocking call
// whose first attempt succeeds makes no Call at all: what is written to memory before the atomic
// operations of pick and finish has to be waited for there.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>

#include <poise/call.hpp>
#include <poise/core.hpp>
#include <poise/error.hpp>
#include <poise/lease.hpp>
#include <poise/outcome.hpp>
#include <poise/policy.hpp>
#include <poise/request.hpp>
#include <poise/runtime.hpp>
#include <poise/sync/stop.hpp>
#include <poise/time.hpp>

namespace poise::detail {

/// What an attempt brought: a reply or an exception, to be handed on if it was the last.
template <class Reply>
struct Result {
  using Stored = std::conditional_t<std::is_void_v<Reply>, std::monostate, Reply>;

  std::optional<Stored> reply{};
  std::exception_ptr thrown{};
  Outcome outcome{};

  [[nodiscard]] bool empty() const noexcept { return !reply && !thrown; }
  /// Nothing, if that is what fn returns.
  template <class... Value>
  void keep(Value&&... value) {
    reply.emplace(std::forward<Value>(value)...);
    if constexpr (!std::is_void_v<Reply>) outcome = classify(*reply);
  }
  /// *Requires* an exception that is being handled.
  template <class Classify>
  void keep_exception(Classify const& outcome_of_it) {
    thrown = std::current_exception();
    outcome = outcome_of_it(thrown);
  }
  Reply take() {
    if (thrown) std::rethrow_exception(thrown);
    if constexpr (!std::is_void_v<Reply>) return std::move(*reply);
  }
};

/// fn(backend) or fn(backend, request), whichever it takes.
template <class Fn, class Backend>
decltype(auto) invoke(Fn& fn, Backend& backend, Request const& request) {
  if constexpr (std::is_invocable_v<Fn&, Backend&, Request const&>) return fn(backend, request);
  else return fn(backend);
}

/// The last backends a request was sent to.
class Tried {
 public:
  void add(std::uint64_t serial) noexcept {
    auto const known = all();
    if (std::find(known.begin(), known.end(), serial) == known.end())
      serials_[count_++ % serials_.size()] = serial;
  }
  [[nodiscard]] std::span<std::uint64_t const> all() const noexcept {
    return {serials_.data(), std::min(count_, serials_.size())};
  }

 private:
  std::array<std::uint64_t, max_excluded> serials_;  // NOLINT: count_ says how many are set
  std::size_t count_ = 0;
};

/// What a call keeps to, fixed when it begins.
struct Terms {
  template <class Core>
  [[gnu::always_inline]] Terms(Core& core, Request const& request, CallReport const* report)
      : limits{core.limits(request)} {
    timed = limits != CallLimits{} || request.deadline || report != nullptr;
    if (!timed) return;
    began = core.now();
    if (request.deadline) deadline = *request.deadline;
    if (limits.timeout > Duration::zero())
      deadline = std::min(deadline, after(began, limits.timeout));
  }

  [[nodiscard]] bool too_late() const noexcept { return deadline <= began; }
  /// Of an attempt that begins now.
  [[nodiscard]] std::optional<Time> deadline_at(Time now) const noexcept {
    auto const own = limits.try_timeout > Duration::zero()
                         ? std::min(deadline, after(now, limits.try_timeout))
                         : deadline;
    return own == Time::max() ? std::nullopt : std::optional{own};
  }

  CallLimits limits;
  bool timed = false;
  Time began{};
  Time deadline = Time::max();  // of the whole call

 private:
  static Time after(Time now, Duration time) noexcept {
    return time < Time::max() - now ? now + time : Time::max();
  }
};

/// The way in for those who run calls in their own ways.
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
  struct Going {
    Lease lease{};
    Request const* request;  ///< With its number and own deadline; until the next one begins.
    std::optional<Time> began{};
    Duration waited{};
    bool hedge = false;
  };

  /// *Requires* that the core lives until begin() returned or a first attempt was adopted, and the
  /// request until the end.
  Call(Core& core, Request const& request, Terms const& terms, CallReport* report)
      : core_{&core}, given_{&request}, terms_{terms}, report_{report}, now_{terms.began} {
    if (report_ != nullptr) *report_ = {};
  }
  Call(Call const&) = delete;
  Call& operator=(Call const&) = delete;
  ~Call() = default;

  /// The first attempt.
  /// *Errors* NoBackend; CallStopped if it is too late.
  [[nodiscard]] Going begin() {
    if (terms_.too_late()) refuse(Stop::deadline);
    if (auto const deadline = terms_.deadline_at(now_); deadline) {
      attempt_ = *given_;
      attempt_->deadline = deadline;
    }
    auto going = adopt(core_->pick(attempt_ ? *attempt_ : *given_), attempt_ ? *attempt_ : *given_);
    if (!going.lease) refuse(Stop::nobody, going.lease.error());
    return going;
  }
  /// The first attempt, if it was begun elsewhere.
  [[nodiscard]] Going adopt(Lease lease, Request const& request) const {
    Going going{.lease = std::move(lease), .request = &request};
    if (terms_.timed) going.began = terms_.began;
    return going;
  }

  /// Reports how an attempt ended, and decides: another one after this pause, or none.
  [[nodiscard]] std::optional<Duration> ended(Going& going, Outcome outcome) {
    if (outcome.ending == Ending::success && report_ == nullptr && !story_) {
      going.lease.finish(outcome);
      return std::nullopt;
    }
    record(going, outcome);
    return next(outcome);
  }
  /// The first half of it.
  void record(Going& going, Outcome outcome) {
    note(going, outcome);
    going.lease.finish(outcome);
  }
  /// The same for one that may go on, although nobody waits for it any more. Its backend lives as
  /// long as what is returned, or else its lease.
  [[nodiscard]] std::shared_ptr<void const> cut_off(Going& going, Outcome outcome) {
    note(going, outcome);
    auto keeper = core_->keeper_of(*going.lease);
    if (keeper) going.lease.finish(outcome);
    return keeper;
  }
  /// The second half.
  [[nodiscard]] std::optional<Duration> next(Outcome outcome) {
    auto why = Stop::settled;
    if (outcome.ending != Ending::success) {
      auto const decision =
          late(Duration::zero()) ? Decision{.why = Stop::deadline} : decide(outcome, false);
      if (decision.retry && !late(decision.after))
        return std::max(decision.after, Duration::zero());
      why = decision.retry ? Stop::deadline : decision.why;
    }
    over(why);
    return std::nullopt;
  }

  /// False if the caller gave up meanwhile.
  [[nodiscard]] bool wait(Duration pause, sync::StopToken const& stop) {
    core_->sleep(pause, stop);
    if (!stop.stop_requested()) return true;
    over(Stop::cancelled);
    return false;
  }

  /// The next attempt, on a backend that was not tried if there is one. False if there is nobody.
  [[nodiscard]] bool again(Going& going, Duration waited) {
    start(going, waited);
    if (going.lease) return true;
    error_ = going.lease.error();
    over(Stop::nobody);
    return false;
  }
  /// A second attempt beside another. False if the policy is against it, or there is no other
  /// backend.
  [[nodiscard]] bool hedge(Going& going, Going const& beside, Duration waited) {
    open_story(beside.lease);
    story_->tried.add(beside.lease.serial());
    now_ = core_->now();
    if (!decide({}, true).retry) return false;
    start(going, waited);
    going.hedge = true;
    if (going.lease && !going.lease.repeated()) return true;
    going.lease.finish(Ending::cancelled);
    return false;
  }

  /// It is over, and this is why. To be said once, by whoever ends it otherwise than by ended().
  void over(Stop why) {
    report().why = why;
    auto const& attempts = report().attempts;
    if (attempts.size() != 1 || is_failure(attempts.back().outcome.ending))
      core_->tell_of_call(Called{attempt_ ? *attempt_ : *given_, report()});
  }
  /// Throws why there is no reply.
  [[noreturn]] void fail() {
    if (report().why != Stop::nobody) throw CallStopped{report()};
    auto const tried = message(report().attempts);
    throw NoBackend{error_, tried.empty() ? tried : "; tried " + tried};
  }
  /// The end of a call that asks nobody.
  [[noreturn]] void refuse(Stop why, Error const& error = {}) {
    error_ = error;
    over(why);
    fail();
  }

  [[nodiscard]] CallLimits const& limits() const noexcept { return terms_.limits; }
  [[nodiscard]] Time now() const { return core_->now(); }

 private:
  /// What only a call has that somebody wants to hear of, or that does not succeed at once.
  struct Story {
    std::shared_ptr<Core> core{};
    CallReport report{};
    Tried tried{};
    std::uint32_t attempts = 0;
  };

  [[nodiscard]] CallReport& report() {
    if (report_ != nullptr) return *report_;
    if (!story_) story_.emplace();
    return story_->report;
  }

  void start(Going& going, Duration waited) {
    now_ = core_->now();
    attempt_ = *given_;
    attempt_->attempt = ++story_->attempts;
    attempt_->excluded = story_->tried.all();
    attempt_->deadline = terms_.deadline_at(now_);
    going = Going{.request = &*attempt_, .began = now_, .waited = waited};
    going.lease = core_->pick(*attempt_);
  }

  /// *Requires* that the lease holds a backend, and so the core.
  void open_story(Lease const& lease) {
    if (!story_) story_.emplace();
    if (story_->core) return;
    story_->core = lease.core();
    story_->attempts = given_->attempt;
    for (auto const serial : given_->excluded) story_->tried.add(serial);
  }

  void note(Going const& going, Outcome outcome) {
    open_story(going.lease);
    now_ = core_->now();
    story_->tried.add(going.lease.serial());
    Try attempt{.id = going.lease->id(),
                .outcome = outcome,
                .waited = going.waited,
                .hedge = going.hedge,
                .repeated = going.lease.repeated()};
    if (going.began) attempt.latency = now_ - *going.began;
    else if (going.lease.started() != Time{}) attempt.latency = now_ - going.lease.started();
    report().attempts.push_back(std::move(attempt));
  }

  /// Asks the policy, with the request as the whole call has it.
  [[nodiscard]] Decision decide(Outcome outcome, bool running) {
    auto request = *given_;
    request.attempt = story_->attempts;
    request.excluded = story_->tried.all();
    if (terms_.deadline != Time::max()) request.deadline = terms_.deadline;
    return core_->decide(request, outcome, now_, running);
  }

  /// Would it be too late after this pause?
  [[nodiscard]] bool late(Duration pause) const noexcept {
    auto const deadline = terms_.deadline;
    return deadline != Time::max() && (deadline <= now_ || pause >= deadline - now_);
  }

  Core* core_;
  Request const* given_;
  Terms const terms_;
  CallReport* report_;
  Time now_;
  std::optional<Request> attempt_{};  // as the last attempt has it; none: as it was given
  std::optional<Story> story_{};
  Error error_{};  // why there is nobody, if there is nobody
};

}  // namespace poise::detail
