// SPDX-License-Identifier: MIT
#pragma once

// The rules that need no tuning: docs/analysis.md has them as a table. A rule whose number is not
// known (PoolState) never fires.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <poise/analysis/alerts.hpp>
#include <poise/analysis/burn_rate.hpp>
#include <poise/analysis/sample.hpp>
#include <poise/base/saturating.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::analysis {

/// What is promised to users: default_rules() derives its limits from it.
struct Objectives {
  double success = 0.999;                       ///< The fraction of requests that are to succeed.
  std::optional<Duration> latency{};            ///< Of the quantile in PoolState::latency.
  Duration list_age = std::chrono::minutes{5};  ///< A list of backends this old is stale.
};

namespace detail {

inline std::vector<std::string> copied(std::span<std::string_view const> ids) {
  return {ids.begin(), ids.end()};
}
inline std::optional<Reading> count_of(std::span<std::string_view const> ids) {
  return Reading{static_cast<double>(ids.size()), copied(ids)};
}
inline std::optional<Reading> reading_of(std::optional<double> value) {
  if (!value) return {};
  return Reading{*value};
}
inline std::optional<Reading> reading_of(std::optional<Duration> time) {
  if (!time) return {};
  return Reading{seconds_of(*time)};
}
/// Of all backends; none of a pool that has lost them all. One that never had any is not judged.
class HealthyFraction {
 public:
  std::optional<Reading> operator()(PoolState const& pool) {
    had_backends_ = had_backends_ || pool.backends > 0;
    if (!had_backends_) return {};
    auto const all = static_cast<double>(std::max<std::size_t>(1, pool.backends));
    return Reading{static_cast<double>(pool.healthy) / all, copied(pool.unhealthy)};
  }

 private:
  bool had_backends_ = false;
};

/// 1 from the first request on that a pool without backends refused, until it has some.
class EmptyPool {
 public:
  std::optional<Reading> operator()(PoolState const& pool) {
    bool const empty = pool.backends == 0;
    had_backends_ = had_backends_ || !empty;
    // Who does not count refusals may count backends: then requests that all fail were refused.
    bool const all_fail = had_backends_ && pool.failures > 0 && pool.failures >= pool.requests;
    refuses_ = empty && (refuses_ || pool.refusals > 0 || all_fail);
    return Reading{refuses_ ? 1.0 : 0.0};
  }

 private:
  bool had_backends_ = false;
  bool refuses_ = false;
};

/// Ejections of the last five minutes, per backend.
class EjectionRate {
 public:
  std::optional<Reading> operator()(PoolState const& pool) {
    if (pool.ejections > 0)
      recent_.push_back(
          {before_.value_or(pool.now), pool.now, static_cast<double>(pool.ejections)});
    before_ = pool.now;
    while (!recent_.empty() && age(recent_.front().end, pool.now) >= window) recent_.pop_front();
    if (pool.backends == 0) return {};
    double sum = 0;
    for (auto const& each : recent_) sum += each.count * part_within(each, pool.now);
    return Reading{sum / static_cast<double>(pool.backends), copied(pool.unhealthy)};
  }

 private:
  static constexpr Duration window = std::chrono::minutes{5};
  /// What was counted between two updates.
  struct Counted {
    Time begin;
    Time end;
    double count;
  };
  static Duration age(Time time, Time now) noexcept {
    return poise::detail::saturating_sub(now, time);
  }
  /// As if they had come evenly.
  static double part_within(Counted const& counted, Time now) noexcept {
    auto const oldest = age(counted.begin, now);
    if (oldest <= window || counted.end <= counted.begin) return 1;
    auto const newest = age(counted.end, now);
    return seconds_of(window - newest) / seconds_of(oldest - newest);
  }

  std::deque<Counted> recent_;
  std::optional<Time> before_;
};

/// A rule that fires at the window's rate, and clears as the window does.
inline Rule burn_rule(std::string name, BurnOptions const& options, Severity severity) {
  return {std::move(name),
          "errors",
          severity,
          [burn = BurnRate{options}](PoolState const& pool) mutable -> std::optional<Reading> {
            burn.add(pool.now, pool.requests, pool.failures);
            return Reading{burn.rate(), copied(pool.unhealthy)};
          },
          options.window.rate,
          0.8 * options.window.rate,
          {},
          {},
          "the error budget is being spent: look at failures by backend and by cause"};
}

inline void add_burn_rules(std::vector<Rule>& rules, double objective) {
  for (auto const& [name, window, severity] :
       {std::tuple{"error budget, 1 h", page_fast, Severity::page},
        std::tuple{"error budget, 6 h", page_slow, Severity::page},
        std::tuple{"error budget, 3 d", ticket, Severity::ticket}})
    if (window.rate * (1 - objective) < 1)  // else no outage reaches it
      rules.push_back(burn_rule(name, {.objective = objective, .window = window}, severity));
}

}  // namespace detail

/// *Errors* ConfigError: an objective that is no fraction between 0 and 1, or no duration above 0.
[[nodiscard]] inline std::vector<Rule> default_rules(Objectives const& objectives = {}) {
  using namespace std::chrono_literals;
  BurnOptions{.objective = objectives.success, .window = ticket}.check();
  poise::detail::check_positive("list_age of analysis::Objectives", objectives.list_age);
  std::vector<Rule> rules{
      {"panic", "errors", Severity::page,
       [](PoolState const& pool) -> std::optional<Reading> {
         return Reading{pool.panic ? 1.0 : 0.0, detail::copied(pool.unhealthy)};
       },
       1, 0, 5s, 60s,
       "so few backends are left that ejections count for nothing: restore some, or the list"},
      {"no backends", "errors", Severity::page, detail::EmptyPool{}, 1, 0, 3s, 10s,
       "the pool is empty and refuses requests: look at discovery, or add() backends"},
      {"few healthy", "errors", Severity::ticket, detail::HealthyFraction{}, 0.6, 0.75, 10s, 60s,
       "bring back those that are out, or add backends: the history of each says why it is out",
       Unit::fraction},
      {"ejections", "errors", Severity::ticket, detail::EjectionRate{}, 0.5, 0.2, 0s, 60s,
       "backends are ejected again and again: see their history"},
      {"changed", "latency", Severity::ticket,
       [](PoolState const& pool) { return detail::count_of(pool.changed); }, 1, 0, 5s, 60s,
       "the listed backends are slower or fail more than their peers: look at them first"},
      {"unfair", "", Severity::ticket,
       [](PoolState const& pool) { return detail::count_of(pool.unfair); }, 1, 0, 60s, 60s,
       "the listed backends get another share than intended: compare weights and speeds"},
      {"breach ahead", "latency", Severity::ticket,
       [](PoolState const& pool) { return detail::count_of(pool.breaching); }, 1, 0, 60s, 300s,
       "latency rises towards its objective: add capacity before it is reached"},
      {"retry budget", "errors", Severity::ticket,
       [](PoolState const& pool) { return detail::reading_of(pool.retry_budget); }, 0.05, 0.3, 10s,
       60s, "retries are refused: the failures are more than retries can hide", Unit::fraction},
      {"ticks", "", Severity::page,
       [](PoolState const& pool) { return detail::reading_of(pool.tick_age); }, 10, 3, 0s, 10s,
       "nothing calls tick(): see poise::Ticker; ejections do not end without it", Unit::seconds},
      {"stale list", "", Severity::ticket,
       [](PoolState const& pool) { return detail::reading_of(pool.list_age); },
       seconds_of(objectives.list_age), seconds_of(objectives.list_age) / 2, 0s, 0s,
       "discovery has not confirmed the list of backends: look at its source", Unit::seconds},
  };
  if (objectives.latency) {
    poise::detail::check_positive("latency of analysis::Objectives", *objectives.latency);
    auto const limit = seconds_of(*objectives.latency);
    rules.push_back({"latency", "latency", Severity::page,
                     [](PoolState const& pool) { return detail::reading_of(pool.latency); }, limit,
                     0.9 * limit, 30s, 60s, "the pool is slower than its objective",
                     Unit::seconds});
  }
  detail::add_burn_rules(rules, objectives.success);
  return rules;
}

}  // namespace poise::inline v0_1_0::analysis
