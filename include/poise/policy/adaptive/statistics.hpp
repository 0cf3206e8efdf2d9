// SPDX-License-Identifier: MIT
#pragma once

// Latency statistics of backends, from a client's own requests: sums of latencies that fade, the
// ages of requests in flight, the pool's mean, and how long samples count. policy/adaptive.hpp has
// the formulas.
//
// Numbers are stored without locks, and threads may lose each other's writes.

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

#include <poise/load/mean_latency.hpp>
#include <poise/sync/relaxed.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::detail::adaptive {

/// The statistics of one backend. On a cache line of its own: every pick and every finish writes
/// it.
struct alignas(64) LatencyStatistics {
  struct Sums {
    float latency = 0;  // ns
    float samples = 0;
  };

  sync::Relaxed<std::uint64_t> sums{std::bit_cast<std::uint64_t>(Sums{})};
  sync::Relaxed<Duration::rep> at{0};       // of the last sample
  sync::Relaxed<std::uint64_t> running{0};  // see RunningRequests
  sync::Relaxed<std::uint32_t> key{0};      // the backend's name on the list
  sync::Relaxed<std::uint32_t> slot{0};     // of the list, in which it was last written
  sync::Relaxed<std::uint32_t> successes{0};
  // The current batch of latencies, which the pool's mean does not contain yet:
  sync::Relaxed<float> recent{0};   // their sum
  sync::Relaxed<float> squares{0};  // the sum of their squares
  sync::Relaxed<float> before{0};   // the mean of the batch before them
  RejectedLoad rejected{};
};

/// The number of requests in flight and the sum of their start times, in one word, so that both
/// always belong together. The count has the low 20 bits, the sum the others, modulo 2^44, in units
/// of 64 ns. The sum of all ages is  count * now - sum,  exact below 2^43 units (6 days).
///
/// Plain loads and stores: threads may lose an entry, and a pick that is refused later leaves one
/// behind. Each finish compares the count with the backend's own. If they differ, it corrects the
/// count and keeps the mean age.
class RunningRequests {
 public:
  static void begin(LatencyStatistics& it, Time now) noexcept {
    it.running.store(it.running.load() + entry(now));
  }
  /// `left` requests are in flight beside the one that ends.
  static void end(LatencyStatistics& it, Time started, Time now, std::uint32_t left) noexcept {
    auto const word = it.running.load();
    auto const rest = word - entry(started);
    it.running.store(count(word) == left + 1 ? rest : corrected(word, now, left));
  }
  /// The ages of `in_flight` requests, in ns.
  [[gnu::always_inline]] static float age(std::uint64_t word, Time now,
                                          std::uint32_t in_flight) noexcept {
    if (in_flight == 0) return 0;
    if (count(word) != in_flight) [[unlikely]]
      word = corrected(word, now, in_flight);
    return static_cast<float>(std::max<std::int64_t>(units_of_age(word, now), 0)) * unit;
  }

 private:
  static constexpr unsigned count_bits = 20;
  static constexpr std::uint64_t count_mask = (1U << count_bits) - 1;
  static constexpr int unit = 64;

  static std::uint64_t entry(Time start) noexcept { return (units(start) << count_bits) + 1; }
  static std::uint64_t units(Time time) noexcept {
    return static_cast<std::uint64_t>(time.time_since_epoch().count()) / unit;
  }
  static std::uint64_t count(std::uint64_t word) noexcept { return word & count_mask; }
  static std::int64_t units_of_age(std::uint64_t word, Time now) noexcept {
    auto const sum = (count(word) * units(now) << count_bits) - (word & ~count_mask);
    return static_cast<std::int64_t>(sum) >> count_bits;
  }
  [[gnu::noinline, gnu::cold]] static std::uint64_t corrected(std::uint64_t word, Time now,
                                                              std::uint64_t left) noexcept {
    if (count(word) == 0) return left * entry(now);  // their ages are unknown
    auto const age = std::max<std::int64_t>(units_of_age(word, now), 0);
    auto const kept = static_cast<double>(age) / static_cast<double>(count(word));
    return left * entry(now) -
           (static_cast<std::uint64_t>(kept * static_cast<double>(left)) << count_bits);
  }
};

/// How many samples of a backend count, M. If speeds are constant, more samples are better. If
/// speeds wander, only the last few should count.
///
/// Consider two successive batches of b latencies of one backend. If its speed is constant, the
/// expected squared difference of their means is 2/b times the variance within. Any excess is
/// change. The best filter for a value that wanders with variance c a step, and is measured with
/// noise of variance v, has a memory of sqrt(v / c) steps.
class MemoryLength {
 public:
  /// Adds a pair of batches of `size`: the squared difference of their means and the variance of
  /// one of them, both relative to the mean.
  void compare(float difference, float variance, float size) noexcept {
    auto const pairs = std::min(pairs_.load() + 1, max_pairs);
    auto const gain = 1 / static_cast<float>(pairs);
    auto const differences = differences_.load() + gain * (difference - differences_.load());
    auto const noise = noise_.load() + gain * (variance - noise_.load());
    pairs_.store(pairs);
    differences_.store(differences);
    noise_.store(noise);
    if (pairs < max_pairs) return;
    auto const change = differences - usual * 2 / size * noise;  // over a batch
    auto const best = change > 0 ? std::sqrt(size * noise / change) : longest;
    memory_.store(std::clamp(best, shortest, longest));
  }
  [[nodiscard]] float samples() const noexcept { return memory_.load(); }
  /// samples() as a fraction of its maximum, 0 to 1.
  [[nodiscard]] float fraction() const noexcept { return samples() / longest; }

 private:
  static constexpr float shortest = 10;  // samples
  static constexpr float longest = 160;
  static constexpr std::uint32_t max_pairs = 64;  // in the means of differences and noise
  // Queues outlast a batch. So with constant speeds the squared differences are 1.0 to 1.3 times as
  // large as expected; with speeds that wander 1.6 times and more.
  static constexpr float usual = 1.4F;
  sync::Relaxed<float> differences_{0};
  sync::Relaxed<float> noise_{0};
  sync::Relaxed<std::uint32_t> pairs_{0};
  sync::Relaxed<float> memory_{longest};
};

/// The mean latency of successes, L, and values derived from it. On a cache line that is rarely
/// written.
class alignas(64) PoolLatency {
 public:
  PoolLatency() noexcept { derive(); }
  PoolLatency(PoolLatency const&) noexcept : PoolLatency{} {}
  PoolLatency& operator=(PoolLatency const&) = delete;

  [[nodiscard]] float get() const noexcept { return mean_.get(); }
  [[nodiscard]] bool known() const noexcept { return mean_.known(); }
  /// Latency of an unknown backend, k L.
  [[nodiscard]] float unknown() const noexcept { return unknown_.load(); }
  /// The largest factor of a sum when a sample is added, 1 - 1/M: sums then converge to M samples.
  [[nodiscard]] float most_kept() const noexcept { return most_kept_.load(); }
  /// When it last changed.
  [[nodiscard]] Duration::rep at() const noexcept { return at_.load(); }
  /// Compares the means of two batches of a backend; `variance` is that of the second.
  void compare(float before, float mean, float variance, float size) noexcept {
    auto const scale = 2 / (before + mean);
    auto const difference = scale * (mean - before);
    memory_.compare(difference * difference, scale * scale * variance, size);
  }
  [[gnu::noinline]] void add(float sample, Time now) noexcept {
    mean_.add(sample);
    derive();
    at_.store(now.time_since_epoch().count());
  }
  /// 1/d for sums last updated at `at`. Nothing fades within a mean latency. While requests are
  /// dense the processor predicts this branch, and the pick doesn't wait for the clock. A clock
  /// that was set back does not make old samples young.
  [[nodiscard]] float faded(Duration::rep at, Time now) const noexcept {
    auto const age = now.time_since_epoch().count() - at;
    auto const hold = mean_.hold();
    if (static_cast<std::uint64_t>(age) <= static_cast<std::uint64_t>(hold)) return 1;
    auto const z = static_cast<float>(std::abs(age) - hold) * per_window_.load();
    return z <= 0 ? 1 : fading(z);
  }

 private:
  static constexpr float window = 200;  // mean latencies until a sum has faded to 0.4
  static constexpr float cautious = 2;  // mean latencies of an unknown backend, at most
  void derive() noexcept {
    auto const mean = mean_.get();
    per_window_.store(1 / (window * mean));
    most_kept_.store(1 - 1 / memory_.samples());
    unknown_.store((1 + (cautious - 1) * std::sqrt(memory_.fraction())) * mean);
  }
  MeanLatency mean_{};
  sync::Relaxed<float> per_window_{0};
  sync::Relaxed<float> unknown_{0};
  sync::Relaxed<float> most_kept_{0};
  sync::Relaxed<Duration::rep> at_{0};
  MemoryLength memory_{};
};

/// The mean cost of backends that answer as quickly as the mean: how busy the pool is. Only picks
/// that explore write it, so it is rarely written.
class PoolLoad {
 public:
  void see(float cost) noexcept {
    auto const mean = mean_.load();
    mean_.store(mean + (cost - mean) / 8);
  }
  [[nodiscard]] float cost() const noexcept { return mean_.load(); }

 private:
  sync::Relaxed<float> mean_{0};
};

}  // namespace poise::inline v0_1_0::detail::adaptive
