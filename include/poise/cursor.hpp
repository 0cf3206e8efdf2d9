// SPDX-License-Identifier: MIT
#pragma once

// Whose turn is it? The position of a rotation, kept by a policy and moved by its picks.
//
// Every thread rotates on its own lane, from a random start: after any number of picks two equal
// backends differ by at most one pick per thread. With an injected seed there is one shared lane
// that starts at 0, and the rotation is exact over all threads.

#include <cstdint>

#include <poise/policy.hpp>
#include <poise/random.hpp>
#include <poise/sync/lanes.hpp>

namespace poise {

/// A copy starts afresh: positions belong to one balancer.
class Cursor {
 public:
  Cursor() noexcept : lanes_{0, &random_start} {}
  Cursor(Cursor const&) noexcept : Cursor{} {}
  Cursor& operator=(Cursor const&) noexcept { return *this; }

  /// The next place on a circle of `size` places. *Requires* size > 0.
  [[gnu::always_inline]] std::uint64_t turn(Context const& context,
                                            std::uint64_t size) const noexcept {
    return lanes_.turn(context.lane, size);
  }
  /// The next number of an endless count.
  [[gnu::always_inline]] std::uint64_t count(Context const& context) const noexcept {
    return lanes_.advance(context.lane, 1);
  }
  /// Like turn, but one rotation over all threads, at the price of a shared cache line.
  [[gnu::always_inline]] std::uint64_t turn_together(std::uint64_t size) const noexcept {
    return lanes_.turn(sync::Lane::shared, size);
  }

 private:
  static std::uint64_t random_start(std::uint64_t) { return fresh_seed(); }

  mutable sync::Lanes lanes_;
};

}  // namespace poise
