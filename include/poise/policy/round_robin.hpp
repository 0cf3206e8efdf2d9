// SPDX-License-Identifier: MIT
#pragma once

// One backend after the other; weights are ignored.
//
// Use it when backends are equal and requests cost about the same: it is the cheapest and the most
// even policy. For unequal backends use SmoothWeighted, for unequal requests PowerOfTwo.

#include <cstddef>

#include <poise/policy.hpp>
#include <poise/policy/cursor.hpp>

namespace poise::inline v0_1_0 {

/// Every thread has a rotation of its own: two backends differ by at most one pick per thread.
/// *Cost* O(1), no shared write.
struct RoundRobin {
  static constexpr char const* name = "round_robin";
  Cursor cursor{};

  [[gnu::always_inline]] std::size_t pick(Candidates const& candidates, Context& context) const {
    if (!context.unrestricted()) [[unlikely]]
      return context.draw_usable(candidates);
    return cursor.turn(context, candidates.size());
  }
};

/// All threads share one rotation: two backends differ by at most one pick. It begins at a random
/// backend, with an injected seed at the first one.
/// *Cost* O(1), one atomic add to a line that all threads share: 2 ns alone, more with contention.
struct ExactRoundRobin {
  static constexpr char const* name = "exact_round_robin";
  Cursor cursor{};

  [[gnu::always_inline]] std::size_t pick(Candidates const& candidates, Context& context) const {
    if (!context.unrestricted()) [[unlikely]]
      return context.draw_usable(candidates);
    return cursor.turn_together(context, candidates.size());
  }
};

}  // namespace poise::inline v0_1_0
