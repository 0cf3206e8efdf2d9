// SPDX-License-Identifier: MIT
#pragma once

// Balancer::call() tries again: after failures, after a pause, on another backend. If asked to, it
// hedges: a second attempt beside one that takes long (hedge.hpp).
//
//   poise::Balancer<poise::Retry<poise::P2C>> servers{endpoints, {{.attempts = 3}}};
//
// Use it where repeating a request does no harm; mark those where it does (Request::idempotent).
// Every retry is load that nobody asked for: a budget bounds it (retry_budget.hpp). Tried backends
// come again only when no other is left: that is call()'s part, and whoever drives decide() by hand
// does it with Request::excluded.
//
// The pause is drawn from all of [0, limit), "full jitter": clients that failed together must not
// come back together. The limit grows with each retry: 25, 75, 175, 250 ms with the defaults.
//
// Source: Envoy, retry back-off; Brooker 2015, "Exponential backoff and jitter". docs/retries.md
// has the decision as a table, and compares it with Envoy's, gRPC's and Finagle's.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include <poise/candidates.hpp>
#include <poise/compose/forward.hpp>
#include <poise/compose/hedge.hpp>
#include <poise/compose/retry_budget.hpp>
#include <poise/error.hpp>
#include <poise/outcome.hpp>
#include <poise/policy.hpp>
#include <poise/random.hpp>
#include <poise/time.hpp>

namespace poise {

struct RetryOptions {
  std::uint32_t attempts = 3;  ///< In all, with the first and with hedges; 1 never retries.
  Duration base = std::chrono::milliseconds{25};  ///< The first pause is shorter than this.
  Duration cap = std::chrono::milliseconds{250};  ///< Every pause is.
  EndingSet on = failures;                        ///< What is retried.
  Duration timeout{};                             ///< Of the whole call; 0: only its deadline.
  Duration try_timeout{};                         ///< Of each attempt; 0: only the call's.
  /// A backend that asks for a longer pause (Outcome::retry_after) is not asked again.
  Duration longest_pushback = std::chrono::seconds{10};
  double share = 0.2;        ///< Retries per request, within each second: see retry_budget.hpp.
  std::uint32_t floor = 10;  ///< So many retries a second are allowed whatever the share.
  HedgeOptions hedge{};
  /// Shared with others; empty: one of its own, which set_policy() hands on.
  std::optional<RetryBudget> budget{};
};

namespace detail {

/// Whether and when a request is tried again, all but the budget. Of the rules, the first that
/// applies says why not.
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
    if (!options_.on.contains(outcome.ending)) return stop(Stop::settled);
    if (made(attempt) >= options_.attempts) return stop(Stop::attempts);
    if (outcome.sent && !attempt.request.idempotent) return stop(Stop::sent);
    if (outcome.retry_after < Duration::zero() || outcome.retry_after > options_.longest_pushback)
      return stop(Stop::pushback);
    return unless_late(attempt, pause(attempt));
  }

  [[nodiscard]] Decision hedge(Attempt const& attempt) const noexcept {
    if (made(attempt) >= options_.attempts) return stop(Stop::attempts);
    if (!attempt.request.idempotent) return stop(Stop::sent);
    if (attempt.alone) return stop(Stop::nobody);
    return unless_late(attempt, {});
  }

  /// None for the first retry if nothing was sent, on another backend; else at random, after what
  /// the backend asked for.
  [[nodiscard]] Duration pause(Attempt const& attempt) const noexcept {
    auto const& outcome = attempt.outcome;
    bool const at_once = made(attempt) == 1 && !outcome.sent && !attempt.alone &&
                         outcome.ending != Ending::overloaded &&
                         outcome.retry_after == Duration::zero();
    if (at_once) return {};
    auto const drawn = part_of(limit(made(attempt)), attempt.random);
    return outcome.retry_after > Duration::max() - drawn ? Duration::max()
                                                         : outcome.retry_after + drawn;
  }

  static Decision unless_late(Attempt const& attempt, Duration after) noexcept {
    auto const deadline = attempt.request.deadline;
    auto const ns = [](auto time) { return static_cast<std::uint64_t>(time.count()); };
    // Unsigned, because the two may be farther apart than a Duration holds.
    if (deadline &&
        (*deadline <= attempt.now ||
         ns(after) >= ns(deadline->time_since_epoch()) - ns(attempt.now.time_since_epoch())))
      return stop(Stop::deadline);
    return {.retry = true, .after = after};
  }

  static Decision stop(Stop why) noexcept { return {.retry = false, .after = {}, .why = why}; }
  static std::uint32_t made(Attempt const& attempt) noexcept {
    return std::max(attempt.request.attempt, 1U);
  }

  /// min(cap, base * (2^retry - 1)), by division, since the product may not fit.
  [[nodiscard]] Duration limit(std::uint32_t retry) const noexcept {
    if (options_.base == Duration::zero()) return {};
    if (retry >= 63) return options_.cap;
    auto const factor = (std::int64_t{1} << retry) - 1;
    return options_.cap / factor < options_.base ? options_.cap : options_.base * factor;
  }

  /// Uniform in [0, whole): 0 for random = 0, one nanosecond less than all for the greatest.
  static Duration part_of(Duration whole, std::uint64_t random) noexcept {
    auto const nanoseconds = static_cast<std::uint64_t>(whole.count());
    return Duration{static_cast<Duration::rep>(high_half(Wide{random} * nanoseconds))};
  }

  static void check(RetryOptions const& options) {
    auto const ns = [](Duration time) { return std::to_string(time.count()) + " ns"; };
    if (options.attempts == 0)
      throw ConfigError{"attempts of Retry is 0: it counts the first one, so 1 never retries"};
    if (options.base < Duration::zero())
      throw ConfigError{"base of Retry is " + ns(options.base) + ": a pause can't be negative"};
    if (options.cap < options.base)
      throw ConfigError{"cap of Retry is " + ns(options.cap) + ", less than its base of " +
                        ns(options.base) + ": no pause is longer than the cap"};
    for (auto const ending : {Ending::success, Ending::cancelled, Ending::abandoned})
      if (options.on.contains(ending))
        throw ConfigError{"on of Retry contains \"" + std::string{poise::name(ending)} +
                          "\": there is nothing to try again then"};
    if (options.timeout < Duration::zero())
      throw ConfigError{"timeout of Retry is " + ns(options.timeout) +
                        ": it can't be negative; 0 stands for none"};
    if (options.try_timeout < Duration::zero())
      throw ConfigError{"try_timeout of Retry is " + ns(options.try_timeout) +
                        ": it can't be negative; 0 stands for none"};
    if (options.timeout > Duration::zero() && options.try_timeout > options.timeout)
      throw ConfigError{"try_timeout of Retry is " + ns(options.try_timeout) +
                        ", longer than its timeout of " + ns(options.timeout) +
                        ": an attempt is a part of the call"};
    if (options.longest_pushback < Duration::zero())
      throw ConfigError{"longest_pushback of Retry is " + ns(options.longest_pushback) +
                        ": it can't be negative; with 0 no backend that asks for a pause is tried "
                        "again"};
    if (!(options.share >= 0 && options.share <= 1))
      throw ConfigError{"share of Retry is " + std::to_string(options.share) +
                        ": it must be from 0 to 1, retries per request; 0.2 is usual"};
  }
};

}  // namespace detail

/// decide() is pure but for the budget: it waits for nothing, and a decision to try again has been
/// paid for. Failures are retried; what the caller did wrong or gave up is not. The outermost Retry
/// decides; one inside it is not asked.
/// *Errors* ConfigError: no attempts, a negative time, a cap below the base, a try_timeout above
/// the timeout, successes or cancellations in `on`, a share that is not within [0, 1]; and those of
/// HedgeOptions.
/// *Cost* 1 ns a request, for the budget. With a percentile to hedge at, what reading the clock
/// twice costs.
template <class P>
class Retry : public detail::Through<P>, detail::RetryRules {
  using Around = detail::Around<P>;

 public:
  using Plan = hooks::PlanOf<P>;

  // NOLINTNEXTLINE(*-explicit-*): a default argument of Balancer
  Retry(RetryOptions const& options = {}, P inner = {})
      : detail::Through<P>{std::move(inner)},
        detail::RetryRules{options},
        budget_{options.budget.value_or(RetryBudget{})},
        timer_{options.hedge} {}

  [[nodiscard]] std::string name() const { return "retry(" + hooks::name(this->inner()) + ")"; }

  [[gnu::always_inline]] std::size_t pick(Plan const& plan, Candidates const& candidates,
                                          Context& context) const {
    auto const i = hooks::pick(this->inner(), plan, candidates, context);
    if (context.request.attempt <= 1 && !context.anybody_refused() && i < candidates.size())
        [[likely]]
      budget_.count_request(context.lane);
    return i;
  }

  [[nodiscard]] Decision decide(Attempt const& attempt) const noexcept {
    if (attempt.running && timer_.delay() == Duration::zero()) return {};
    auto const decision = RetryRules::decide(attempt);
    if (decision.retry && !pay(attempt, decision.after))
      return {.retry = false, .after = {}, .why = Stop::budget};
    return decision;
  }
  [[nodiscard]] CallLimits limits(Request const&) const noexcept {
    return {.timeout = options_.timeout,
            .try_timeout = options_.try_timeout,
            .hedge_after = options_.attempts > 1 ? timer_.delay() : Duration{}};
  }

  [[nodiscard]] bool uses_time() const {
    return timer_.measures() || hooks::uses_time(this->inner());
  }
  [[nodiscard]] bool hears_finish() const {
    return timer_.measures() || hooks::hears_finish(this->inner());
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

  void leave(Legacy& legacy) const {
    legacy.leave(budget_);
    timer_.leave(legacy);
    Around::leave(legacy);
  }
  void inherit(Legacy& legacy) {
    auto const before = legacy.take<RetryBudget>();
    if (before && !options_.budget) budget_ = *before;
    timer_.inherit(legacy);
    Around::inherit(legacy);
  }

  /// What this policy's requests, retries and hedges are counted in.
  [[nodiscard]] RetryBudget const& budget() const noexcept { return budget_; }

 private:
  [[nodiscard]] bool pay(Attempt const& attempt, Duration after) const noexcept {
    using Extra = RetryBudget::Extra;
    auto const& hedge = options_.hedge;
    if (attempt.running) return budget_.take(Extra::hedge, hedge.share, hedge.floor, attempt.now);
    return budget_.take(Extra::retry, options_.share, options_.floor, attempt.now, after);
  }

  RetryBudget budget_;
  detail::HedgeTimer timer_;
};

}  // namespace poise
