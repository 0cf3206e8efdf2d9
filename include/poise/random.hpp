// SPDX-License-Identifier: MIT
#pragma once

// Random numbers: fast, seedable, and owned by the balancer instead of the thread.
//
// The generator is wyrand: a counter that steps by a constant, and a multiplication that scrambles
// it. So its state is one number, which fits into a lane (sync/lanes.hpp). With an injected seed
// the picks are the same on any thread. Not for secrets.
//
// Source: Wang Yi, wyhash (public domain); Lemire 2019, "Fast random integer generation in an
// interval".

#include <chrono>
#include <cstdint>

#include <unistd.h>

#include <poise/sync/lanes.hpp>
#include <poise/sync/relaxed.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0 {

namespace detail {

__extension__ using Wide = unsigned __int128;

constexpr std::uint64_t high_half(Wide value) noexcept {
  return static_cast<std::uint64_t>(value >> 64U);
}

inline constexpr std::uint64_t wyrand_step = 0xa0761d6478bd642fU;

constexpr std::uint64_t wyrand(std::uint64_t state) noexcept {
  auto const product = static_cast<Wide>(state) * (state ^ 0xe7037ed1a0b428dbU);
  return high_half(product) ^ static_cast<std::uint64_t>(product);
}

/// The next number of a generator that one thread uses: uniform in [0, 1).
inline double next_unit(std::uint64_t& state) noexcept {
  state += wyrand_step;
  return static_cast<double>(wyrand(state) >> 11U) * 0x1p-53;
}
/// Uniform in [0, whole).
inline Duration next_part(std::uint64_t& state, Duration whole) noexcept {
  return Duration{
      static_cast<Duration::rep>(static_cast<double>(whole.count()) * next_unit(state))};
}

/// Scrambles a number so that close ones end far apart (splitmix64's finaliser).
constexpr std::uint64_t mix(std::uint64_t value) noexcept {
  value = (value ^ (value >> 30U)) * 0xbf58476d1ce4e5b9U;
  value = (value ^ (value >> 27U)) * 0x94d049bb133111ebU;
  return value ^ (value >> 31U);
}

/// From the system. <random>, for std::random_device, would be a tenth of all that poise includes.
inline std::uint64_t system_seed() noexcept {
  std::uint64_t seed = 0;
  if (::getentropy(&seed, sizeof seed) != 0)  // a sandbox may refuse it
    seed = static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
  return seed;
}

}  // namespace detail

/// A new seed at each call, derived from one random number of the system.
[[nodiscard]] inline std::uint64_t fresh_seed() {
  static sync::Relaxed<std::uint64_t> next{detail::system_seed()};
  return detail::mix(next.add(0x9e3779b97f4a7c15U));
}

/// A balancer's random source, one counter per lane.
using RandomSource = sync::Lanes;

/// The random numbers of one pick: draws from the balancer's random source on this thread's lane.
///
/// *Threads* one. *Cost* about 2 ns a draw. Satisfies std::uniform_random_bit_generator.
class Rng {
 public:
  using result_type = std::uint64_t;
  Rng(RandomSource& chance, sync::Lane lane) noexcept : chance_{&chance}, lane_{lane} {}

  static constexpr std::uint64_t min() noexcept { return 0; }
  static constexpr std::uint64_t max() noexcept { return ~std::uint64_t{0}; }
  [[gnu::always_inline]] std::uint64_t operator()() noexcept {
    return detail::wyrand(chance_->advance(lane_, detail::wyrand_step));
  }

  /// Uniform in [0, bound), exactly. *Requires* bound > 0.
  [[gnu::always_inline]] std::uint64_t below(std::uint64_t bound) noexcept {
    for (;;) {
      auto const product = static_cast<detail::Wide>((*this)()) * bound;
      // The lowest 2^64 modulo `bound` values of `low` are redrawn: they would bias the result.
      auto const low = static_cast<std::uint64_t>(product);
      if (low >= bound || low >= -bound % bound) [[likely]]
        return detail::high_half(product);
    }
  }

  /// Two different numbers below a bound, and the rest of the number from which they were drawn.
  struct Pair {
    std::uint64_t first;
    std::uint64_t second;
    std::uint64_t rest;  ///< Uniform and independent of both: for a third choice among a few.
  };
  /// The same in 16 bytes, which a function returns in registers.
  struct SmallPair {
    std::uint32_t first;
    std::uint32_t second;
    std::uint64_t rest;
    operator Pair() const noexcept { return {first, second, rest}; }
  };
  /// All pairs are equally likely, exactly. *Requires* 1 < bound < 2^32. *Cost* one draw.
  /// *Source* Brackett-Rozinsky, Lemire 2024, "Batched ranged random integer generation".
  [[gnu::always_inline]] Pair two_below(std::uint64_t bound) noexcept {
    auto const draw = (*this)();
    auto const pair = split(draw, bound);
    if (pair.rest < bound << 32U) [[unlikely]]  // perhaps below the number of pairs, as in below()
      return unbiased(draw, bound, *chance_, lane_);
    return pair;
  }

  [[nodiscard]] RandomSource& chance() const noexcept { return *chance_; }
  [[nodiscard]] sync::Lane lane() const noexcept { return lane_; }

  /// Uniform in [0, 1).
  double unit() noexcept { return static_cast<double>((*this)() >> 11U) * 0x1p-53; }

 private:
  // Computes 64-bit products, and separately the high halves of the 128-bit ones: if both halves of
  // a 128-bit product are used, g++ 12 keeps it whole, in two registers.
  [[gnu::always_inline]] static Pair split(std::uint64_t draw, std::uint64_t bound) noexcept {
    auto const left = draw * bound;
    Pair pair{detail::high_half(static_cast<detail::Wide>(draw) * bound),
              detail::high_half(static_cast<detail::Wide>(left) * (bound - 1)), left * (bound - 1)};
    pair.second += pair.second >= pair.first ? 1U : 0U;
    return pair;
  }
  /// Splits this draw, or a later one if this draw would bias the pair. Rarely called. It takes
  /// plain values: a generator passed by reference would live in memory.
  [[gnu::noinline]] static SmallPair unbiased(std::uint64_t draw, std::uint64_t bound,
                                              RandomSource& chance, sync::Lane lane) noexcept {
    auto const pairs = bound * (bound - 1);
    auto const uneven = -pairs % pairs;
    Rng random{chance, lane};
    auto pair = split(draw, bound);
    while (pair.rest < uneven) pair = split(random(), bound);
    return {static_cast<std::uint32_t>(pair.first), static_cast<std::uint32_t>(pair.second),
            pair.rest};
  }

  RandomSource* chance_;
  sync::Lane lane_;
};

}  // namespace poise::inline v0_1_0
