// SPDX-License-Identifier: MIT
#pragma once

// Suggestions for people, each with its evidence; none without.
//
// They look at a window of minutes or hours, not at a moment. Nothing is changed: weights that
// follow latency by themselves are a policy (Adaptive), not a suggestion.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/analysis/robust.hpp>
#include <poise/base/check.hpp>
#include <poise/error.hpp>

namespace poise::inline v0_1_0::analysis {

/// A backend over the window.
struct BackendFacts {
  std::string_view id{};
  std::uint32_t weight = 1;
  std::uint64_t requests = 0;
  double latency = 0;  ///< Seconds, mean or median.
};

/// The pool over the window.
struct PoolFacts {
  std::span<BackendFacts const> backends{};
  bool policy_uses_latency = false;
  bool policy_uses_weights = false;
  std::uint64_t requests = 0;
  std::uint64_t capped_ejections = 0;  ///< Findings that the cap held back.
  std::uint64_t refused_retries = 0;   ///< By the retry budget.
};

/// What a suggestion is about.
enum class Advice : std::uint8_t {
  follow_latency,  ///< Use a policy that looks at latency.
  set_weights,     ///< Set the weights that are listed.
  look_at_cap,
  look_at_retries,
};

/// What could be set better.
struct Suggestion {
  Advice advice{};
  std::string text;  ///< What, and the numbers behind it.
  std::vector<std::pair<std::string, std::uint32_t>> weights{};  ///< Of all, by id.
};

namespace detail {

/// Requests behind a latency that is compared, and how far two may differ.
inline constexpr std::uint64_t enough_requests = 200;
inline constexpr double unequal = 1.5;

inline std::string times(double ratio) {
  return poise::detail::in_words(std::round(ratio * 10) / 10) + " times";
}

/// True if its latency is known well enough.
inline bool is_judged(BackendFacts const& each) {
  return each.requests >= enough_requests && each.latency > 0 && std::isfinite(each.latency) &&
         each.weight > 0;
}

/// Weights that give each backend the same latency, if latency follows its share: today's, times
/// the median latency over its own. One whose latency is not known counts as of the median, so that
/// all are on one scale. The largest is 100. Weights of 0 stay.
inline Suggestion weights_for(std::span<BackendFacts const> all, double middle) {
  auto const ideal = [&](BackendFacts const& each) {
    return each.weight * (is_judged(each) ? middle / each.latency : 1.0);
  };
  double largest = 0;
  for (auto const& each : all) largest = std::max(largest, ideal(each));
  Suggestion result{.advice = Advice::set_weights, .text = "set weights that follow the speeds:"};
  for (auto const& each : all) {
    if (each.weight == 0) continue;
    auto const scaled = std::max(1.0, std::round(100 * ideal(each) / largest));
    result.text += (result.weights.empty() ? " " : ", ") + poise::detail::in_quotes(each.id) + " " +
                   poise::detail::in_words(scaled) + (is_judged(each) ? "" : " (speed not known)");
    result.weights.emplace_back(each.id, static_cast<std::uint32_t>(scaled));
  }
  return result;
}

inline void judge_speeds(PoolFacts const& pool, std::vector<Suggestion>& suggestions) {
  if (pool.policy_uses_latency) return;
  std::vector<BackendFacts> judged;
  for (auto const& each : pool.backends)
    if (is_judged(each)) judged.push_back(each);
  if (judged.size() < 2) return;
  auto const [fast, slow] = std::ranges::minmax_element(judged, {}, &BackendFacts::latency);
  auto const ratio = slow->latency / fast->latency;
  if (ratio < unequal) return;
  suggestions.push_back({Advice::follow_latency,
                         poise::detail::in_quotes(slow->id) + " takes " + times(ratio) +
                             " as long as " + poise::detail::in_quotes(fast->id) + " (" +
                             std::to_string(slow->requests) + " and " +
                             std::to_string(fast->requests) +
                             " requests), and the policy does not look at latency: Adaptive does"});
  if (!pool.policy_uses_weights) return;
  std::vector<double> latencies;
  for (auto const& each : judged) latencies.push_back(each.latency);
  suggestions.push_back(weights_for(pool.backends, median(latencies)));
}

}  // namespace detail

/// The suggestions that these numbers justify; mostly none. *Threads* any. *Cost* O(n).
[[nodiscard]] inline std::vector<Suggestion> suggestions_for(PoolFacts const& pool) {
  std::vector<Suggestion> suggestions;
  detail::judge_speeds(pool, suggestions);
  if (pool.capped_ejections > 0)
    suggestions.push_back(
        {Advice::look_at_cap, std::to_string(pool.capped_ejections) +
                                  " ejections were held back by Ejection::max_ejected: failing "
                                  "backends got requests; add backends, or raise the cap"});
  // A hundredth of the requests: single refusals are what a budget is for.
  auto const hundredth = static_cast<double>(pool.requests) / 100;
  if (pool.refused_retries > 0 && static_cast<double>(pool.refused_retries) >= hundredth)
    suggestions.push_back({Advice::look_at_retries,
                           std::to_string(pool.refused_retries) + " retries of " +
                               std::to_string(pool.requests) +
                               " requests were refused by the retry budget: failures are more "
                               "than retries can hide; look for their cause first"});
  return suggestions;
}

}  // namespace poise::inline v0_1_0::analysis
