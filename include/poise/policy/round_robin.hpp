// SPDX-License-Identifier: MIT
#pragma once

// One after the other, weights ignored.
//
// Use it when backends are equal and requests cost about the same; it is the cheapest policy and
// the most even one. With unequal backends take SmoothWeighted, with unequal requests PowerOfTwo.

#include <cstddef>

#include <poise/cursor.hpp>
#include <poise/policy.hpp>

namespace poise {

/// Every thread takes turns of its own: two backends differ by at most one pick per thread.
/// *Cost* O(1), no shared write.
struct RoundRobin {
  static constexpr char const* name = "round_robin";
  Cursor cursor{};

  [[gnu::always_inline]] std::size_t pick(Candidates const& candidates,
                                          Context& context) const noexcept {
    return cursor.turn(context, candidates.size());
  }
};

/// All threads take turns together: two backends differ by at most one pick.
/// *Cost* O(1), one atomic add to a line that all threads share: 2 ns alone, more with contention.
struct ExactRoundRobin {
  static constexpr char const* name = "exact_round_robin";
  Cursor cursor{};

  [[gnu::always_inline]] std::size_t pick(Candidates const& candidates, Context&) const noexcept {
    return cursor.turn_together(candidates.size());
  }
};

}  // namespace poise
