// SPDX-License-Identifier: MIT
#pragma once

// What a lease carries from its pick to its end.

#include <cstdint>

#include <poise/policy.hpp>
#include <poise/time.hpp>

namespace poise::detail {

/// Whole words: bytes written one by one and read together
/// would stall the processor at the end of every request.
struct Run {
  enum Flag : std::uint32_t {
    timed = 1,      // start is set
    heard = 2,      // the policy wants to hear how it ends
    refuses = 4,    // the policy may have a last word
    scanned = 8,    // no policy picked: path says nothing
    repeated = 16,  // an excluded backend, because nothing else was left
  };
  static constexpr unsigned generation_shift = 5;  // above: which policy picked, modulo 2^27
  Time start{};
  Path path{};
  std::uint32_t flags = 0;

  [[nodiscard]] bool is(Flag flag) const noexcept { return (flags & flag) != 0; }
  /// Did the policy pick it that is asked now, or a scan that its wrappers let in?
  [[nodiscard]] bool picked_under(std::uint32_t current_flags) const noexcept {
    return (!is(scanned) || path != Path{}) && same_policy(current_flags);
  }
  [[nodiscard]] bool same_policy(std::uint32_t current_flags) const noexcept {
    return flags >> generation_shift == current_flags >> generation_shift;
  }
};

}  // namespace poise::detail
