// SPDX-License-Identifier: MIT
#pragma once

// A rate with a burst, in one word: the generic cell rate algorithm. The word is the time at which
// the bucket would be full again if no more tokens were taken. Each token moves it on by the
// interval between two tokens; nothing refills the bucket but time. A token may be taken if the
// word is at most (burst - 1) intervals ahead.
//
// Invariants:
//   B1  Tokens taken (less those given back) with times of any span t are at most burst +
//       t / interval: each moves the word on by an interval, from its time or later, and none moves
//       it further than burst intervals past its time.
//   B2  A word further ahead than that, by more than a second, was written before the clock was set
//       back. The bucket counts as empty then, at the present time.
//   B3  Threads may come with times that are out of order: the earlier one only waits longer.
//
// Source: ITU-T I.371; the name from ATM's cells.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <limits>

namespace poise::inline v0_1_0::sync {

/// A limit of a bucket: nanoseconds between two tokens, and how many it holds. Their product must
/// fit.
struct TokenRate {
  std::int64_t interval = 0;
  std::int64_t burst = 1;
};

/// Full at first. Times are nanoseconds since any origin. *Threads* any; lock-free.
class TokenBucket {
 public:
  /// Takes a token: 0. Or takes none: the time until there is one.
  [[nodiscard]] std::int64_t take(std::int64_t now, TokenRate rate) noexcept {
    // relaxed, here and below: the word orders nothing else.
    auto known = full_at_.load(std::memory_order_relaxed);
    for (;;) {
      auto const missing = wait_at(known, now, rate);
      auto next = std::max(known, now) + (missing == 0 ? rate.interval : 0);
      if (missing != 0) {
        if (!is_set_back(known, now, rate)) return missing;
        next = now + rate.burst * rate.interval;  // B2; below `known`, so it fits
      }
      if (full_at_.compare_exchange_weak(known, next, std::memory_order_relaxed)) return missing;
    }
  }
  /// The time until there is a token; 0 if there is one.
  [[nodiscard]] std::int64_t wait(std::int64_t now, TokenRate rate) const noexcept {
    auto const known = full_at_.load(std::memory_order_relaxed);
    return is_set_back(known, now, rate) ? 0 : wait_at(known, now, rate);
  }
  /// Undoes a take().
  void give_back(TokenRate rate) noexcept {
    full_at_.fetch_sub(rate.interval, std::memory_order_relaxed);
  }

 private:
  static constexpr std::uint64_t max_skew = 1'000'000'000;  // between reads of different threads
  static constexpr auto end_of_time = std::numeric_limits<std::int64_t>::max();

  /// How far the word is ahead of this time. Unsigned: the two may lie 2^63 apart.
  static std::uint64_t ahead(std::int64_t full_at, std::int64_t now) noexcept {
    return full_at <= now ? 0
                          : static_cast<std::uint64_t>(full_at) - static_cast<std::uint64_t>(now);
  }
  static std::int64_t wait_at(std::int64_t full_at, std::int64_t now, TokenRate rate) noexcept {
    if (std::max(full_at, now) > end_of_time - rate.interval) return rate.interval;
    auto const allowed = static_cast<std::uint64_t>((rate.burst - 1) * rate.interval);
    auto const far = ahead(full_at, now);
    if (far <= allowed) return 0;
    return static_cast<std::int64_t>(
        std::min(far - allowed, static_cast<std::uint64_t>(rate.interval)));
  }
  static bool is_set_back(std::int64_t full_at, std::int64_t now, TokenRate rate) noexcept {
    return ahead(full_at, now) > static_cast<std::uint64_t>(rate.burst * rate.interval) + max_skew;
  }

  std::atomic<std::int64_t> full_at_{std::numeric_limits<std::int64_t>::min()};
};

}  // namespace poise::inline v0_1_0::sync
