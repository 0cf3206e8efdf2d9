// SPDX-License-Identifier: MIT
#pragma once

// Balancer::call() tries again: after failures, after a pause, on another backend.
//
//   poise::Balancer<poise::Retry<poise::P2C>> servers{endpoints, {{.attempts = 3}}};
//
// Use it where repeating a request does no harm. Every retry is load that nobody asked for, so keep
// `attempts` small. Tried backends come again only when no other is left: that is call()'s part,
// and whoever drives decide() by hand does it with Request::excluded.
//
// The pause is drawn from all of [0, limit), "full jitter": clients that failed together must not
// come back together. The limit doubles with each retry: 25, 75, 175, 250 ms with the defaults.
//
// Source: Envoy, retry back-off; Brooker 2015, "Exponential backoff and jitter".

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>
#include <utility>

#include <poise/compose/forward.hpp>
#include <poise/error.hpp>
#include <poise/policy.hpp>
#include <poise/random.hpp>
#include <poise/time.hpp>

namespace poise {

struct RetryOptions {
  std::uint32_t attempts = 3;                     ///< In all, with the first; 1 never retries.
  Duration base = std::chrono::milliseconds{25};  ///< The first pause is shorter than this.
  Duration cap = std::chrono::milliseconds{250};  ///< Every pause is.
};

/// A pure decision: it waits for nothing and counts nothing. Failures are retried (is_failure);
/// what the caller did wrong or gave up is not. The first retry comes at once if nothing was sent.
/// The outermost Retry decides; one inside it is not asked.
/// *Errors* ConfigError: no attempts, a negative pause, a cap below the base.
template <class P>
class Retry : public detail::Through<P> {
 public:
  // NOLINTNEXTLINE(*-explicit-*): a default argument of Balancer
  Retry(RetryOptions options = {}, P inner = {})
      : detail::Through<P>{std::move(inner)}, options_{options} {
    check(options);
  }

  [[nodiscard]] std::string name() const { return "retry(" + hooks::name(this->inner()) + ")"; }

  [[nodiscard]] Decision decide(Attempt const& attempt) const noexcept {
    auto const made = std::max(attempt.request.attempt, 1U);
    if (made >= options_.attempts || !is_failure(attempt.outcome.ending)) return {};
    if (made == 1 && !attempt.outcome.sent) return {.retry = true, .after = {}};
    return {.retry = true, .after = part_of(limit(made), attempt.random)};
  }

 private:
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
    return Duration{
        static_cast<Duration::rep>(detail::high_half(detail::Wide{random} * nanoseconds))};
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
  }

  RetryOptions options_;
};

}  // namespace poise
