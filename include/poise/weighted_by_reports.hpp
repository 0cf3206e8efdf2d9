// SPDX-License-Identifier: MIT
#pragma once

// Weights from what backends say about their load: a rule for the runtime, and the client-side
// weighted round robin of gRPC (A58) and Envoy if the policy is SmoothWeighted.
//
//   using Runtime = poise::Runtime<poise::CycleClock, poise::WeightedByReports>;
//   poise::Balancer<poise::SmoothWeighted, void, Runtime> servers{endpoints};
//   lease.report_load(report);   // before finish(); orca/header.hpp reads it from an answer
//
// Use it when backends differ in size, or share their machines with others, and say how busy they
// are. A backend that serves many requests with little of its capacity gets more:
//
//   weight = rps / (utilization + penalty * eps / rps)
//
// Each backend counts only after its reports came for `blackout`, because the first ones of a fresh
// process say little, and until none came for `expiration`. The others have the mean of those that
// count. With less than two that count the configured weights hold. In force, weights of reports
// replace those of endpoints. 0 stays; another weight that the operator set is a factor on the
// endpoint's: set_weight(id, 2) doubles what reports make of an endpoint of weight 1.
//
// Reports are not trusted blindly. One with a negative number or NaN is ignored as a whole. A
// weight is at most `max_ratio` times the median, and at least that part of it: a backend that says
// it has nothing to do gets more, but not everything. And it changes by no more than a factor of
// `max_step` an update. stats().warnings tells of reports that stopped or make no sense.
//
// Any policy that looks at weights can be used. One that maps keys moves keys with each update.
// Needs ticks.
//
// Source: gRPC proposal A58, Envoy's client_side_weighted_round_robin.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <poise/backend.hpp>
#include <poise/base/check.hpp>
#include <poise/base/saturating.hpp>
#include <poise/engine/endpoint_checks.hpp>
#include <poise/error.hpp>
#include <poise/load_report.hpp>
#include <poise/observer.hpp>
#include <poise/sync/relaxed.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0 {

/// The defaults are those of A58, which has no bounds.
struct WeightedByReportsOptions {
  Duration blackout = std::chrono::seconds{10};
  Duration expiration = std::chrono::minutes{3};
  Duration update_period = std::chrono::seconds{1};  ///< At the next tick after it.
  double error_penalty = 1;  ///< Of a failing request, in units of a busy backend's capacity.
  double max_ratio = 10;     ///< Between a weight and the median of all.
  double max_step = 2;       ///< Between a weight and the one before.
  double min_change = 0.02;  ///< Weights that differ less stay, so that tables need not be rebuilt.

  /// *Errors* ConfigError.
  void check() const {
    detail::check_not_negative("blackout of WeightedByReports", blackout, "use 0 or more");
    detail::check_positive("expiration of WeightedByReports", expiration);
    detail::check_positive("update_period of WeightedByReports", update_period);
    detail::check_not_negative("error_penalty of WeightedByReports", error_penalty,
                               "use a finite number, 0 or above");
    check_factor("max_ratio", max_ratio);
    check_factor("max_step", max_step);
    detail::check_fraction("min_change of WeightedByReports", min_change);
  }

 private:
  static void check_factor(std::string const& name, double factor) {
    detail::check_at_least(name + " of WeightedByReports", factor, 1.0, "use 1 or more");
    detail::check_positive(name + " of WeightedByReports", factor);
  }
};

/// *Threads* report_load() any; the rest is the balancer's. *Cost* of a report: a division and two
/// stores; 64 bytes a backend; O(n log n) an update, and the policy's plan.
class WeightedByReports {
 public:
  /// What a backend said last, and what was made of it. Reports are written without a lock: of two
  /// at once either may stay.
  struct State {
    sync::Relaxed<double> reported{0};
    sync::Relaxed<std::uint32_t> reports{0};  ///< Changes with each; modulo 2^32.
    sync::Relaxed<bool> invalid{false};       ///< The last one.
    // Of ticks only:
    std::uint32_t seen = 0;       // of `reports`
    std::optional<Time> since{};  // reports came without a gap
    Time latest{};                // when one was last seen
    double smooth = 0;            // the weight, changed by steps; 0: it does not count
    sync::Relaxed<bool> stopped{false};
    std::uint32_t in_force = 0;  // 0: the configured weight
  };

  /// *Errors* ConfigError.
  // NOLINTNEXTLINE(*-explicit-*): options stand for it in a list of observers
  WeightedByReports(WeightedByReportsOptions const& options = {}) : options_{options} {
    options.check();
  }

  void on_load_report(Reported const& reported, State& state) const noexcept {
    note(reported.report, options_.error_penalty, state);
  }
  static void note(LoadReport const& report, double error_penalty, State& state) noexcept {
    auto const weight = weight_of(report, error_penalty);
    state.invalid.store(!std::isfinite(weight));
    if (!(weight > 0) || !std::isfinite(weight)) return;
    state.reported.store(weight);
    state.reports.store(state.reports.load() + 1);
  }

  /// True if a weight is to change.
  bool on_tick(Time now, std::span<BackendView> all) {
    for (auto const& each : all) note_age(each.state<State>(), now);
    if (updated_ && now >= *updated_ &&
        detail::saturating_sub(now, *updated_) < options_.update_period)
      return false;
    updated_ = now;
    return update(all);
  }
  static void arrange(std::span<BackendView> all) {
    for (auto& each : all)
      if (auto const weight = each.state<State>().in_force; weight != 0 && each.weight != 0)
        each.weight = scaled(weight, each);
  }

  /// Back to the configured weights; true if there were others.
  static bool forget(std::span<BackendView> all) {
    bool changed = false;
    for (auto const& each : all) {
      auto& state = each.state<State>();
      changed |= std::exchange(state.in_force, 0) != 0;
      state.since.reset();
      state.smooth = 0;
      state.stopped.store(false);
      state.invalid.store(false);
    }
    return changed;
  }

  [[nodiscard]] static std::string warning(Backend const& backend, State const& state, Time) {
    auto const of = "backend " + detail::in_quotes(backend.id());
    if (state.invalid.load())
      return of + " sends load reports that make no sense: they are ignored; write what ORCA says";
    if (state.stopped.load())
      return of + " sends no load reports any more: its weight is the mean of the others";
    return {};
  }

 private:
  static constexpr double scale = 100;  // the mean of weights in force: they read as percentages

  /// An operator's set_weight() is a factor on what the endpoint has.
  static std::uint32_t scaled(std::uint32_t weight, BackendView const& view) noexcept {
    std::uint64_t const usual = std::max(view.endpoint_weight, 1U);
    return static_cast<std::uint32_t>(std::clamp<std::uint64_t>(
        std::uint64_t{weight} * view.weight / usual, 1, detail::max_weight));
  }

  /// 0 if it does not say; not finite if it makes no sense.
  [[nodiscard]] static double weight_of(LoadReport const& report, double error_penalty) noexcept {
    if (!report.is_valid()) return std::numeric_limits<double>::quiet_NaN();
    auto const utilization = report.utilization();
    if (utilization == 0 || report.rps == 0) return 0;
    return report.rps / (utilization + error_penalty * report.eps / report.rps);
  }

  void note_age(State& state, Time now) const {
    if (auto const reports = state.reports.load(); reports != state.seen) {
      state.seen = reports;
      state.latest = now;
      if (!state.since || now < *state.since) state.since = now;
      state.stopped.store(false);
    } else if (state.since && detail::saturating_sub(now, state.latest) >= options_.expiration) {
      state.since.reset();
      state.smooth = 0;
      state.stopped.store(true);
    }
  }

  bool update(std::span<BackendView> all) {
    auto const mean = smooth(all);
    bool changed = false;
    for (auto const& each : all) {
      auto& state = each.state<State>();
      auto const weight = mean == 0 ? 0 : counts(state) ? scale * state.smooth / mean : scale;
      changed |= put_in_force(state, weight);
    }
    return changed;
  }
  /// Brings those that count up to date and returns their mean; 0 if they are too few.
  [[nodiscard]] double smooth(std::span<BackendView> all) {
    counting_.clear();
    for (auto const& each : all)
      if (auto const& state = each.state<State>(); counts(state))
        counting_.push_back(state.reported.load());
    if (counting_.size() < 2) return 0;
    auto const middle = counting_.begin() + static_cast<std::ptrdiff_t>(counting_.size() / 2);
    std::ranges::nth_element(counting_, middle);
    auto const median = *middle;
    double sum = 0;
    for (auto const& each : all)
      if (auto& state = each.state<State>(); counts(state)) sum += step(state, median);
    return sum / static_cast<double>(counting_.size());
  }
  double step(State& state, double median) const {
    auto const wanted =
        std::clamp(state.reported.load(), median / options_.max_ratio, median * options_.max_ratio);
    state.smooth = state.smooth == 0 ? wanted
                                     : std::clamp(wanted, state.smooth / options_.max_step,
                                                  state.smooth * options_.max_step);
    return state.smooth;
  }
  /// True if it differs from the one before by enough.
  bool put_in_force(State& state, double weight) const {
    auto const before = static_cast<double>(state.in_force);
    auto const next = weight == 0 ? 0 : std::max(1.0, std::round(weight));
    bool const both = before != 0 && next != 0;
    if (next == before || (both && std::abs(next - before) <= options_.min_change * before))
      return false;
    state.in_force = static_cast<std::uint32_t>(next);
    return true;
  }
  [[nodiscard]] bool counts(State const& state) const {
    return state.since && detail::saturating_sub(*updated_, *state.since) >= options_.blackout;
  }

  WeightedByReportsOptions options_;
  std::optional<Time> updated_{};
  std::vector<double> counting_;
};

}  // namespace poise::inline v0_1_0
