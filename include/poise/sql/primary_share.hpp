// SPDX-License-Identifier: MIT
#pragma once

// Limits the reads that fall back to the primary, so that replicas that fail do not take it along:
//
//   such reads in any second <= fraction * reads of the last second + minimum
//
// The window is that of sync/recent.hpp: exact at any number of threads.

#include <cstdint>
#include <limits>

#include <poise/base/check.hpp>
#include <poise/sync/recent.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::sql::detail {

/// *Threads* any. *Cost* of a read: as sync::Recent; without a limit nothing.
class PrimaryShare {
 public:
  /// *Errors* ConfigError: the fraction is not from 0 to 1.
  PrimaryShare(double fraction, std::uint32_t minimum) : fraction_{fraction}, minimum_{minimum} {
    poise::detail::check_fraction("max_primary_share of sql::Options", fraction);
  }

  /// A read begins.
  void count(Time now) noexcept {
    if (is_limited())
      static_cast<void>(reads_.add(slot_of(now), std::numeric_limits<std::uint64_t>::max()));
  }
  /// May one more go to the primary?
  [[nodiscard]] bool take(Time now) noexcept {
    if (!is_limited()) return true;
    auto const slot = slot_of(now);
    auto const reads = static_cast<double>(reads_.count(slot + 1 - sync::Recent::window, slot + 1));
    return taken_.add(slot, minimum_ + static_cast<std::uint64_t>(fraction_ * reads));
  }

 private:
  [[nodiscard]] bool is_limited() const noexcept { return fraction_ < 1; }
  static std::uint32_t slot_of(Time now) noexcept {
    constexpr std::uint64_t slot_ns = 1'000'000'000 / sync::Recent::window;
    return static_cast<std::uint32_t>(static_cast<std::uint64_t>(now.time_since_epoch().count()) /
                                      slot_ns);
  }

  double fraction_;
  std::uint32_t minimum_;
  sync::Recent reads_{};
  sync::Recent taken_{};
};

}  // namespace poise::inline v0_1_0::sql::detail
