// SPDX-License-Identifier: MIT
#pragma once

// The common part of the loads that measure latency: an estimate per backend, the mean of all, and
// how both learn and fade. Users include ewma.hpp, peak_ewma.hpp or score.hpp.
//
// Every constant is relative to the pool's mean latency L: see mean_latency.hpp.
//
//   learning    A success is a sample of its latency. A failure is a sample of at least 16 L (or
//               `timeout`) and of its retry_after, so that a backend that fails fast doesn't look
//               fast. Such a backend has few requests in flight, too. So the sample is multiplied
//               by (mean requests in flight / the backend's own) if that is above 1. A rejection
//               counts as the answer of a mean backend (RejectedLoad). Other results don't count.
//   fading      An estimate without new samples fades towards L / 2 when it is read:
//                 L/2 + (estimate - L/2) * d,   d = 1 / (1 + z + z*z/2),   z = age / (10 L)
//               So a backend that was slow is tried again, and one that was fast must prove it
//               again. If it faded towards 0, every backend would attract all traffic after a
//               pause.
//   beginning   The estimate of an unknown backend is L when it is first read.
//   exploring   One pick in 64 goes to any backend, whatever its load.
//
// 10, 16, 1/2 and 64 are choices; docs/design/latency.md says what was measured beside them.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>

#include <poise/base/check.hpp>
#include <poise/candidates.hpp>
#include <poise/load/mean_latency.hpp>
#include <poise/policy.hpp>
#include <poise/sync/relaxed.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0 {

/// Settings of the loads that measure latency.
struct LatencyOptions {
  /// How long an estimate holds, in mean latencies of the pool. Above 0.
  double window = 10;
  /// A failure counts as at least this latency; 0: 16 times the pool's mean latency.
  Duration timeout{};
};

namespace detail {

inline float nanoseconds(Duration time) noexcept { return static_cast<float>(time.count()); }

/// Means over all backends. Rarely written, so that its cache line stays shared among readers. A
/// copy starts empty: measurements belong to one balancer.
class alignas(64) PoolLatency {
 public:
  explicit PoolLatency(double window) noexcept : window_{static_cast<float>(window)} {}
  PoolLatency(PoolLatency const& other) noexcept : PoolLatency{other.window_} {}
  PoolLatency& operator=(PoolLatency const& other) noexcept {
    window_ = other.window_;
    mean_.reset();
    return *this;
  }

  /// Latency of a success, in ns.
  [[nodiscard]] float mean() const noexcept { return mean_.get(); }
  /// True if an estimate is too young to have faded. While requests are dense the processor
  /// predicts this branch, and the pick doesn't wait for the clock.
  [[nodiscard]] bool holds(Time renewed, Time now) const noexcept {
    return (now - renewed).count() <= mean_.hold();
  }
  /// The least sample: a sixteenth of the mean, and at least 1 ns. A coarse clock measures zeros.
  [[nodiscard]] Duration::rep least() const noexcept { return mean_.hold() / 16 + 1; }
  /// The fraction of an estimate that is left: d, see above.
  [[nodiscard]] float left(Time renewed, Time now) const noexcept {
    auto const age = now - renewed - Duration{mean_.hold()};
    if (age <= Duration::zero()) return 1;
    return 1 / fading(nanoseconds(age) / (window_ * mean()));
  }
  /// Mean requests in flight of a backend when one completes, that one included.
  [[nodiscard]] float busy() const noexcept { return busy_.load(); }
  [[nodiscard]] bool known() const noexcept { return mean_.known(); }

  /// The mean estimate of backends that answer, in ns; at least mean(). With PeakEwma it is higher.
  [[nodiscard]] float estimate() const noexcept { return std::max(estimate_.load(), mean()); }

  /// Adds a success: its latency in ns, the requests in flight, and the backend's estimate before.
  [[gnu::noinline]] void add(float sample, float busy, float estimate) noexcept {
    // A sample counts as five means at most, so that an outlier does little harm.
    auto const gain = mean_.add(known() ? std::min(sample, 5 * mean()) : sample);
    busy_.store(busy_.load() + (busy - busy_.load()) * gain);
    estimate_.store(estimate_.load() + (std::max(estimate, 0.0F) - estimate_.load()) * gain);
  }

 private:
  MeanLatency mean_{};
  sync::Relaxed<float> busy_{1};
  sync::Relaxed<float> estimate_{0};
  float window_;
};

/// The estimated latency of one backend. Integers, because a conversion to float would take longer
/// than the rest of a pick's arithmetic. The latency shares a word with the number of successes:
/// that saves a store before the atomic add that completes the request. The time of the last sample
/// is a second word: 32 bits of microseconds would wrap within hours. Two threads may write the two
/// words in mixed order; then picks read an estimate with a wrong age until the next sample. It has
/// a cache line of its own, because every completed request writes it.
struct alignas(64) LatencyEstimate {
  static constexpr Duration::rep unknown = -1;
  /// A time so long ago that PoolLatency::holds() is false for it.
  static constexpr auto never = std::numeric_limits<Duration::rep>::min() / 2;

  /// A latency in ns, and successes modulo 2^23.
  class Value {
   public:
    explicit Value(std::int64_t word) noexcept : word_{word} {}
    Value(Duration::rep latency, std::uint32_t successes) noexcept
        : word_{latency << success_bits | (successes & success_mask)} {}
    [[nodiscard]] Duration::rep latency() const noexcept { return word_ >> success_bits; }
    [[nodiscard]] std::uint32_t successes() const noexcept {
      return static_cast<std::uint32_t>(word_) & success_mask;
    }
    [[nodiscard]] std::int64_t word() const noexcept { return word_; }

   private:
    static constexpr unsigned success_bits = 23;
    static constexpr std::uint32_t success_mask = (1U << success_bits) - 1;
    std::int64_t word_;
  };

  [[nodiscard]] Value load() const noexcept { return Value{value_.load()}; }
  [[nodiscard]] Duration::rep latency() const noexcept { return load().latency(); }
  [[nodiscard]] Time updated() const noexcept { return Time{Duration{at_.load()}}; }
  [[gnu::always_inline]] void store(Value value, Time now) noexcept {
    value_.store(value.word());
    renew(now);
  }
  void renew(Time now) noexcept { at_.store(now.time_since_epoch().count()); }

 private:
  // Not at the beginning of the cache line, where picks read other data: see Lanes::Counter.
  [[maybe_unused]] std::int64_t unused_{};

 public:
  RejectedLoad rejected{};

 private:
  sync::Relaxed<std::int64_t> value_{Value{unknown, 0}.word()};
  [[maybe_unused]] std::int64_t unused_too_{};
  sync::Relaxed<Duration::rep> at_{never};
};

/// The base of the loads: a latency estimate, with all hooks of a load. Rule says which samples
/// replace the estimate.
template <class Rule>
class LatencyLoad {
 public:
  using State = LatencyEstimate;
  static constexpr bool uses_time = true;
  static constexpr std::uint32_t explores_one_in = 64;

  /// *Errors* ConfigError.
  explicit LatencyLoad(LatencyOptions const& options = {})
      : timeout_{nanoseconds(options.timeout)}, pool_{options.window} {
    check_positive("window of LatencyOptions", options.window,
                   "use a number of mean latencies above 0; 10 is the default");
    if (options.window >= 1e9)
      reject_option("window of LatencyOptions", in_words(options.window),
                    "use less than 1e9 mean latencies; 10 is the default");
    check_not_negative("timeout of LatencyOptions", options.timeout,
                       "use 0 for 16 mean latencies, or a duration above 0");
  }

  /// The expected time of one more request, in ns, if the backend serves its requests in turn.
  [[gnu::always_inline]] Duration::rep operator()(Candidates const& candidates, std::size_t i,
                                                  Context const& context) const noexcept {
    return latency(candidates.state<State>(i), context.now, context.rehearsal() == nullptr) *
           (Duration::rep{candidates.in_flight(i)} + 1);
  }

  [[gnu::always_inline]] void on_finish(Finish& finish) const noexcept {
    auto& state = finish.state<State>();
    auto const result = finish.outcome.result;
    if (result == Result::success) {
      if (finish.latency) learn_success(finish, state);
    } else if (is_failure(result)) {
      learn_failure(state, finish.latency.value_or(Duration{}), finish.outcome.retry_after,
                    finish.backend.in_flight(), finish.now);
    } else if (result == Result::rejected) {
      learn_rejection(state, finish.backend.in_flight(), finish.now);
    }
  }

  /// The estimate now, faded, in ns.
  // In a rehearsal it does not keep the estimate that an unknown backend gets.
  [[gnu::always_inline]] Duration::rep latency(State& state, Time now,
                                               bool keeps = true) const noexcept {
    if (pool_.holds(state.updated(), now)) [[likely]]
      return state.latency();
    return faded(state, now, keeps);
  }

 protected:
  /// The weight of the old estimate beside a new sample.
  [[nodiscard]] float keep(State const& state, Time now) const noexcept {
    // Each sample has a weight of at least 1/16, however dense samples are: a clock that stands
    // still would let no estimate age.
    return pool_.left(state.updated(), now) * (15.0F / 16);
  }
  [[nodiscard]] PoolLatency const& pool() const noexcept { return pool_; }

  /// *Requires* a latency.
  [[gnu::always_inline]] void learn_success(Finish const& finish, State& state) const noexcept {
    auto const sample = finish.latency->count();
    auto const known = state.load();
    auto const successes = known.successes() + 1;
    bool const is_power_of_two = (successes & (successes - 1)) == 0;
    if (is_power_of_two || successes % 16 == 0) [[unlikely]]
      pool_.add(static_cast<float>(sample), static_cast<float>(finish.backend.in_flight()),
                static_cast<float>(known.latency()));
    learn(state, {known.latency(), successes}, sample, finish.now);
  }

  /// Makes a new estimate from the old one and a sample.
  [[gnu::always_inline]] void learn(State& state, LatencyEstimate::Value known,
                                    Duration::rep sample, Time now) const noexcept {
    auto const old = known.latency();
    if (sample < pool_.least() || sample > longest_latency) [[unlikely]]
      sample = std::clamp(sample, pool_.least(), longest_latency);
    auto mixed = old + ((sample - old) >> 4U);
    if (old == State::unknown || !pool_.holds(state.updated(), now)) [[unlikely]]
      mixed = old == State::unknown ? sample : sample + scaled(old - sample, keep(state, now));
    // Whether a sample replaces the estimate is random, so a branch would be mispredicted. The mask
    // is all ones if it does.
    auto const mask = -Duration::rep{Rule::replaces(old, sample)};
    state.store({mixed ^ ((mixed ^ sample) & mask), known.successes()}, now);
  }

 private:
  [[gnu::noinline]] Duration::rep faded(State& state, Time now, bool keeps) const noexcept {
    auto const known = state.load();
    auto const latency = known.latency();
    if (latency == State::unknown) return introduce(state, known, now, keeps);
    auto const rest = static_cast<Duration::rep>(pool_.mean() / 2);
    return rest + scaled(latency - rest, pool_.left(state.updated(), now));
  }

  Duration::rep introduce(State& state, LatencyEstimate::Value known, Time now,
                          bool keeps) const noexcept {
    auto const latency = static_cast<Duration::rep>(pool_.mean());
    if (keeps && pool_.known()) state.store({latency, known.successes()}, now);
    return latency;
  }

  static Duration::rep scaled(Duration::rep time, float by) noexcept {
    return static_cast<Duration::rep>(static_cast<float>(time) * by);
  }

  // Takes values: a Finish passed by reference would live in memory and be written at every
  // success.
  [[gnu::noinline]] void learn_failure(State& state, Duration latency, Duration retry_after,
                                       std::uint32_t in_flight, Time now) const noexcept {
    auto const least = timeout_ > 0 ? timeout_ : 16 * pool_.mean();
    auto const sample = std::max(least, nanoseconds(std::max(latency, retry_after)));
    auto const idleness = pool_.busy() / static_cast<float>(std::max(in_flight, 1U));
    auto const charged = std::min(sample * std::max(idleness, 1.0F), 1e18F);
    learn(state, state.load(), static_cast<Duration::rep>(charged), now);
  }

  // The load becomes that of a mean backend with the same traffic: see RejectedLoad. A worse
  // estimate stays as it is.
  [[gnu::noinline, gnu::cold]] void learn_rejection(State& state, std::uint32_t in_flight,
                                                    Time now) const noexcept {
    if (!pool_.known()) return;
    auto const busy = static_cast<float>(std::max(in_flight, 1U));
    auto const as_if = busy + state.rejected.add(now, pool_.mean());
    auto const sample = static_cast<Duration::rep>(pool_.estimate() * (as_if / busy));
    learn(state, state.load(), std::max(latency(state, now), sample), now);
  }

  float timeout_;
  mutable PoolLatency pool_;
};

}  // namespace detail

}  // namespace poise::inline v0_1_0
