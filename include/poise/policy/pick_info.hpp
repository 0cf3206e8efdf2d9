// SPDX-License-Identifier: MIT
#pragma once

// The facts about a pick that its lease keeps until the request completes.

#include <cstdint>

#include <poise/base/bits.hpp>
#include <poise/policy.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::detail {

/// Stored as whole words: bytes that are written one by one and then read together would stall the
/// processor at the end of every request.
class Run {
 public:
  enum Flag : std::uint32_t {
    timed = 1,      // start is set
    heard = 2,      // the policy's on_finish is to be called
    slow_path = 4,  // picks can't take the fast path: see SnapshotBuilder
    scanned = 8,    // a scan found the backend, not the policy: the path may be empty
    repeated = 16,  // an excluded backend, because no other was left
    keyed = 32,     // the policy looks at keys
  };
  static constexpr unsigned generation_shift = 6;  // above: the policy's generation, modulo 2^26

  Run() = default;
  Run(Time begun, Path path, std::uint32_t flags) noexcept : Run{begun, pack(path.bits(), flags)} {}
  Run(Time begun, std::uint64_t path_and_flags) noexcept : start{begun}, word_{path_and_flags} {}

  Time start{};

  [[nodiscard]] std::uint64_t path_and_flags() const noexcept { return word_; }
  [[nodiscard]] std::uint32_t flags() const noexcept { return low_half(word_); }
  [[nodiscard]] Path path() const noexcept { return Path{high_half(word_)}; }
  /// True if any of these flags is set.
  [[nodiscard]] bool is(std::uint32_t some) const noexcept { return (flags() & some) != 0; }
  /// True if the current policy picked, or a scan whose find the policy's wrappers admitted.
  [[nodiscard]] bool picked_under(std::uint32_t current_flags) const noexcept {
    return (!is(scanned) || path() != Path{}) && same_policy(current_flags);
  }
  [[nodiscard]] bool same_policy(std::uint32_t current_flags) const noexcept {
    return flags() >> generation_shift == current_flags >> generation_shift;
  }

 private:
  std::uint64_t word_ = 0;
};

}  // namespace poise::inline v0_1_0::detail
