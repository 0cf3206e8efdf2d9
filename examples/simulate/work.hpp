// SPDX-License-Identifier: MIT
#pragma once

// The service times of requests on a server of speed 1, and their random source.
//
// The distributions are written out because std's differ between standard libraries, and the same
// seed must give the same numbers everywhere. Times are doubles, in nanoseconds of virtual time.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <numbers>
#include <utility>
#include <vector>

#include <poise/random.hpp>

namespace simulate {

/// One stream of chance. Each use has its own, so that all policies meet the same requests.
class Dice {
 public:
  explicit Dice(std::uint64_t seed, std::uint64_t stream) noexcept
      : state_{poise::detail::mix(seed * 1000003 + stream)} {}

  std::uint64_t bits() noexcept {
    return poise::detail::wyrand(state_ += poise::detail::wyrand_step);
  }
  std::size_t below(std::size_t bound) noexcept {
    return static_cast<std::size_t>(
        poise::detail::high_half(static_cast<poise::detail::Wide>(bits()) * bound));
  }
  /// In (0, 1]: its logarithm is finite.
  double unit() noexcept { return static_cast<double>((bits() >> 11U) + 1) * 0x1p-53; }
  double exponential(double mean) noexcept { return -mean * std::log(unit()); }
  double normal() noexcept {
    auto const radius = std::sqrt(-2 * std::log(unit()));
    return radius * std::cos(2 * std::numbers::pi * unit());
  }

 private:
  std::uint64_t state_;
};

/// A distribution of work. Values, not classes: a scenario is data.
struct Work {
  enum class Kind { fixed, exponential, lognormal, bimodal, pareto, trace };
  Kind kind = Kind::fixed;
  double mean = 1e7;
  double sigma = 0;                                    // lognormal
  double share = 0;                                    // bimodal: of the low ones
  double low = 0;                                      // bimodal; pareto: the least value
  double high = 0;                                     // bimodal; pareto: the cap
  double alpha = 0;                                    // pareto
  std::shared_ptr<std::vector<float> const> values{};  // trace

  [[nodiscard]] double draw(Dice& random) const noexcept {
    switch (kind) {
      case Kind::fixed: return mean;
      case Kind::exponential: return random.exponential(mean);
      case Kind::lognormal: return mean * std::exp(sigma * random.normal() - sigma * sigma / 2);
      case Kind::bimodal: return random.unit() <= share ? low : high;
      case Kind::pareto: return std::min(low * std::pow(random.unit(), -1 / alpha), high);
      case Kind::trace: return static_cast<double>((*values)[random.below(values->size())]) * mean;
    }
    return mean;
  }

  /// The same shape with all times multiplied.
  [[nodiscard]] Work scaled(double factor) const {
    auto result = *this;
    for (auto* each : {&result.mean, &result.low, &result.high}) *each *= factor;
    return result;
  }

  static Work bimodal(double share, double low, double high) {
    return {.kind = Kind::bimodal,
            .mean = share * low + (1 - share) * high,
            .share = share,
            .low = low,
            .high = high};
  }
  /// Pareto values of exponent `alpha`, cut at `cap`, whose mean is `mean`.
  /// *Requires* alpha > 0 and not 1, mean < cap.
  static Work pareto(double alpha, double mean, double cap) {
    // The mean of min(x, cap) with least value a:  a + a^alpha (a^(1-alpha) - cap^(1-alpha)) /
    // (alpha - 1). It grows with a, from 0 to cap.
    auto const mean_from = [&](double a) {
      return a + a * (1 - std::pow(a / cap, alpha - 1)) / (alpha - 1);
    };
    double below = 0;
    double above = cap;
    for (int step = 0; step < 200; ++step) {
      auto const middle = (below + above) / 2;
      (mean_from(middle) < mean ? below : above) = middle;
    }
    return {.kind = Kind::pareto, .mean = mean, .low = above, .high = cap, .alpha = alpha};
  }
  /// Measured values in any unit; they keep their shape, and their mean is `mean`.
  static Work trace(std::vector<float> values, double mean) {
    double sum = 0;
    for (auto const each : values) sum += static_cast<double>(each);
    auto const unit = static_cast<double>(values.size()) / sum;
    for (auto& each : values) each = static_cast<float>(static_cast<double>(each) * unit);
    return {.kind = Kind::trace,
            .mean = mean,
            .values = std::make_shared<std::vector<float> const>(std::move(values))};
  }
};

}  // namespace simulate
