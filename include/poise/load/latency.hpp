// SPDX-License-Identifier: MIT
#pragma once

// What the loads that look at latency share: an estimate per backend, the mean of all, and how both
// learn and fade. Users include ewma.hpp, peak_ewma.hpp or score.hpp.
//
// Every constant is relative to the pool's mean latency L: a second is for ever to a cache and
// nothing to a report generator.
//
//   learning    A success counts with its latency; a failure as at least 16 L (or `timeout`) and
//               its retry_after, so that who fails fast doesn't look fast. It isn't busy either, so
//               the failure of a backend with fewer requests in flight than the mean one counts
//               more, as if it were as busy. Other endings are no samples.
//   fading      What is not heard again fades towards L / 2 while it is read:
//                 L/2 + (estimate - L/2) * d,   d = 1 / (1 + z + z*z/2),   z = age / (10 L)
//               so that a backend that was slow is asked again, and one that was fast can't live on
//               its reputation. Towards 0 it would be a magnet after a pause, slow or not.
//   beginning   An unknown backend counts as heard at L when it is first looked at.
//   exploring   One pick in 64 goes to any backend, whatever its load.
//
// 10, 16, 1/2 and 64 are choices; docs/design/latency.md says what was measured beside them.

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>

#include <poise/candidates.hpp>
#include <poise/error.hpp>
#include <poise/policy.hpp>
#include <poise/sync/relaxed.hpp>
#include <poise/time.hpp>

namespace poise {

/// Settings of the loads that look at latency.
struct LatencyOptions {
  /// How long an estimate holds, in mean latencies of the pool. Above 0.
  double window = 10;
  /// What a failure counts as, at least; 0: 16 times the pool's mean latency.
  Duration timeout{};
};

namespace detail {

inline float nanoseconds(Duration time) noexcept { return static_cast<float>(time.count()); }

/// What is typical of all backends. Written seldom, so that its line stays shared among readers. A
/// copy starts afresh: measurements belong to one balancer.
class alignas(64) PoolLatency {
 public:
  explicit PoolLatency(double window) noexcept : window_{static_cast<float>(window)} {
    store(1e6F);  // 1 ms until somebody succeeds
  }
  PoolLatency(PoolLatency const& other) noexcept : PoolLatency{other.window_} {}
  PoolLatency& operator=(PoolLatency const& other) noexcept {
    window_ = other.window_;
    samples_.store(0);
    store(1e6F);
    return *this;
  }

  /// Latency of a success, in ns.
  [[nodiscard]] float mean() const noexcept { return mean_.load(); }
  /// Was an estimate renewed so lately that nothing of it has faded? While requests are dense this
  /// is foreseen, and the pick doesn't wait for the clock.
  [[nodiscard]] bool holds(Time renewed, Time now) const noexcept {
    return (now - renewed).count() <= hold_.load();
  }
  /// How much of it is left otherwise: d, see above.
  [[nodiscard]] float left(Time renewed, Time now) const noexcept {
    auto const age = now - renewed - Duration{hold_.load()};
    if (age <= Duration::zero()) return 1;
    auto const z = nanoseconds(age) / (window_ * mean());
    return 1 / (1 + z + z * z / 2);
  }
  /// Requests in flight on a backend, one that ends included.
  [[nodiscard]] float busy() const noexcept { return busy_.load(); }
  [[nodiscard]] bool known() const noexcept { return samples_.load() != 0; }

  /// Takes in the latency of a success, in ns, and how many were in flight. Threads that do so at
  /// once may lose a sample.
  [[gnu::noinline]] void add(float sample, float busy) noexcept {
    auto const samples = std::min(samples_.load() + 1, 16U);
    auto const gain = 1 / static_cast<float>(samples);
    auto const before = samples == 1 ? sample : mean();
    // One sample may be an outlier of any size: it counts as five means at most.
    store(before + (std::min(sample, 5 * before) - before) * gain);
    busy_.store(busy_.load() + (busy - busy_.load()) * gain);
    samples_.store(samples);
  }

 private:
  void store(float latency) noexcept {
    latency = std::clamp(latency, 1.0F, 1e18F);  // a clock that stands still measures zeros
    mean_.store(latency);
    hold_.store(static_cast<Duration::rep>(latency));
  }

  sync::Relaxed<Duration::rep> hold_{0};  // the mean again, as an integer
  sync::Relaxed<float> mean_{0};
  sync::Relaxed<float> busy_{1};
  sync::Relaxed<std::uint32_t> samples_{0};
  float window_;
};

/// What is known of one backend's latency. Two words, not one: a stamp of 32 bits that resolves
/// microseconds wraps within hours. Threads may tear them apart, and then one pick reads a value
/// with another one's age. A line of its own, because every request's end writes it.
struct alignas(64) LatencyEstimate {
  struct Value {
    float latency;          // ns; negative: unknown
    std::uint32_t samples;  // successes
  };
  sync::Relaxed<std::uint64_t> value{std::bit_cast<std::uint64_t>(Value{-1, 0})};
  sync::Relaxed<Duration::rep> at{never};

  /// So long ago that it holds for nobody.
  static constexpr auto never = std::numeric_limits<Duration::rep>::min() / 2;

  [[nodiscard]] Value load() const noexcept { return std::bit_cast<Value>(value.load()); }
  void store(Value now_known, Time now) noexcept {
    value.store(std::bit_cast<std::uint64_t>(now_known));
    at.store(now.time_since_epoch().count());
  }
  [[nodiscard]] Time heard() const noexcept { return Time{Duration{at.load()}}; }
};

/// Estimated latency, as Rule makes it of samples. The base of the loads; it has all hooks of one.
template <class Rule>
class LatencyLoad {
 public:
  using State = LatencyEstimate;
  static constexpr bool uses_time = true;
  static constexpr std::uint32_t explores_one_in = 64;

  /// *Errors* ConfigError.
  explicit LatencyLoad(LatencyOptions const& options = {})
      : timeout_{nanoseconds(options.timeout)}, pool_{options.window} {
    if (!(options.window > 0 && options.window < 1e9))
      throw ConfigError{"window is " + std::to_string(options.window) +
                        " mean latencies; it must be above 0 (10 is the default)"};
    if (options.timeout < Duration::zero())
      throw ConfigError{"timeout is " + std::to_string(options.timeout.count()) +
                        " ns; it must not be negative (0 stands for 16 mean latencies)"};
  }

  /// What one more request would wait, if all take turns.
  [[gnu::always_inline]] float operator()(Candidates const& candidates, std::size_t i,
                                          Context const& context) const noexcept {
    return latency(candidates.state<State>(i), context.now) *
           static_cast<float>(candidates.in_flight(i) + 1);
  }

  [[gnu::always_inline]] void on_finish(Finish& finish) const noexcept {
    auto& state = finish.state<State>();
    auto const ending = finish.outcome.ending;
    if (ending == Ending::success) {
      if (finish.latency) learn_success(finish, state);
    } else if (is_failure(ending)) {
      learn_failure(state, finish.latency.value_or(Duration{}), finish.outcome.retry_after,
                    finish.backend.in_flight(), finish.now);
    }
  }

  /// The estimate as it reads now, in ns.
  [[gnu::always_inline]] float latency(State& state, Time now) const noexcept {
    if (pool_.holds(state.heard(), now)) [[likely]]
      return state.load().latency;
    return faded(state, now);
  }

 protected:
  /// How much of what was known counts beside a new sample.
  [[nodiscard]] float keep(State const& state, Time now) const noexcept {
    // However dense the samples, one has a say of 1/16: a clock that stands still lets nothing age.
    return pool_.left(state.heard(), now) * (15.0F / 16);
  }
  [[nodiscard]] PoolLatency const& pool() const noexcept { return pool_; }

  /// *Requires* a latency.
  [[gnu::always_inline]] void learn_success(Finish const& finish, State& state) const noexcept {
    auto const sample = nanoseconds(*finish.latency);
    auto const samples = state.load().samples + 1;
    bool const is_power_of_two = (samples & (samples - 1)) == 0;
    if (is_power_of_two || samples % 16 == 0) [[unlikely]]
      pool_.add(sample, static_cast<float>(finish.backend.in_flight()));
    learn(state, sample, finish.now, 1);
  }

  [[gnu::always_inline]] void learn(State& state, float sample, Time now,
                                    std::uint32_t successes) const noexcept {
    auto const old = state.load();
    // A coarse clock measures zeros: no sample is better than 16 times the mean, or than 1 ns.
    sample = std::max(sample, std::max(pool_.mean() / 16, 1.0F));
    auto const latency =
        old.latency < 0 ? sample : Rule::combine(old.latency, sample, keep(state, now));
    state.store({latency, old.samples + successes}, now);
  }

 private:
  [[gnu::noinline]] float faded(State& state, Time now) const noexcept {
    auto const known = state.load().latency;
    if (known < 0) return introduce(state, now);
    auto const rest = pool_.mean() / 2;
    return rest + (known - rest) * pool_.left(state.heard(), now);
  }

  float introduce(State& state, Time now) const noexcept {
    auto const latency = pool_.mean();
    if (pool_.known()) state.store({latency, 0}, now);
    return latency;
  }

  // By values: a Finish that had to lie in memory for this would cost every success 6 ns.
  [[gnu::noinline]] void learn_failure(State& state, Duration latency, Duration retry_after,
                                       std::uint32_t in_flight, Time now) const noexcept {
    auto const least = timeout_ > 0 ? timeout_ : 16 * pool_.mean();
    auto const sample = std::max(least, nanoseconds(std::max(latency, retry_after)));
    auto const idleness = pool_.busy() / static_cast<float>(std::max(in_flight, 1U));
    learn(state, sample * std::max(idleness, 1.0F), now, 0);
  }

  float timeout_;
  mutable PoolLatency pool_;
};

}  // namespace detail

}  // namespace poise
