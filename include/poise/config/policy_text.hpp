// SPDX-License-Identifier: MIT
#pragma once

// The policy of a configuration as policy_named() reads it, with [retry] around it.

#include <string>

#include <poise/config/quantity.hpp>
#include <poise/config/settings.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::config {

namespace detail {

/// In nanoseconds, which a policy's text reads exactly.
[[nodiscard]] inline std::string argument(char const* name, Duration time) {
  return std::string{", "} + name + '=' + std::to_string(time.count()) + "ns";
}

[[nodiscard]] inline std::string hedge_text(RetrySettings const& retry) {
  if (retry.hedge_percentile == 0 && retry.hedge_after == Duration::zero()) return {};
  auto text = ", hedge=at(" + detail::argument("after", retry.hedge_after).substr(2);
  if (retry.hedge_percentile != 0) text += ", percentile=" + plain(retry.hedge_percentile);
  return text + ")";
}

}  // namespace detail

/// "retry(p2c, attempts=3, ...)", or the policy alone if nothing is retried.
[[nodiscard]] inline std::string policy_text(Settings const& settings) {
  auto const& retry = settings.retry;
  if (retry.attempts <= 1) return settings.policy;
  return "retry(" + settings.policy + ", attempts=" + std::to_string(retry.attempts) +
         detail::argument("base_pause", retry.base_pause) +
         detail::argument("max_pause", retry.max_pause) + ", on=" + retry.on +
         detail::argument("timeout", retry.timeout) +
         detail::argument("attempt_timeout", retry.attempt_timeout) +
         detail::argument("max_pushback", retry.max_pushback) +
         ", budget_fraction=" + detail::plain(retry.budget_fraction) +
         ", min_retries_per_second=" + std::to_string(retry.min_retries_per_second) +
         detail::hedge_text(retry) + ")";
}

}  // namespace poise::inline v0_1_0::config
