// SPDX-License-Identifier: MIT
#pragma once

// The position of a rotation. A policy keeps it, and its picks advance it.
//
// Every thread rotates on its own lane, from a random start: after any number of picks two equal
// backends differ by at most one pick per thread. With an injected seed there is one shared lane
// that starts at 0, and the rotation is exact over all threads.
//
// Only the first proposal of a request should advance a rotation (Context::unrestricted). If
// retries advanced it too, then with two backends every first attempt could hit the failing one.

#include <cstdint>

#include <poise/policy.hpp>
#include <poise/policy/rehearsal.hpp>
#include <poise/policy/trace.hpp>
#include <poise/random.hpp>
#include <poise/sync/lanes.hpp>

namespace poise::inline v0_1_0 {

/// A copy starts at a new position: positions belong to one balancer.
class Cursor {
 public:
  Cursor() noexcept : lanes_{0, &random_start} {}
  Cursor(Cursor const&) noexcept : Cursor{} {}
  Cursor& operator=(Cursor const&) noexcept { return *this; }

  /// The next place on a circle of `size` places. *Requires* size > 0.
  [[gnu::always_inline]] std::uint64_t turn(Context const& context, std::uint64_t size) const {
    if (context.trace() != nullptr) [[unlikely]]
      return traced(*context.trace(), context.rehearsal(), context.lane).turn(context.lane, size);
    return lanes_.turn(context.lane, size);
  }
  /// The next number of an endless count.
  [[gnu::always_inline]] std::uint64_t count(Context const& context) const {
    if (context.trace() != nullptr) [[unlikely]]
      return traced(*context.trace(), context.rehearsal(), context.lane).advance(context.lane, 1);
    return lanes_.advance(context.lane, 1);
  }
  /// Like turn, but one rotation for all threads, which costs a shared cache line.
  [[gnu::always_inline]] std::uint64_t turn_together(Context const& context,
                                                     std::uint64_t size) const {
    auto const seeded = context.lane == sync::Lane::shared;
    auto const lane = seeded ? sync::Lane::shared : sync::Lane::spare;
    if (context.trace() != nullptr) [[unlikely]]
      return traced(*context.trace(), context.rehearsal(), lane).turn(lane, size);
    return lanes_.turn(lane, size);
  }

 private:
  /// The lanes to advance.
  [[nodiscard, gnu::noinline, gnu::cold]] sync::Lanes& traced(PickTrace& trace,
                                                              Rehearsal* rehearsal,
                                                              sync::Lane lane) const {
    trace.rotate();
    return rehearsal == nullptr ? lanes_ : rehearsal->copy_of(lanes_, lane);
  }
  static std::uint64_t random_start(std::uint64_t) { return fresh_seed(); }

  mutable sync::Lanes lanes_;
};

}  // namespace poise::inline v0_1_0
