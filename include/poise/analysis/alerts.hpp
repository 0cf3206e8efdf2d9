// SPDX-License-Identifier: MIT
#pragma once

// Alerts: rules over the state of a pool, with hysteresis, grouped so that one cause is one alert.
//
//   A rule measures one number. It fires once the number has been beyond `fire` for a time, and
//   clears once it has been beyond `clear`, which lies on the other side, for a time. Between the
//   two it stays as it is, so a number that swings about one limit is one alert.
//
//   Rules of one group share an alert: it begins with the first of them, lists all that fire, and
//   ends with the last. It is a page while one of them pages, and announced again each time it
//   becomes one. When the last of those has cleared, the page ends; what still fires is announced
//   as a ticket.
//
// The default set, default_rules(), needs no tuning. docs/analysis.md lists it.
//
//   Durations are told from one update to the next. A gap of more than a minute, and of more than
//   twice the one before, says nothing of what was meanwhile: durations begin again after it.
//
// Source: the Prometheus rules `for` and `keep_firing_for`.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/base/check.hpp>
#include <poise/base/saturating.hpp>
#include <poise/error.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::analysis {

/// What a rule may look at, at one moment. Numbers that are not known are left out.
struct PoolState {
  Time now{};
  std::uint64_t requests = 0;  ///< Since the last state.
  std::uint64_t failures = 0;
  std::uint64_t refusals = 0;  ///< Of the failures: picks that found no backend.
  std::size_t backends = 0;
  std::size_t healthy = 0;      ///< Neither ejected nor drained.
  std::uint64_t ejections = 0;  ///< Since the last state.
  bool panic = false;
  std::optional<double> latency{};       ///< Seconds: the quantile that the objective is about.
  std::optional<double> retry_budget{};  ///< The fraction that is left.
  std::optional<Duration> tick_age{};    ///< Since the balancer's last tick.
  std::optional<Duration> list_age{};    ///< Since discovery last confirmed the list.
  std::span<std::string_view const> unhealthy{};  ///< Ids, for the alert's list.
  std::span<std::string_view const> changed{};    ///< Changed just now, or differ from their peers.
  std::span<std::string_view const> unfair{};     ///< Their share is not the intended one.
  std::span<std::string_view const> breaching{};  ///< Will breach the objective.
};

/// How urgent an alert is: for the working day, or for whoever is on call.
enum class Severity : std::uint8_t { ticket, page };

/// What a rule's numbers are, for people.
enum class Unit : std::uint8_t { number, fraction, seconds };

/// What a rule measured. `backends` lists those that it is about.
struct Reading {
  double value = 0;
  std::vector<std::string> backends{};
};

/// A question that is asked in each update, and when its answer is an alert.
struct Rule {
  std::string name{};
  std::string group{};  ///< Rules of one group are one alert. Empty: the rule is alone.
  Severity severity = Severity::ticket;
  /// Called once in each update. nullopt or NaN: not known now. Then the rule does not fire, and
  /// clears after `clear_after`.
  std::function<std::optional<Reading>(PoolState const&)> measure{};
  double fire = 0;  ///< The limit. Below `clear` for numbers that are bad when they are low.
  double clear = 0;
  Duration fire_after{};   ///< Beyond `fire` for so long.
  Duration clear_after{};  ///< Beyond `clear` for so long.
  std::string advice{};    ///< For people: what to do.
  Unit unit = Unit::number;
};

/// A rule that fires, with the numbers behind it.
struct Firing {
  std::string rule;
  Severity severity{};
  Time since{};      ///< When it fired.
  double value = 0;  ///< Now. NaN: not known.
  double limit = 0;  ///< Rule::fire.
  std::vector<std::string> backends;
  std::string advice;
  Unit unit{};
  double clear = 0;       ///< Rule::clear.
  bool clearing = false;  ///< It is well again, and ends after Rule::clear_after.
};

/// All that fires in one group.
struct Alert {
  std::string group;
  Severity severity{};        ///< The highest of its rules.
  Time since{};               ///< When its first rule fired.
  std::vector<Firing> rules;  ///< In the order in which they fired. Cleared ones are dropped.
};

namespace detail {

[[nodiscard]] inline std::string three_digits(double number, Unit unit) {
  if (std::isnan(number)) return "unknown";
  char text[32];
  bool const is_fraction = unit == Unit::fraction;
  auto const size = std::snprintf(text, sizeof text, "%.3g", is_fraction ? 100 * number : number);
  std::string result{text, static_cast<std::size_t>(size)};
  if (is_fraction) result += " %";
  if (unit == Unit::seconds) result += " s";
  return result;
}

/// "50 %, limit 60 %"; of what has fallen below its limit also where it clears.
[[nodiscard]] inline std::string numbers_of(Firing const& firing) {
  auto const words = [&](double number) { return three_digits(number, firing.unit); };
  auto text = words(firing.value);
  bool const high_is_bad = firing.limit > firing.clear;
  bool const within = high_is_bad ? firing.value < firing.limit : firing.value > firing.limit;
  if (!firing.clearing && !within) return text + ", limit " + words(firing.limit);
  return text + ", fired at " + words(firing.limit) +
         (firing.clearing ? "" : ", clears at " + words(firing.clear));
}
/// "a, b, c, d, e and 17 more"
[[nodiscard]] inline std::string some_of(std::vector<std::string> const& ids) {
  constexpr std::size_t told = 5;
  std::string text;
  for (std::size_t i = 0; i < std::min(told, ids.size()); ++i)
    text += (i == 0 ? "" : ", ") + poise::detail::escaped(ids[i]);
  if (ids.size() > told) text += " and " + std::to_string(ids.size() - told) + " more";
  return text;
}

}  // namespace detail

/// "errors: few healthy (50 %, limit 60 %; a, b): bring back those that are out"; of a list that
/// several rules have in a row only the first.
[[nodiscard]] inline std::string message(Alert const& alert) {
  std::string text = poise::detail::escaped(alert.group) + ":";
  std::vector<std::string> const* before = nullptr;
  for (auto const& each : alert.rules) {
    text += " " + poise::detail::escaped(each.rule) + (each.clearing ? ", clearing (" : " (") +
            detail::numbers_of(each);
    bool const is_told = before != nullptr && *before == each.backends;
    if (!each.clearing && !each.backends.empty() && !is_told)
      text += "; " + detail::some_of(each.backends);
    if (!each.clearing) before = &each.backends;
    text += ")";
    if (!each.clearing && !each.advice.empty()) text += ": " + each.advice;
    text += ";";
  }
  text.pop_back();
  return text;
}

/// A rule whose measure() threw.
struct RuleError {
  std::string rule;
  std::string message;  ///< Of the last exception.
  std::uint64_t count = 0;
};

/// What to call when an alert begins and ends.
struct AlertCallbacks {
  /// It began, or became a page; or its page was cleared, and it goes on as a ticket.
  std::function<void(Alert const&)> on_fire{};
  /// It ended, or stopped being a page: the alert as it last was.
  std::function<void(Alert const&)> on_clear{};
};

/// Evaluates rules on the caller's time line.
///
/// Exceptions of rules are kept in errors(); such a rule neither fires nor clears while it throws.
/// Exceptions of callbacks are counted. Callbacks must not use the Alerts object.
/// *Threads* one. *Cost* of update(): the rules; allocates while something fires. Reads no clock.
class Alerts {
 public:
  /// *Errors* ConfigError: a rule without a name or measure, two of one name, limits that are not
  /// numbers or equal, a negative duration.
  explicit Alerts(std::vector<Rule> rules, AlertCallbacks callbacks = {})
      : callbacks_{std::move(callbacks)} {
    for (auto& rule : rules) {
      check(rule);
      if (rule.group.empty()) rule.group = rule.name;
      states_.push_back({std::move(rule)});
    }
  }

  void update(PoolState const& pool) {
    note_time(pool.now);
    for (auto& state : states_) evaluate(state, pool);
  }
  /// The alerts in progress.
  [[nodiscard]] std::span<Alert const> alerts() const noexcept { return alerts_; }
  /// The rules that threw, ever.
  [[nodiscard]] std::span<RuleError const> errors() const noexcept { return errors_; }
  [[nodiscard]] std::uint64_t callback_failures() const noexcept { return callback_failures_; }

 private:
  struct State {
    Rule rule;
    bool firing = false;
    std::optional<Time> since{};  // how long the reading has asked for the other state
  };

  void check(Rule const& rule) const {
    auto const quoted = poise::detail::in_quotes(rule.name);
    if (rule.name.empty())
      throw ConfigError{"a rule of analysis::Alerts has no name: name it after its symptom"};
    if (!rule.measure) throw ConfigError{"rule " + quoted + " has no measure: set it"};
    if (std::ranges::any_of(states_, [&](auto const& s) { return s.rule.name == rule.name; }))
      throw ConfigError{"two rules are named " + quoted + ": use different names"};
    for (auto const limit : {rule.fire, rule.clear})
      if (!std::isfinite(limit))
        throw ConfigError{"a limit of rule " + quoted + " is " + poise::detail::in_words(limit) +
                          ": use a finite number"};
    if (rule.fire == rule.clear)
      throw ConfigError{"rule " + quoted + " fires and clears at " +
                        poise::detail::in_words(rule.fire) +
                        ": clear must be lower if high values are bad, higher if low ones are"};
    poise::detail::check_not_negative("fire_after of rule " + quoted, rule.fire_after,
                                      "0 fires at once");
    poise::detail::check_not_negative("clear_after of rule " + quoted, rule.clear_after,
                                      "0 clears at once");
  }

  /// After a gap all durations begin again.
  void note_time(Time now) {
    using poise::detail::saturating_sub;
    if (!updated_) now_ = now;
    auto const step = saturating_sub(std::max(now_, now), now_);
    auto const usual =
        std::max<Duration>(std::chrono::minutes{1}, poise::detail::saturating_add(step_, step_));
    if (step > usual)
      for (auto& state : states_) state.since.reset();
    step_ = step;
    now_ = std::max(now_, now);
    updated_ = true;
  }

  /// Is the value at this limit, or on its outer side?
  static bool beyond(Rule const& rule, double value, double limit, bool outward) noexcept {
    bool const high_is_bad = rule.fire > rule.clear;
    return high_is_bad == outward ? value >= limit : value <= limit;
  }
  void evaluate(State& state, PoolState const& pool) {
    std::optional<Reading> reading;
    try {
      reading = state.rule.measure(pool);
    } catch (std::exception const& error) {
      return note_error(state, error.what());
    } catch (...) {
      return note_error(state, "an exception that is no std::exception");
    }
    if (reading && std::isnan(reading->value)) reading.reset();
    auto const& rule = state.rule;
    bool const wants_change = state.firing
                                  ? !reading || beyond(rule, reading->value, rule.clear, false)
                                  : reading && beyond(rule, reading->value, rule.fire, true);
    if (!wants_change) state.since.reset();
    else if (!state.since) state.since = now_;
    auto const needed = state.firing ? rule.clear_after : rule.fire_after;
    bool const changes =
        wants_change && poise::detail::saturating_sub(now_, *state.since) >= needed;
    if (changes) {
      state.firing = !state.firing;
      state.since.reset();
    }
    if (state.firing && reading) note_firing(rule, std::move(*reading), wants_change && !changes);
    else if (state.firing) note_unknown(rule);
    else if (changes) note_clear(rule);
  }

  void note_firing(Rule const& rule, Reading reading, bool clearing) {
    auto& alert = alert_of(rule.group);
    auto const severity = alert.severity;
    bool const begins = alert.rules.empty();
    auto firing = std::ranges::find(alert.rules, rule.name, &Firing::rule);
    if (firing == alert.rules.end())
      firing = alert.rules.insert(firing, {.rule = rule.name,
                                           .severity = rule.severity,
                                           .since = now_,
                                           .limit = rule.fire,
                                           .backends = {},
                                           .advice = rule.advice,
                                           .unit = rule.unit,
                                           .clear = rule.clear});
    firing->value = reading.value;
    firing->clearing = clearing;
    firing->backends = std::move(reading.backends);
    alert.severity = std::max(alert.severity, rule.severity);
    if (begins || alert.severity > severity) notify(callbacks_.on_fire, alert);
  }
  /// It clears, since its number is not known.
  void note_unknown(Rule const& rule) {
    auto& firing = *std::ranges::find(alert_of(rule.group).rules, rule.name, &Firing::rule);
    firing.value = std::numeric_limits<double>::quiet_NaN();
    firing.clearing = true;
  }
  void note_clear(Rule const& rule) {
    auto const alert = std::ranges::find(alerts_, rule.group, &Alert::group);
    auto rest = *alert;
    std::erase_if(rest.rules, [&](Firing const& firing) { return firing.rule == rule.name; });
    if (rest.rules.empty()) {
      auto const last = std::move(*alert);
      alerts_.erase(alert);
      return notify(callbacks_.on_clear, last);
    }
    rest.severity = std::ranges::max(rest.rules, {}, &Firing::severity).severity;
    auto const last = std::exchange(*alert, std::move(rest));
    if (alert->severity == last.severity) return;
    notify(callbacks_.on_clear, last);
    notify(callbacks_.on_fire, *alert);
  }
  Alert& alert_of(std::string const& group) {
    auto const found = std::ranges::find(alerts_, group, &Alert::group);
    if (found != alerts_.end()) return *found;
    return alerts_.emplace_back(Alert{group, Severity::ticket, now_, {}});
  }
  void notify(std::function<void(Alert const&)> const& callback, Alert const& alert) noexcept {
    if (!callback) return;
    try {
      callback(alert);
    } catch (...) {
      ++callback_failures_;
    }
  }
  void note_error(State& state, std::string_view message) {
    state.since.reset();  // its durations begin again
    auto error = std::ranges::find(errors_, state.rule.name, &RuleError::rule);
    if (error == errors_.end()) error = errors_.insert(error, {state.rule.name, {}, 0});
    error->message = message;
    ++error->count;
  }

  AlertCallbacks callbacks_;
  std::vector<State> states_;
  std::vector<Alert> alerts_;
  std::vector<RuleError> errors_;
  std::uint64_t callback_failures_ = 0;
  Time now_{};
  Duration step_{};  // from the update before to the last one
  bool updated_ = false;
};

}  // namespace poise::inline v0_1_0::analysis
