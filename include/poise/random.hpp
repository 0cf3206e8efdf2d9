// SPDX-License-Identifier: MIT
#pragma once

// Chance: fast, seedable, and owned by the balancer instead of the thread.
//
// The generator is wyrand: a counter that steps by a constant, and a multiplication that scrambles
// it. So its state is one number, which a lane can hold (sync/lanes.hpp), and with an injected seed
// the same picks follow on whichever thread they run. Not for secrets.
//
// Source: Wang Yi, wyhash (public domain); Lemire 2019, "Fast random integer generation in an
// interval".

#include <cstdint>
#include <random>

#include <poise/sync/lanes.hpp>
#include <poise/sync/relaxed.hpp>

namespace poise {

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

/// Scrambles a number so that close ones end far apart (splitmix64's finaliser).
constexpr std::uint64_t mix(std::uint64_t value) noexcept {
  value = (value ^ (value >> 30U)) * 0xbf58476d1ce4e5b9U;
  value = (value ^ (value >> 27U)) * 0x94d049bb133111ebU;
  return value ^ (value >> 31U);
}

}  // namespace detail

/// A seed nobody chose: from the system once, then a new one at each call.
[[nodiscard]] inline std::uint64_t fresh_seed() {
  static sync::Relaxed<std::uint64_t> next{
      (static_cast<std::uint64_t>(std::random_device{}()) << 32U) ^ std::random_device{}()};
  return detail::mix(next.add(0x9e3779b97f4a7c15U));
}

/// A balancer's source of chance, one counter per lane.
using Chance = sync::Lanes;

/// The random numbers of one pick: draws from the balancer's chance on this thread's lane.
///
/// *Threads* one. *Cost* about 2 ns a draw. Satisfies std::uniform_random_bit_generator.
class Rng {
 public:
  using result_type = std::uint64_t;
  Rng(Chance& chance, sync::Lane lane) noexcept : chance_{&chance}, lane_{lane} {}

  static constexpr std::uint64_t min() noexcept { return 0; }
  static constexpr std::uint64_t max() noexcept { return ~std::uint64_t{0}; }
  [[gnu::always_inline]] std::uint64_t operator()() noexcept {
    return detail::wyrand(chance_->advance(lane_, detail::wyrand_step));
  }

  /// Uniform in [0, bound), exactly. *Requires* bound > 0.
  [[gnu::always_inline]] std::uint64_t below(std::uint64_t bound) noexcept {
    for (;;) {
      auto const product = static_cast<detail::Wide>((*this)()) * bound;
      // So many low values, 2^64 modulo the bound, would be drawn once too often.
      auto const low = static_cast<std::uint64_t>(product);
      if (low >= bound || low >= -bound % bound) [[likely]]
        return detail::high_half(product);
    }
  }

  /// Two different numbers below a bound, and what is left of the number they were drawn from.
  struct Pair {
    std::uint64_t first;
    std::uint64_t second;
    std::uint64_t rest;  ///< Uniform, whatever the two are: for a third choice of few.
  };
  /// The same in two words, which a function returns in registers.
  struct Packed {
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
      return even(draw, bound, *chance_, lane_);
    return pair;
  }

  [[nodiscard]] Chance& chance() const noexcept { return *chance_; }
  [[nodiscard]] sync::Lane lane() const noexcept { return lane_; }

  /// Uniform in [0, 1).
  double unit() noexcept { return static_cast<double>((*this)() >> 11U) * 0x1p-53; }

 private:
  // Products of 64 bits beside the upper halves of those of 128: g++ 12 keeps the latter whole, in
  // two registers each, if both halves are used.
  [[gnu::always_inline]] static Pair split(std::uint64_t draw, std::uint64_t bound) noexcept {
    auto const left = draw * bound;
    Pair pair{detail::high_half(static_cast<detail::Wide>(draw) * bound),
              detail::high_half(static_cast<detail::Wide>(left) * (bound - 1)), left * (bound - 1)};
    pair.second += pair.second >= pair.first ? 1U : 0U;
    return pair;
  }
  /// What this draw or, if some pairs would get one more than others of its kind, a next one is
  /// split into. Seldom called, and by plain words: a generator that it took would live in memory.
  [[gnu::noinline]] static Packed even(std::uint64_t draw, std::uint64_t bound, Chance& chance,
                                       sync::Lane lane) noexcept {
    auto const pairs = bound * (bound - 1);
    auto const uneven = -pairs % pairs;
    Rng random{chance, lane};
    auto pair = split(draw, bound);
    while (pair.rest < uneven) pair = split(random(), bound);
    return {static_cast<std::uint32_t>(pair.first), static_cast<std::uint32_t>(pair.second),
            pair.rest};
  }

  Chance* chance_;
  sync::Lane lane_;
};

}  // namespace poise
