// SPDX-License-Identifier: MIT
#pragma once

// "Will breach its objective in 10 to 40 minutes": a line through the last minutes, extended.
//
// The series is cut into minutes; the median of each is one point, so short spikes vanish. Lines
// are fitted to the last 6, 8, 15, 30 and 45 points. A line counts if its slope is more than 4
// standard errors above 0 and if it reaches the objective within the horizon. The error comes from
// the noise that the series had before, corrected for autocorrelation, so a line through few points
// does not look surer than it is. Two minutes in a row must agree, unless a line is beyond 5
// standard errors.
//
// The forecast is an interval. It covers the intervals of all lines that count: a short line knows
// the present better, a long one is less moved by noise. A single number would be wrong: the alarm
// is raised because the slope happened to be high.
//
// Works on any number that is bad when it is high: latency, failures, load. Not for steps (see
// change.hpp), nor for horizons beyond an hour: there a daily wave looks like a ramp.

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <deque>
#include <optional>
#include <ratio>
#include <vector>

#include <poise/analysis/robust.hpp>
#include <poise/base/check.hpp>
#include <poise/base/saturating.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::analysis {

/// What a Forecast predicts, and from how much.
struct ForecastOptions {
  /// The limit. 0: twice what is normal, learnt over the first hours.
  double objective = 0;
  Duration horizon = std::chrono::minutes{60};
  Duration point = std::chrono::minutes{1};  ///< Samples of this time are one point of a line.

  /// *Errors* ConfigError.
  void check() const {
    poise::detail::check_not_negative("objective of analysis::ForecastOptions", objective,
                                      "use a finite number above 0, or 0 to have it learnt");
    poise::detail::check_positive("point of analysis::ForecastOptions", point);
    poise::detail::check_at_least("horizon of analysis::ForecastOptions", horizon, point,
                                  "use at least the time of a point");
  }
};

/// A breach that is ahead.
struct Breach {
  Time from{};  ///< The earliest time at which the objective is reached,
  Time to{};    ///< and the latest.
  double objective = 0;
  double level = 0;       ///< The value now, by the shortest line that counts.
  double per_minute = 0;  ///< Its slope.
  double deviations = 0;  ///< Of the surest line, in standard errors: the confidence.
};

/// Watches one series, of a backend or of a pool.
///
/// *Threads* one. *Cost* of add(): 10 ns, and 0.3 us each minute; 700 B. Reads no clock.
class Forecast {
 public:
  /// *Errors* ConfigError.
  explicit Forecast(ForecastOptions options = {}) : options_{options} { options_.check(); }

  /// A sample of now; those that are not above 0 or not finite are left out. Points without samples
  /// are left out as well, after 5 of them the series starts afresh. A time that goes back does,
  /// too.
  void add(Time now, double value) {
    if (!(value > 0) || !std::isfinite(value)) return;
    if (!pending_.empty()) {
      auto const age = poise::detail::saturating_sub(now, begin_);
      if (now < begin_ || age > poise::detail::saturating_mul(options_.point, 5)) restart();
      else if (age >= options_.point) close_point();
    }
    if (pending_.empty()) begin_ = now;
    now_ = now;
    pending_.push_back(value);
  }
  /// The breach ahead, or nullopt: no trend, or none that reaches the objective in the horizon.
  [[nodiscard]] std::optional<Breach> breach() const noexcept {
    bool const sure = breach_ && breach_->deviations >= sure_deviations;
    return sure || agreed_ >= needed_agreement ? breach_ : std::nullopt;
  }
  /// The given or learnt objective; nullopt while it is being learnt, for half an hour.
  [[nodiscard]] std::optional<double> objective() const noexcept {
    if (options_.objective > 0) return options_.objective;
    if (age_ < warm_up) return {};
    return 2 * normal_;
  }

 private:
  static constexpr std::array<std::size_t, 5> windows{6, 8, 15, 30, 45};
  static constexpr std::size_t noise_window = 15;
  static constexpr std::size_t warm_up = 30;    // points
  static constexpr double memory = 360;         // points: 6 hours
  static constexpr double min_variance = 1e-6;  // relative: no noise below 0.1 % is believed
  static constexpr double min_deviations = 4;
  // Of the interval. Wider than 2, since the slope is seen when it happens to be high.
  static constexpr double interval_deviations = 3.5;
  // A rise that began within a line is steeper than the line, and a rise may slow down.
  static constexpr double sooner = 0.6;
  static constexpr double later = 1.3;
  static constexpr double sure_deviations = 5;  // need no second point
  static constexpr int needed_agreement = 2;

  struct Line {
    double mean = 0;
    double slope = 0;    // per point
    double end = 0;      // its value at the last point
    double squares = 0;  // sum of the squared distances of the points' times from their mean
  };

  void restart() {
    points_.clear();
    pending_.clear();
    breach_.reset();
    agreed_ = 0;
  }
  void close_point() {
    points_.push_back(median(pending_));
    pending_.clear();
    if (points_.size() > windows.back()) points_.pop_front();
    ++age_;
    learn();
    look_ahead();
  }
  [[nodiscard]] Line fit(std::size_t size) const {
    auto const n = static_cast<double>(size);
    auto const first = points_.end() - static_cast<std::ptrdiff_t>(size);
    double sum = 0;
    double moment = 0;
    for (std::size_t i = 0; i < size; ++i) {
      auto const value = first[static_cast<std::ptrdiff_t>(i)];
      sum += value;
      moment += (static_cast<double>(i) - (n - 1) / 2) * value;
    }
    Line line{.mean = sum / n, .squares = n * (n * n - 1) / 12};
    line.slope = moment / line.squares;
    line.end = line.mean + line.slope * (n - 1) / 2;
    return line;
  }

  /// The noise about a line, relative to its level, and how much neighbours have of it in common.
  void learn() {
    if (points_.size() < noise_window) return;
    auto const line = fit(noise_window);
    auto const first = points_.end() - static_cast<std::ptrdiff_t>(noise_window);
    double variance = 0;
    double covariance = 0;
    double before = 0;
    for (std::size_t i = 0; i < noise_window; ++i) {
      auto const at = static_cast<double>(i) - (noise_window - 1) / 2.0;
      auto const rest =
          (first[static_cast<std::ptrdiff_t>(i)] - line.mean - line.slope * at) / line.mean;
      variance += rest * rest / (noise_window - 2);
      covariance += rest * before / (noise_window - 1);
      before = rest;
    }
    // A mean at first, then it decays. What is far out is clipped: a step is not noise.
    auto const part = 1 / std::min(static_cast<double>(++fits_), memory);
    auto const limit = fits_ == 1 ? variance : 6 * std::max(variance_, min_variance);
    variance_ += part * (std::min(variance, limit) - variance_);
    covariance_ += part * (std::clamp(covariance, -limit, limit) - covariance_);
    if (!breach_) normal_ += part * (line.mean - normal_);
  }
  /// The standard deviation of a point for sums over many points: sqrt((1 + rho) / (1 - rho))
  /// times that of one. A fit to 15 points takes away 0.15 of rho.
  [[nodiscard]] double noise() const noexcept {
    constexpr double bias = 0.15;
    auto const variance = std::max(variance_, min_variance);
    auto const rho = std::clamp(covariance_ / variance + bias, 0.0, 0.8);
    return std::sqrt(variance * (1 + rho) / (1 - rho));
  }

  void look_ahead() {
    breach_.reset();
    if (auto const limit = objective(); limit && age_ >= warm_up)
      for (auto const size : windows)
        if (points_.size() >= size) consider(fit(size), size, *limit);
    agreed_ = breach_ ? agreed_ + 1 : 0;
  }
  void consider(Line const& line, std::size_t size, double limit) {
    auto const deviation = noise() * line.mean;
    auto const error = deviation / std::sqrt(line.squares);
    auto const deviations = line.slope / error;
    if (deviations < min_deviations || line.end >= limit) return;
    if ((limit - line.end) / line.slope * minutes(options_.point) > minutes(options_.horizon))
      return;
    auto const off = interval_deviations * deviation * 2 / std::sqrt(static_cast<double>(size));
    auto const slope_off = interval_deviations * error;
    auto const from = time_to(limit - line.end - off, line.slope + slope_off, sooner);
    auto const to = time_to(limit - line.end + off, line.slope - slope_off, later);
    if (!breach_)  // the shortest line comes first
      breach_ = {from, to, limit, line.end, line.slope / minutes(options_.point), deviations};
    breach_->from = std::min(breach_->from, from);
    breach_->to = std::max(breach_->to, to);
    breach_->deviations = std::max(breach_->deviations, deviations);
  }
  /// When a rise is climbed at this slope, times a factor. *Requires* slope > 0.
  [[nodiscard]] Time time_to(double rise, double slope, double factor) const noexcept {
    auto const points = std::clamp(factor * rise / slope, 0.0, 10'000.0);
    return poise::detail::saturating_add(now_,
                                         poise::detail::saturating_scale(options_.point, points));
  }
  static double minutes(Duration time) noexcept {
    return std::chrono::duration<double, std::ratio<60>>{time}.count();
  }

  ForecastOptions options_;
  std::vector<double> pending_;  // samples of the current point
  std::deque<double> points_;
  Time begin_{};  // of the current point
  Time now_{};
  std::size_t age_ = 0;   // points, ever
  std::size_t fits_ = 0;  // fits that the noise was learnt from
  double variance_ = 0;
  double covariance_ = 0;
  double normal_ = 0;
  std::optional<Breach> breach_;
  int agreed_ = 0;  // points in a row with a breach ahead
};

}  // namespace poise::inline v0_1_0::analysis
