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
    auto product = static_cast<detail::Wide>((*this)()) * bound;
    if (static_cast<std::uint64_t>(product) < bound) [[unlikely]] {
      auto const uneven = -bound % bound;  // so many low values would be drawn once too often
      while (static_cast<std::uint64_t>(product) < uneven)
        product = static_cast<detail::Wide>((*this)()) * bound;
    }
    return detail::high_half(product);
  }

  /// Two different numbers below a bound, and what is left of the number they were drawn from.
  struct Pair {
    std::uint64_t first;
    std::uint64_t second;
    std::uint64_t rest;  ///< Uniform, whatever the two are: for a third choice of few.
  };
  /// All pairs are equally likely, exactly. *Requires* 1 < bound < 2^32. *Cost* one draw.
  /// *Source* Brackett-Rozinsky, Lemire 2024, "Batched ranged random integer generation".
  [[gnu::always_inline]] Pair two_below(std::uint64_t bound) noexcept {
    auto pair = split((*this)(), bound);
    auto const pairs = bound * (bound - 1);
    if (pair.rest < pairs) [[unlikely]] {
      auto const uneven = -pairs % pairs;  // as in below()
      while (pair.rest < uneven) pair = split((*this)(), bound);
    }
    pair.second += pair.second >= pair.first ? 1U : 0U;
    return pair;
  }

  [[nodiscard]] Chance& chance() const noexcept { return *chance_; }

  /// Uniform in [0, 1).
  double unit() noexcept { return static_cast<double>((*this)() >> 11U) * 0x1p-53; }

 private:
  [[gnu::always_inline]] static Pair split(std::uint64_t draw, std::uint64_t bound) noexcept {
    auto const first = static_cast<detail::Wide>(draw) * bound;
    auto const second = static_cast<detail::Wide>(static_cast<std::uint64_t>(first)) * (bound - 1);
    return {detail::high_half(first), detail::high_half(second),
            static_cast<std::uint64_t>(second)};
  }

  Chance* chance_;
  sync::Lane lane_;
};

}  // namespace poise
