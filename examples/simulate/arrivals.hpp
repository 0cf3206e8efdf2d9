// SPDX-License-Identifier: MIT
#pragma once

// The arrival times of requests.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <memory>
#include <vector>

#include "work.hpp"

namespace simulate {

struct Arrivals {
  enum class Kind { poisson, batch, bursty, recorded };
  Kind kind = Kind::poisson;
  double batch = 1;     // mean size of a batch
  double high = 1;      // bursty: times the mean rate ...
  double low = 1;       // ... and between the bursts
  double period = 1e9;  // ... of a burst and a pause; bursts last so long that the mean is the rate
  std::shared_ptr<std::vector<double> const> gaps{};  // recorded: mean 1
};

/// Draws one arrival after the other.
class ArrivalStream {
 public:
  ArrivalStream(Arrivals kind, double rate, std::uint64_t seed)
      : kind_{std::move(kind)}, gap_{1 / rate}, random_{seed, 1} {}

  /// The time of the next request, never before the last one.
  double next() noexcept {
    switch (kind_.kind) {
      case Arrivals::Kind::poisson: return now_ += random_.exponential(gap_);
      case Arrivals::Kind::batch: return batched();
      case Arrivals::Kind::bursty: return bursty();
      case Arrivals::Kind::recorded:
        return now_ += (*kind_.gaps)[place_++ % kind_.gaps->size()] * gap_;
    }
    return now_;
  }

 private:
  double batched() noexcept {
    // Sizes are geometric: after each request the batch goes on with probability 1 - 1/mean.
    if (random_.unit() > 1 - 1 / kind_.batch) now_ += random_.exponential(gap_ * kind_.batch);
    return now_;
  }

  /// Poisson of a rate that changes: unit exponentials, spent at the rate of each stretch.
  double bursty() noexcept {
    auto const high_part = kind_.high > kind_.low ? (1 - kind_.low) / (kind_.high - kind_.low) : 1;
    auto left = random_.exponential(gap_);
    // The mean rate of a period is 1.
    auto const whole = std::floor(left / kind_.period) * kind_.period;
    now_ += whole;
    left -= whole;
    for (;;) {
      auto const start = std::floor(now_ / kind_.period) * kind_.period;
      bool const high = now_ < start + high_part * kind_.period;
      auto const until = start + (high ? high_part : 1) * kind_.period;
      auto const rate = high ? kind_.high : kind_.low;
      if ((until - now_) * rate >= left) return now_ += left / rate;
      left -= (until - now_) * rate;
      now_ = std::max(until, std::nextafter(now_, until + 1));
    }
  }

  Arrivals kind_;
  double gap_;
  Dice random_;
  double now_ = 0;
  std::size_t place_ = 0;
};

}  // namespace simulate
