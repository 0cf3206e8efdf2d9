// SPDX-License-Identifier: MIT
#pragma once

// What a policy tells of a pick while it makes it: the scores that it compares, and the backends
// that it leaves out. Two listeners exist: Rehearsal (rehearsal.hpp), a pick that changes nothing,
// and SampledPick (sampled_pick.hpp), a record of a real one.
//
// Nearly all picks have no listener. A policy asks first, and leaves the telling to a function that
// is not inlined:
//
//   if (auto* trace = context.trace(); trace != nullptr) [[unlikely]] tell(*trace, ...);
//
// A policy that tells nothing is traced as well as it can be: winner, refusals, random numbers.

#include <cstddef>
#include <cstdint>

#include <poise/backend.hpp>
#include <poise/candidates.hpp>

namespace poise::inline v0_1_0 {

/// Which step of a pick left a backend out before the policy chose.
enum class LeftOutBy : std::uint8_t {
  nothing,  ///< It was not.
  group,    ///< Healthy or degraded backends are drawn first; it is among the others.
  filter,   ///< Filter
  subset,   ///< Subset: another client's.
  tier,     ///< Failover
  zone,     ///< ZoneAware
};

/// What refused a backend that was proposed.
enum class RefusedBy : std::uint8_t {
  nothing,  ///< It was not.
  limit,    ///< As many requests as it may have are in flight.
  share,    ///< It accepts a fraction of its picks, and the draw was against it.
  policy,   ///< The policy's admit(): Bounded, Shed, Filter.
};

/// *Threads* one.
class PickTrace {
 public:
  PickTrace() = default;
  PickTrace(PickTrace const&) = default;
  PickTrace& operator=(PickTrace const&) = default;
  virtual ~PickTrace() = default;

  /// The policy computes this score; less is better.
  virtual void score(Backend const& /*backend*/, double /*score*/) {}
  /// The policy chooses among those that it compares, of all candidates.
  virtual void compare(Backend const& /*backend*/) {}
  /// It was this backend's turn.
  virtual void rotate() noexcept {}
  /// The policy took a backend in spite of its score, to learn.
  virtual void explore() noexcept {}

  /// How many wrappers have left backends out.
  [[nodiscard]] virtual std::size_t depth() const noexcept { return 0; }
  /// A wrapper chooses among `kept`; all others are left out for this reason, or for an earlier
  /// one.
  virtual void narrow(Candidates const& /*kept*/, LeftOutBy /*reason*/) {}
  /// Forgets what was left out at more than this depth: the wrapper there tries other backends.
  virtual void widen(std::size_t /*depth*/) noexcept {}

  // -- for the balancer --------------------------------------------------------------------------

  /// The policy is asked, perhaps again. How it chose before no longer counts.
  virtual void ask() noexcept {}
  virtual void refuse(Backend const& /*backend*/, RefusedBy /*what*/) {}
};

namespace detail {

/// Tells a trace a score, if it is a number.
template <class Score>
void tell_score(PickTrace& trace, Backend const& backend, Score const& score) {
  if constexpr (requires { static_cast<double>(score); })
    trace.score(backend, static_cast<double>(score));
}

}  // namespace detail

}  // namespace poise::inline v0_1_0
