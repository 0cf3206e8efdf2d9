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
#include <array>
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

/// What a latency counts as, at most: 9 minutes. Times 2^23, the most that can be in flight, it
/// still fits 63 bits.
inline constexpr auto longest_latency = Duration::rep{1} << 39U;

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
  /// No sample is better than 16 times the mean, or than 1 ns: a coarse clock measures zeros.
  [[nodiscard]] Duration::rep least() const noexcept { return hold_.load() / 16 + 1; }
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
    // At least 1 ns: a clock that stands still measures zeros.
    latency = std::clamp(latency, 1.0F, static_cast<float>(longest_latency));
    mean_.store(latency);
    hold_.store(static_cast<Duration::rep>(latency));
  }

  sync::Relaxed<Duration::rep> hold_{0};  // the mean again, as an integer
  sync::Relaxed<float> mean_{0};
  sync::Relaxed<float> busy_{1};
  sync::Relaxed<std::uint32_t> samples_{0};
  float window_;
};

/// What is known of one backend's latency: in integers, because converting them to floats would
/// take longer than all else that a pick does with them. The latency shares a word with how many
/// successes it was made of: a store less before the addition that ends the request. Its time is a
/// word of its own: a stamp of 32 bits that resolves microseconds wraps within hours. Threads may
/// tear the two apart, and then one pick reads a value with another one's age. A line of its own,
/// because every request's end writes it.
struct alignas(64) LatencyEstimate {
  static constexpr Duration::rep unknown = -1;
  /// So long ago that it holds for nobody.
  static constexpr auto never = std::numeric_limits<Duration::rep>::min() / 2;

  /// A latency in ns, and successes modulo 2^23.
  class Known {
   public:
    explicit Known(std::int64_t word) noexcept : word_{word} {}
    Known(Duration::rep latency, std::uint32_t successes) noexcept
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

  [[nodiscard]] Known known() const noexcept { return Known{known_.load()}; }
  [[nodiscard]] Duration::rep latency() const noexcept { return known().latency(); }
  [[nodiscard]] Time heard() const noexcept { return Time{Duration{at_.load()}}; }
  [[gnu::always_inline]] void store(Known known, Time now) noexcept {
    known_.store(known.word());
    renew(now);
  }
  void renew(Time now) noexcept { at_.store(now.time_since_epoch().count()); }

 private:
  // Not at the beginning of their line, which is where picks read other things: see Lanes::Counter.
  std::array<std::int64_t, 3> unused_{};
  sync::Relaxed<std::int64_t> known_{Known{unknown, 0}.word()};
  std::int64_t unused_too_{};
  sync::Relaxed<Duration::rep> at_{never};
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

  /// What one more request would wait, in ns, if all take turns.
  [[gnu::always_inline]] Duration::rep operator()(Candidates const& candidates, std::size_t i,
                                                  Context const& context) const noexcept {
    return latency(candidates.state<State>(i), context.now) *
           (Duration::rep{candidates.in_flight(i)} + 1);
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
  [[gnu::always_inline]] Duration::rep latency(State& state, Time now) const noexcept {
    if (pool_.holds(state.heard(), now)) [[likely]]
      return state.latency();
    return faded(state, now);
  }

 protected:
  /// How much of what was known counts beside a new sample.
  [[nodiscard]] float keep(State const& state, Time now) const noexcept {
    // However dense the samples, each has a say of 1/16: a clock that stands still lets nothing
    // age.
    return pool_.left(state.heard(), now) * (15.0F / 16);
  }
  [[nodiscard]] PoolLatency const& pool() const noexcept { return pool_; }

  /// *Requires* a latency.
  [[gnu::always_inline]] void learn_success(Finish const& finish, State& state) const noexcept {
    auto const sample = finish.latency->count();
    auto const known = state.known();
    auto const successes = known.successes() + 1;
    bool const is_power_of_two = (successes & (successes - 1)) == 0;
    if (is_power_of_two || successes % 16 == 0) [[unlikely]]
      pool_.add(static_cast<float>(sample), static_cast<float>(finish.backend.in_flight()));
    learn(state, {known.latency(), successes}, sample, finish.now);
  }

  /// Makes a new estimate of what is known and a sample.
  [[gnu::always_inline]] void learn(State& state, LatencyEstimate::Known known,
                                    Duration::rep sample, Time now) const noexcept {
    auto const old = known.latency();
    if (sample < pool_.least() || sample > longest_latency) [[unlikely]]
      sample = std::clamp(sample, pool_.least(), longest_latency);
    auto mixed = old + ((sample - old) >> 4U);
    if (old == State::unknown || !pool_.holds(state.heard(), now)) [[unlikely]]
      mixed = old == State::unknown ? sample : sample + scaled(old - sample, keep(state, now));
    // Whether a sample replaces the estimate is chance, so a branch would be mispredicted: the mask
    // is all ones if it does.
    auto const mask = -Duration::rep{Rule::replaces(old, sample)};
    state.store({mixed ^ ((mixed ^ sample) & mask), known.successes()}, now);
  }

 private:
  [[gnu::noinline]] Duration::rep faded(State& state, Time now) const noexcept {
    auto const known = state.known();
    auto const latency = known.latency();
    if (latency == State::unknown) return introduce(state, known, now);
    auto const rest = static_cast<Duration::rep>(pool_.mean() / 2);
    return rest + scaled(latency - rest, pool_.left(state.heard(), now));
  }

  Duration::rep introduce(State& state, LatencyEstimate::Known known, Time now) const noexcept {
    auto const latency = static_cast<Duration::rep>(pool_.mean());
    if (pool_.known()) state.store({latency, known.successes()}, now);
    return latency;
  }

  static Duration::rep scaled(Duration::rep time, float by) noexcept {
    return static_cast<Duration::rep>(static_cast<float>(time) * by);
  }

  // By values: a Finish that had to lie in memory for this would be written at every success.
  [[gnu::noinline]] void learn_failure(State& state, Duration latency, Duration retry_after,
                                       std::uint32_t in_flight, Time now) const noexcept {
    auto const least = timeout_ > 0 ? timeout_ : 16 * pool_.mean();
    auto const sample = std::max(least, nanoseconds(std::max(latency, retry_after)));
    auto const idleness = pool_.busy() / static_cast<float>(std::max(in_flight, 1U));
    auto const charged = std::min(sample * std::max(idleness, 1.0F), 1e18F);
    learn(state, state.known(), static_cast<Duration::rep>(charged), now);
  }

  float timeout_;
  mutable PoolLatency pool_;
};

}  // namespace detail

}  // namespace poise
