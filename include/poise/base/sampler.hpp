// SPDX-License-Identifier: MIT
#pragma once

// Chooses one of many turns, cheaply and at random.

#include <cstdint>

#include <poise/random.hpp>

namespace poise::inline v0_1_0::detail {

/// Chooses one of every 2^Sampling turns, at random. Every 2^Sampling-th turn would keep step with
/// round robin: of 2^Sampling backends it would choose the same one for ever. `Use` keeps the turns
/// of different uses apart.
///
/// *Threads* one.
template <unsigned Sampling, class Use>
class Sampler {
 public:
  [[nodiscard]] static Sampler& of_this_thread() noexcept {
    thread_local constinit Sampler sampler;
    return sampler;
  }
  /// Is this turn chosen? *Cost* a count; a random number once in 2^Sampling turns.
  [[nodiscard, gnu::always_inline]] bool next() noexcept {
    if constexpr (Sampling == 0) {
      return true;
    } else {
      if (turn_ == 0) [[unlikely]]
        chosen_ = static_cast<std::uint32_t>(draw() >> (64U - Sampling));
      bool const is_chosen = turn_ == chosen_;
      turn_ = (turn_ + 1) & ((1U << Sampling) - 1);
      return is_chosen;
    }
  }

 private:
  [[nodiscard]] std::uint64_t draw() noexcept {
    state_ += wyrand_step;
    return wyrand(state_);
  }
  std::uint64_t state_ = 0;
  std::uint32_t turn_ = 0;    // of the current 2^Sampling
  std::uint32_t chosen_ = 0;  // among them
};

}  // namespace poise::inline v0_1_0::detail
