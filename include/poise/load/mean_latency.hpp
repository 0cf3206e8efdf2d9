// SPDX-License-Identifier: MIT
#pragma once

// The mean latency of a pool, L: the unit of time of every policy and load that measures latency.
// One second is very long for a cache and very short for a report generator. So poise measures ages
// and latencies in L.

#include <algorithm>
#include <cstdint>

#include <poise/sync/relaxed.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::detail {

/// A latency counts as at most 9 minutes. Multiplied by 2^23, the maximum of requests in flight, it
/// still fits into 63 bits.
inline constexpr auto longest_latency = Duration::rep{1} << 39U;

/// 1/d, the divisor of a measurement of age z. d = 1 / (1 + z + z*z/2), nearly e^-z.
[[nodiscard, gnu::always_inline]] inline float fading(float z) noexcept {
  return 1 + z + z * z / 2;
}

/// The mean of about the last 16 samples, in ns; 1 ms before the first sample.
///
/// *Threads* any; threads that add at once may lose a sample.
class MeanLatency {
 public:
  MeanLatency() noexcept { store(1e6F); }

  [[nodiscard]] float get() const noexcept { return mean_.load(); }
  /// The mean as an integer. An estimate younger than that does not fade.
  [[nodiscard]] Duration::rep hold() const noexcept { return hold_.load(); }
  [[nodiscard]] bool known() const noexcept { return samples_.load() != 0; }

  /// Returns the weight of the new sample in the mean; 1 for the first sample.
  float add(float sample) noexcept {
    auto const samples = std::min(samples_.load() + 1, max_samples);
    auto const before = samples == 1 ? 0 : get();
    store(before + (sample - before) / static_cast<float>(samples));
    samples_.store(samples);
    return 1 / static_cast<float>(samples);
  }
  void reset() noexcept {
    samples_.store(0);
    store(1e6F);
  }

 private:
  static constexpr std::uint32_t max_samples = 16;

  void store(float mean) noexcept {
    // At least 1 ns: a clock that stands still measures zeros.
    mean = std::clamp(mean, 1.0F, static_cast<float>(longest_latency));
    mean_.store(mean);
    hold_.store(static_cast<Duration::rep>(mean));
  }

  sync::Relaxed<Duration::rep> hold_{0};
  sync::Relaxed<float> mean_{0};
  sync::Relaxed<std::uint32_t> samples_{0};
};

/// How many requests a rejecting backend would have in flight if a rejection took as long as a mean
/// answer: rate of rejections x L, by Little's law.
///
/// A rejection takes no work. So a backend that rejects every request at once is never busy and
/// would attract the traffic of others. With these requests added it looks like a mean backend, and
/// gets the traffic of one.
class RejectedLoad {
 public:
  /// Adds a rejection and returns the number without it: a single rejection changes nothing.
  float add(Time now, float mean_latency) noexcept {
    auto const at = now.time_since_epoch().count();
    auto const age = static_cast<float>(std::max<Duration::rep>(at - at_.load(), 0));
    auto const count = count_.load() / fading(age / (window * mean_latency)) + 1;
    count_.store(count);
    at_.store(at);
    return (count - 1) / window;  // without this one
  }
  /// The number now. 0 if there never was one.
  [[nodiscard]] float get(Time now, float mean_latency) const noexcept {
    auto const count = count_.load();
    if (count == 0) return 0;
    auto const age = std::max<Duration::rep>(now.time_since_epoch().count() - at_.load(), 0);
    return count / fading(static_cast<float>(age) / (window * mean_latency)) / window;
  }

 private:
  static constexpr float window = 10;  // mean latencies over which the rate is averaged
  sync::Relaxed<Duration::rep> at_{0};
  sync::Relaxed<float> count_{0};
};

}  // namespace poise::inline v0_1_0::detail
