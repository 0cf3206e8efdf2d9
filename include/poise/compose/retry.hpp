// SPDX-License-Identifier: MIT
#pragma once

// Lets Balancer::call() retry failed attempts, after a pause and on another backend. It can also
// hedge: start a second attempt beside one that takes long (hedge.hpp).
//
//   poise::Balancer<poise::Retry<poise::P2C>> servers{endpoints, {{.attempts = 3}}};
//
// Use it where repeating a request does no harm; mark the requests where it does
// (Request::idempotent). Retries add load to backends in trouble: a budget limits them
// (retry_budget.hpp). A tried backend is picked again only when no other is left. call() sees to
// that; code that calls decide() itself does it with Request::excluded.
//
// The pause is uniform in [0, limit), "full jitter", so that clients that failed together do not
// come back together. The limit grows with each retry: 25, 75, 175, 250 ms with the defaults.
//
// Source: Envoy, retry back-off; Brooker 2015, "Exponential backoff and jitter". docs/retries.md
// has the decision as a table, and compares it with Envoy, gRPC and Finagle.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include <poise/base/check.hpp>
#include <poise/candidates.hpp>
#include <poise/compose/hedge.hpp>
#include <poise/compose/retry_budget.hpp>
#include <poise/compose/wrapper.hpp>
#include <poise/error.hpp>
#include <poise/outcome.hpp>
#include <poise/policy.hpp>
#include <poise/random.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0 {

/// What is retried, how often, after which pauses, and within which budget.
struct RetryOptions {
  /// Maximum number of attempts, the first one and hedges included; 1 never retries.
  std::uint32_t attempts = 3;
  Duration base_pause = std::chrono::milliseconds{25};  ///< The first pause is shorter than this.
  Duration max_pause = std::chrono::milliseconds{250};  ///< Every pause is shorter than this.
  ResultSet on = failures;                              ///< The results that are retried.
  Duration timeout{};          ///< Of the whole call; 0: only the request's deadline.
  Duration attempt_timeout{};  ///< Of each attempt; 0: only the call's timeout.
  /// No retry after a backend asked for a longer pause (Outcome::retry_after).
  Duration max_pushback = std::chrono::seconds{10};
  /// Retries per request, within each second: see retry_budget.hpp.
  double budget_fraction = 0.2;
  /// Retries per second that are always allowed, whatever the fraction.
  std::uint32_t min_retries_per_second = 10;
  HedgeOptions hedge{};
  /// A budget shared with other policies; empty: its own, which set_policy() hands over.
  std::optional<RetryBudget> budget{};
};

namespace detail {

/// Whether and when a request is retried, without the budget. The first rule that applies decides.
class RetryRules {
 public:
  /// *Errors* ConfigError.
  explicit RetryRules(RetryOptions const& options) : options_{options} { check(options); }

  [[nodiscard]] Decision decide(Attempt const& attempt) const noexcept {
    return attempt.running ? hedge(attempt) : retry(attempt);
  }

 protected:
  RetryOptions options_;

 private:
  [[nodiscard]] Decision retry(Attempt const& attempt) const noexcept {
    auto const& outcome = attempt.outcome;
    if (!options_.on.contains(outcome.result)) return stop(StopReason::settled);
    if (made(attempt) >= options_.attempts) return stop(StopReason::attempts);
    if (outcome.sent && !attempt.request.idempotent) return stop(StopReason::sent);
    if (outcome.retry_after < Duration::zero() || outcome.retry_after > options_.max_pushback)
      return stop(StopReason::pushback);
    return unless_late(attempt, pause(attempt));
  }

  [[nodiscard]] Decision hedge(Attempt const& attempt) const noexcept {
    if (made(attempt) >= options_.attempts) return stop(StopReason::attempts);
    if (!attempt.request.idempotent) return stop(StopReason::sent);
    if (attempt.alone) return stop(StopReason::no_backend);
    return unless_late(attempt, {});
  }

  /// No pause before the first retry if nothing was sent and another backend is left. Otherwise the
  /// pause that the backend asked for plus a random one.
  [[nodiscard]] Duration pause(Attempt const& attempt) const noexcept {
    auto const& outcome = attempt.outcome;
    bool const at_once = made(attempt) == 1 && !outcome.sent && !attempt.alone &&
                         outcome.result != Result::overloaded &&
                         outcome.retry_after == Duration::zero();
    if (at_once) return {};
    auto const drawn = part_of(limit(made(attempt)), attempt.random);
    return outcome.retry_after > Duration::max() - drawn ? Duration::max()
                                                         : outcome.retry_after + drawn;
  }

  static Decision unless_late(Attempt const& attempt, Duration after) noexcept {
    auto const deadline = attempt.request.deadline;
    auto const ns = [](auto time) { return static_cast<std::uint64_t>(time.count()); };
    // Unsigned: the difference may exceed the range of Duration.
    if (deadline &&
        (*deadline <= attempt.now ||
         ns(after) >= ns(deadline->time_since_epoch()) - ns(attempt.now.time_since_epoch())))
      return stop(StopReason::deadline);
    return {.retry = true, .after = after};
  }

  static Decision stop(StopReason why) noexcept {
    return {.retry = false, .after = {}, .why = why};
  }
  static std::uint32_t made(Attempt const& attempt) noexcept {
    return std::max(attempt.request.attempt, 1U);
  }

  /// min(max_pause, base_pause * (2^retry - 1)), by division, since the product may not fit.
  [[nodiscard]] Duration limit(std::uint32_t retry) const noexcept {
    if (options_.base_pause == Duration::zero()) return {};
    if (retry >= 63) return options_.max_pause;
    auto const factor = (std::int64_t{1} << retry) - 1;
    return options_.max_pause / factor < options_.base_pause ? options_.max_pause
                                                             : options_.base_pause * factor;
  }

  /// Uniform in [0, whole): 0 for random = 0, whole - 1 ns for the greatest random number.
  static Duration part_of(Duration whole, std::uint64_t random) noexcept {
    auto const nanoseconds = static_cast<std::uint64_t>(whole.count());
    return Duration{static_cast<Duration::rep>(high_half(Wide{random} * nanoseconds))};
  }

  static void check(RetryOptions const& options) {
    check_at_least_one("attempts of Retry", options.attempts,
                       "the first attempt counts, so use 1 to never retry");
    check_not_negative("base_pause of Retry", options.base_pause, "use 0 to retry without a pause");
    check_at_least("max_pause of Retry", options.max_pause, options.base_pause,
                   "use at least base_pause, which is " + in_words(options.base_pause));
    for (auto const result : {Result::success, Result::cancelled, Result::abandoned})
      if (options.on.contains(result))
        throw ConfigError{"on of Retry contains \"" + std::string{poise::name(result)} +
                          "\": there is nothing to retry after it"};
    check_not_negative("timeout of Retry", options.timeout, "use 0 for no timeout");
    check_not_negative("attempt_timeout of Retry", options.attempt_timeout, "use 0 for no timeout");
    if (options.timeout > Duration::zero() && options.attempt_timeout > options.timeout)
      reject_option("attempt_timeout of Retry", in_words(options.attempt_timeout),
                    "an attempt is part of a call, so use at most timeout, which is " +
                        in_words(options.timeout));
    check_not_negative("max_pushback of Retry", options.max_pushback,
                       "use 0 to stop whenever a backend asks for a pause");
    check_fraction("budget_fraction of Retry", options.budget_fraction,
                   "use retries per request, from 0 to 1; 0.2 is usual");
  }
};

}  // namespace detail

/// A wrapper that decides on retries, hedges and timeouts. Failures are retried; results that are
/// the caller's own fault and cancelled attempts are not. The outermost Retry decides; a Retry
/// inside it is not asked.
///
/// It has four hooks that other policies do not need: decide(attempt) says whether call() retries;
/// timeouts(request) gives the timeouts of a call; hand_over(handover) and take_over(handover) keep
/// the budget and the measured latencies over set_policy(). Wrappers forward them.
///
/// decide() does not wait and reads no clock. Its one side effect is that it takes a retry from the
/// budget if it allows one. A retry is free after a refused connection if another backend is left:
/// the first backend did no work, so the retry adds no load.
/// *Errors* ConfigError: 0 attempts, a negative duration, max_pause below base_pause,
/// attempt_timeout above timeout, success, cancelled or abandoned in `on`, a fraction outside [0,
/// 1]; and the errors of HedgeOptions.
/// *Threads* any. *Cost* 1 ns a request, for the budget; with a hedge percentile two clock reads.
template <class P>
class Retry : public Wrapper<P>, detail::RetryRules {
  using Around = detail::Around<P>;

 public:
  using Plan = hooks::PlanOf<P>;

  // NOLINTNEXTLINE(*-explicit-*): a default argument of Balancer
  Retry(RetryOptions const& options = {}, P inner = detail::default_policy<P>())
      : Wrapper<P>{std::move(inner)},
        detail::RetryRules{options},
        budget_{options.budget.value_or(RetryBudget{})},
        timer_{options.hedge} {}

  [[nodiscard]] std::string name() const { return "retry(" + hooks::name(this->inner()) + ")"; }

  [[gnu::always_inline]] std::size_t pick(Plan const& plan, Candidates const& candidates,
                                          Context& context) const {
    auto const i = hooks::pick(this->inner(), plan, candidates, context);
    if (context.request.attempt <= 1 && !context.asked_before() && i < candidates.size()) [[likely]]
      budget_.count_request(context.lane);
    return i;
  }

  [[nodiscard]] Decision decide(Attempt const& attempt) const noexcept {
    if (attempt.running && timer_.delay() == Duration::zero()) return {};
    auto const decision = RetryRules::decide(attempt);
    if (decision.retry && !is_free(attempt) && !pay(attempt, decision.after))
      return {.retry = false, .after = {}, .why = StopReason::budget};
    return decision;
  }
  [[nodiscard]] CallTimeouts timeouts(Request const&) const noexcept {
    return {.timeout = options_.timeout,
            .attempt_timeout = options_.attempt_timeout,
            .hedge_after = options_.attempts > 1 ? timer_.delay() : Duration{}};
  }

  [[nodiscard]] hooks::TraitsOfType<hooks::UsesTime::ask, hooks::asks_may_refuse<P>> traits()
      const {
    auto traits = hooks::traits(this->inner());
    traits.uses_time = traits.uses_time || timer_.measures();
    traits.wants_finish = traits.wants_finish || timer_.measures();
    return {traits};
  }
  void on_finish(Finish& finish) const {
    timer_.learn(finish);
    hooks::on_finish(this->inner(), finish);
  }
  void on_tick(Time now) const {
    budget_.look(now);
    timer_.tick(now);
    hooks::on_tick(this->inner(), now);
  }

  void hand_over(Handover& handover) const {
    handover.hand_over(budget_);
    timer_.hand_over(handover);
    Around::hand_over(handover);
  }
  void take_over(Handover& handover) {
    auto const before = handover.take<RetryBudget>();
    if (before && !options_.budget) budget_ = *before;
    timer_.take_over(handover);
    Around::take_over(handover);
  }

  /// Counts this policy's requests, retries and hedges.
  [[nodiscard]] RetryBudget const& budget() const noexcept { return budget_; }

 private:
  /// A backend that refuses a connection does no work, so this retry on another backend adds no
  /// load and takes nothing from the budget. Once all were tried, retries pay again.
  static bool is_free(Attempt const& attempt) noexcept {
    return !attempt.running && attempt.outcome.result == Result::refused && !attempt.outcome.sent &&
           !attempt.alone;
  }
  [[nodiscard]] bool pay(Attempt const& attempt, Duration after) const noexcept {
    using Extra = RetryBudget::Extra;
    auto const& hedge = options_.hedge;
    if (attempt.running)
      return budget_.take(Extra::hedge, hedge.budget_fraction, hedge.min_hedges_per_second,
                          attempt.now);
    return budget_.take(Extra::retry, options_.budget_fraction, options_.min_retries_per_second,
                        attempt.now, after);
  }

  RetryBudget budget_;
  detail::HedgeTimer timer_;
};

}  // namespace poise::inline v0_1_0
