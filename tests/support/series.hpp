// SPDX-License-Identifier: MIT
#pragma once

// Latencies as services have them, for tests of the analysis: log-normal noise, a daily wave, drift
// that all share and drift of each backend's own, and short spikes. Sampled once a second.

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <string>
#include <vector>

#include <poise/analysis/sample.hpp>
#include <poise/random.hpp>

namespace poise::test {

/// The sum of four uniform numbers would lack the tails that detectors must bear: Box-Muller.
class Normal {
 public:
  explicit Normal(std::uint64_t seed) : state_{detail::mix(seed)} {}
  double uniform() {
    state_ += detail::wyrand_step;
    return static_cast<double>(detail::wyrand(state_) >> 11U) * 0x1p-53;
  }
  double operator()() {
    if (spare_ok_) {
      spare_ok_ = false;
      return spare_;
    }
    auto const radius = std::sqrt(-2 * std::log(1 - uniform()));
    auto const angle = 2 * std::numbers::pi * uniform();
    spare_ = radius * std::sin(angle);
    spare_ok_ = true;
    return radius * std::cos(angle);
  }

 private:
  std::uint64_t state_;
  double spare_ = 0;
  bool spare_ok_ = false;
};

struct SeriesOptions {
  double noise = 0.1;
  double own_drift = 0.04;
  double common_drift = 0.03;
  double drift_seconds = 60;
  double wave = 0.3;
  double spikes_per_day = 20;
  double spread = 0.3;  ///< Backends differ from each other by this, for ever.
  std::uint64_t requests = 100;
};

/// A pool whose latencies can be disturbed: factor[i] multiplies those of backend i.
class LatencySeries {
 public:
  LatencySeries(std::size_t size, std::uint64_t seed, SeriesOptions options = {})
      : options_{options}, normal_{seed}, drift_(size), base_(size), spike_(size), factor(size, 1) {
    for (std::size_t i = 0; i < size; ++i) {
      ids_.push_back("backend-" + std::to_string(i));
      drift_[i] = options_.own_drift * normal_();
      base_[i] = options_.spread * normal_();
    }
    phase_ = normal_.uniform();
    for (auto const& id : ids_) samples_.push_back({.id = id});
  }
  LatencySeries(LatencySeries const&) = delete;
  LatencySeries& operator=(LatencySeries const&) = delete;

  analysis::PoolSample next() {
    now_ += Duration{1'000'000'000};
    ++second_;
    auto const keep = std::exp(-1 / options_.drift_seconds);
    auto const step = std::sqrt(1 - keep * keep);
    common_ = keep * common_ + step * options_.common_drift * normal_();
    auto const angle = 2 * std::numbers::pi * (static_cast<double>(second_) / 86400 + phase_);
    wave_ = 1 + options_.wave * std::sin(angle);
    auto const shared = common_ + std::log(wave_);
    for (std::size_t i = 0; i < samples_.size(); ++i) {
      drift_[i] = keep * drift_[i] + step * options_.own_drift * normal_();
      if (spike_[i] > 0) --spike_[i];
      else if (normal_.uniform() < options_.spikes_per_day / 86400)
        spike_[i] = 1 + static_cast<int>(normal_.uniform() * 3);
      auto const log_latency = base_[i] + shared + drift_[i] + options_.noise * normal_() +
                               (spike_[i] > 0 ? std::log(3.0) : 0);
      samples_[i].latency = 0.01 * factor[i] * std::exp(log_latency);
      samples_[i].requests = options_.requests;
    }
    return {now_, samples_};
  }
  /// The latency without noise, drift and spikes.
  [[nodiscard]] double level(std::size_t i) const {
    return 0.01 * factor[i] * wave_ * std::exp(base_[i]);
  }

 private:
  SeriesOptions options_;
  Normal normal_;
  std::vector<double> drift_;
  std::vector<double> base_;
  std::vector<int> spike_;
  std::vector<std::string> ids_;
  std::vector<analysis::BackendSample> samples_;
  double common_ = 0;
  double phase_ = 0;
  double wave_ = 1;
  std::int64_t second_ = 0;
  Time now_{};

 public:
  std::vector<double> factor;
};

}  // namespace poise::test
