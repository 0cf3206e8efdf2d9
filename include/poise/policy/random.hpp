// SPDX-License-Identifier: MIT
#pragma once

// Any backend, at random.
//
// Use Random where no state may be kept, or as the baseline for better policies. With n requests a
// backend's count scatters by sqrt(n), and the load is ignored. PowerOfTwo costs one more random
// number and halves the queues.

#include <cstddef>

#include <poise/base/alias_table.hpp>
#include <poise/fwd.hpp>
#include <poise/policy.hpp>

namespace poise::inline v0_1_0 {

/// Each backend with the same probability; weights are ignored. *Cost* O(1), one random number.
struct Random {
  static constexpr char const* name = "random";

  [[gnu::always_inline]] std::size_t pick(Candidates const& candidates,
                                          Context& context) const noexcept {
    return context.random.below(candidates.size());
  }
};

/// Each backend in proportion to its weight. *Cost* O(1), one random number; with unequal weights
/// the plan holds 8 bytes a backend.
struct WeightedRandom {
  static constexpr char const* name = "weighted_random";
  using Plan = AliasTable;  // empty when all weights are equal

  [[nodiscard]] Plan plan(Candidates const& candidates, Plan const*) const {
    if (candidates.equal_weights()) return {};
    return AliasTable{candidates.weights()};
  }

  [[gnu::always_inline]] std::size_t pick(Plan const& plan, Candidates const& candidates,
                                          Context& context) const noexcept {
    return plan.empty() ? context.random.below(candidates.size()) : plan.draw(context.random);
  }
};

}  // namespace poise::inline v0_1_0
