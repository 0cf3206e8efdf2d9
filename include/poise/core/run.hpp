// SPDX-License-Identifier: MIT
#pragma once

// What a lease carries from its pick to its end.

#include <cstdint>

#include <poise/halves.hpp>
#include <poise/policy.hpp>
#include <poise/time.hpp>

namespace poise::detail {

/// Whole words: bytes written one by one and read together
/// would stall the processor at the end of every request.
class Run {
 public:
  enum Flag : std::uint32_t {
    timed = 1,      // start is set
    heard = 2,      // the policy wants to hear how it ends
    at_length = 4,  // picks can't go the short way: see SnapshotMaker
    scanned = 8,    // no policy picked: path says nothing
    repeated = 16,  // an excluded backend, because nothing else was left
  };
  static constexpr unsigned generation_shift = 5;  // above: which policy picked, modulo 2^27

  Run() = default;
  Run(Time begun, Path path, std::uint32_t flags) noexcept
      : Run{begun, in_one_word(path.bits(), flags)} {}
  Run(Time begun, std::uint64_t path_and_flags) noexcept : start{begun}, word_{path_and_flags} {}

  Time start{};

  [[nodiscard]] std::uint64_t path_and_flags() const noexcept { return word_; }
  [[nodiscard]] std::uint32_t flags() const noexcept { return lower_half(word_); }
  [[nodiscard]] Path path() const noexcept { return Path{upper_half(word_)}; }
  /// Any of these flags?
  [[nodiscard]] bool is(std::uint32_t some) const noexcept { return (flags() & some) != 0; }
  /// Did the policy pick it that is asked now, or a scan that its wrappers let in?
  [[nodiscard]] bool picked_under(std::uint32_t current_flags) const noexcept {
    return (!is(scanned) || path() != Path{}) && same_policy(current_flags);
  }
  [[nodiscard]] bool same_policy(std::uint32_t current_flags) const noexcept {
    return flags() >> generation_shift == current_flags >> generation_shift;
  }

 private:
  std::uint64_t word_ = 0;
};

}  // namespace poise::detail
