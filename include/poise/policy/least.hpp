// SPDX-License-Identifier: MIT
#pragma once

// The backend with the least load of all, ties at random in proportion to weight.
//
// Use it for few backends and long requests. It reads every backend: 1 ns each, so beyond some fifty
// PowerOfTwo balances nearly as well for a constant price. "First index wins" is no tie rule: ten
// clients that start at the same time would all choose the same backend.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>

#include <poise/fwd.hpp>
#include <poise/load.hpp>
#include <poise/policy.hpp>

namespace poise {

/// *Cost* O(n) reads, no write; one random number per 64 backends at most.
template <class L>
struct Least {
  static_assert(Load<L>);
  static constexpr bool uses_time = hooks::time_use<L> == hooks::UsesTime::always;
  [[no_unique_address]] L load{};

  [[nodiscard]] std::string name() const {
    if constexpr (std::same_as<L, Weighted<InFlight>>) return "least_connections";
    else return "least(" + hooks::name(load) + ")";
  }

  std::size_t pick(Candidates const& candidates, Context& context) const {
    Best best;
    for (std::size_t begin = 0; begin < candidates.size(); begin += block_size)
      consider(candidates, begin, std::min(candidates.size() - begin, block_size), context, best);
    return best.index;
  }

 private:
  // Loads are gathered block by block, so that finding the least and counting the ties run over a
  // dense array instead of over the backends' cache lines a second time.
  static constexpr std::size_t block_size = 64;
  static constexpr float barred = std::numeric_limits<float>::infinity();

  struct Best {
    float load = barred;
    std::uint64_t weight = 0;  // of all that share this load so far
    std::size_t index = 0;
  };

  void consider(Candidates const& candidates, std::size_t begin, std::size_t count, Context& context,
                Best& best) const {
    std::array<float, block_size> loads;  // NOLINT: the first `count` are written below
    for (std::size_t i = 0; i < count; ++i) loads[i] = load(candidates, begin + i, context);
    if (!context.unrestricted())
      for (std::size_t i = 0; i < count; ++i)
        if (!context.usable(candidates, begin + i)) loads[i] = barred;

    auto least = barred;
    for (std::size_t i = 0; i < count; ++i) least = std::min(least, loads[i]);
    if (least > best.load) return;
    std::uint64_t tied = 0;
    for (std::size_t i = 0; i < count; ++i)
      if (loads[i] == least) tied += candidates.weight(begin + i);
    if (least < best.load) best = {least, 0, best.index};
    best.weight += tied;
    // Of all the weight that shares the least load, this block's part wins with its share.
    auto drawn = context.random.below(best.weight);
    if (drawn >= tied) return;
    for (std::size_t i = 0; i < count; ++i) {
      if (loads[i] != least) continue;
      best.index = begin + i;
      auto const weight = candidates.weight(begin + i);
      if (drawn < weight) return;
      drawn -= weight;
    }
  }
};

}  // namespace poise
