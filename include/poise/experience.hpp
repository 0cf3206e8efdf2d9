// SPDX-License-Identifier: MIT
#pragma once

// What a client knows of backends by its own requests: sums of latencies that fade, the ages of
// what runs, the mean of all, and how long any of this is worth something. The policy that lives by
// it is policy/adaptive.hpp, which has the formulas.
//
// Numbers are stored without locks, and threads may lose each other's writes.

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

#include <poise/sync/relaxed.hpp>
#include <poise/time.hpp>

namespace poise::detail {

/// What is known of one backend. A line of its own: every pick and every end writes one.
struct alignas(64) Experience {
  struct Sums {
    float latency = 0;  // ns
    float samples = 0;
  };

  sync::Relaxed<std::uint64_t> sums{std::bit_cast<std::uint64_t>(Sums{})};
  sync::Relaxed<Duration::rep> at{0};       // of the last sample
  sync::Relaxed<std::uint64_t> running{0};  // see Running
  sync::Relaxed<std::uint32_t> key{0};      // the backend's name on the board
  sync::Relaxed<std::uint32_t> slot{0};     // where it was last put there
  sync::Relaxed<std::uint32_t> successes{0};
  // Of latencies that the mean has not heard of:
  sync::Relaxed<float> recent{0};   // their sum
  sync::Relaxed<float> squares{0};  // the sum of their squares
  sync::Relaxed<float> before{0};   // the mean of the batch before them
};

/// How many requests run and the sum of their starts, in one word, so that both always belong
/// together: the count in the low 20 bits, the sum above, modulo 2^44, in units of 64 ns. The age
/// of all is  count * now - sum,  exact while it is below 2^43 units (6 days).
///
/// Plain loads and stores: threads may lose an entry, and a pick that is refused after all leaves
/// one behind. Each end compares with the backend's own count, and keeps the mean age if it
/// differs.
class Running {
 public:
  static void begin(Experience& it, Time now) noexcept {
    it.running.store(it.running.load() + entry(now));
  }
  /// `left` requests are in flight beside the one that ends.
  static void end(Experience& it, Time started, Time now, std::uint32_t left) noexcept {
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
    if (count(word) == 0) return left * entry(now);  // nothing is known of them
    auto const age = std::max<std::int64_t>(units_of_age(word, now), 0);
    auto const kept = static_cast<double>(age) / static_cast<double>(count(word));
    return left * entry(now) -
           (static_cast<std::uint64_t>(kept * static_cast<double>(left)) << count_bits);
  }
};

/// How long experience with a backend is worth something, M, in samples. With constant speeds the
/// more the better; with speeds that wander only the last few count.
///
/// Two batches of b latencies, one after the other, of one backend: if nothing but chance were
/// between them, the squared difference of their means would be 2/b times the variance within. What
/// it is more than that is change. A filter for a value that wanders by c a step and is seen with
/// noise v does best with a memory of sqrt(v / c) steps.
class Steadiness {
 public:
  /// The squared difference and the variance, both relative to the mean; for batches of `size`.
  void compare(float difference, float variance, float size) noexcept {
    auto const pairs = std::min(pairs_.load() + 1, most_pairs);
    auto const share = 1 / static_cast<float>(pairs);
    auto const differences = differences_.load() + share * (difference - differences_.load());
    auto const noise = noise_.load() + share * (variance - noise_.load());
    pairs_.store(pairs);
    differences_.store(differences);
    noise_.store(noise);
    if (pairs < most_pairs) return;
    auto const change = differences - usual * 2 / size * noise;  // over a batch
    auto const best = change > 0 ? std::sqrt(size * noise / change) : longest;
    memory_.store(std::clamp(best, shortest, longest));
  }
  [[nodiscard]] float memory() const noexcept { return memory_.load(); }
  /// Of what is possible, 0 to 1.
  [[nodiscard]] float share() const noexcept { return memory() / longest; }

 private:
  static constexpr float shortest = 10;  // samples
  static constexpr float longest = 160;
  static constexpr std::uint32_t most_pairs = 64;  // that the means are over
  // Queues outlast a batch, so that batches differ by 1.0 to 1.3 times what chance alone would do;
  // with speeds that wander by 1.6 and more.
  static constexpr float usual = 1.4F;
  sync::Relaxed<float> differences_{0};
  sync::Relaxed<float> noise_{0};
  sync::Relaxed<std::uint32_t> pairs_{0};
  sync::Relaxed<float> memory_{longest};
};

/// The mean latency of successes, L, and what follows from it. On a line that is written seldom.
class alignas(64) MeanLatency {
 public:
  MeanLatency() noexcept { store(1e6F); }  // 1 ms until somebody succeeds
  MeanLatency(MeanLatency const&) noexcept : MeanLatency{} {}
  MeanLatency& operator=(MeanLatency const&) = delete;

  [[nodiscard]] float get() const noexcept { return mean_.load(); }
  [[nodiscard]] bool known() const noexcept { return samples_.load() != 0; }
  /// Latency of an unknown backend, k L.
  [[nodiscard]] float unknown() const noexcept { return unknown_.load(); }
  /// Of a sum, when a sample is added: it leaves M samples in the end.
  [[nodiscard]] float most_kept() const noexcept { return most_kept_.load(); }
  /// When it last changed.
  [[nodiscard]] Duration::rep at() const noexcept { return at_.load(); }
  /// The means of two batches of a backend, and the variance of the second.
  void compare(float before, float mean, float variance, float size) noexcept {
    auto const scale = 2 / (before + mean);
    auto const difference = scale * (mean - before);
    steadiness_.compare(difference * difference, scale * scale * variance, size);
  }
  [[gnu::noinline]] void add(float sample, Time now) noexcept {
    auto const samples = std::min(samples_.load() + 1, longest);
    auto const mean = samples == 1 ? 0 : get();
    // A clock that stands still measures zeros.
    store(std::max(mean + (sample - mean) / static_cast<float>(samples), 1.0F));
    samples_.store(samples);
    at_.store(now.time_since_epoch().count());
  }
  /// 1/d, see above, for sums last touched at `at`. Where requests are dense nothing fades within
  /// a mean latency; that is foreseen, and the pick doesn't wait for the clock. A clock that was
  /// set back does not make old news fresh.
  [[nodiscard]] float faded(Duration::rep at, Time now) const noexcept {
    auto const age = now.time_since_epoch().count() - at;
    auto const hold = hold_.load();
    if (static_cast<std::uint64_t>(age) <= static_cast<std::uint64_t>(hold)) return 1;
    auto const z = static_cast<float>(std::abs(age) - hold) * per_window_.load();
    return z <= 0 ? 1 : 1 + z + z * z / 2;
  }

 private:
  static constexpr std::uint32_t longest = 16;  // of means over 16 successes
  static constexpr float window = 200;          // means until a sum has faded to 0.4
  static constexpr float cautious = 2;          // mean latencies of an unknown backend, at most
  void store(float mean) noexcept {
    mean_.store(mean);
    per_window_.store(1 / (window * mean));
    most_kept_.store(1 - 1 / steadiness_.memory());
    unknown_.store((1 + (cautious - 1) * std::sqrt(steadiness_.share())) * mean);
    hold_.store(static_cast<Duration::rep>(mean));
  }
  sync::Relaxed<float> mean_{0};
  sync::Relaxed<float> per_window_{0};
  sync::Relaxed<float> unknown_{0};
  sync::Relaxed<float> most_kept_{0};
  sync::Relaxed<Duration::rep> hold_{0};  // the mean again, as an integer
  sync::Relaxed<std::uint32_t> samples_{0};
  sync::Relaxed<Duration::rep> at_{0};
  Steadiness steadiness_{};
};

/// What an ordinary backend costs, in the mean: how busy they all are. Only picks that explore
/// look, so it is written seldom.
class Crowd {
 public:
  void see(float cost) noexcept {
    auto const mean = mean_.load();
    mean_.store(mean + (cost - mean) / 8);
  }
  [[nodiscard]] float cost() const noexcept { return mean_.load(); }

 private:
  sync::Relaxed<float> mean_{0};
};

}  // namespace poise::detail
