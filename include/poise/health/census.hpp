// SPDX-License-Identifier: MIT
#pragma once

// Counts over a pool's members, kept up to date while a monitor decides, so that each decision is
// made in O(log tiers).

#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <utility>

#include <poise/health/member.hpp>
#include <poise/health/phase.hpp>
#include <poise/observer.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::health::detail {

/// Has nothing been decided against it?
[[nodiscard]] inline bool is_open(Member const& member) noexcept {
  auto const phase = member.machine.phase();
  return !is_out(phase) && phase != Phase::degraded;
}

class Census {
 public:
  struct Tier {
    std::ptrdiff_t left = 0;     // in rotation, and neither ejected nor on probation
    std::ptrdiff_t serving = 0;  // of those: their last verdict was a success
    std::ptrdiff_t failing = 0;  // ... a failure
    Time served_since{};         // the latest success of one that serves is not older than this
  };

  /// Counts a member in, or out (`sign` -1) before it changes.
  void count(BackendView const& each, Member const& member, std::ptrdiff_t sign) {
    if (!in_rotation(each)) return;
    set_ += sign;
    if (is_out(member.machine.phase())) {
      out_ += sign;
      return;
    }
    if (is_barred(each, member)) return;
    add(tiers_[each.backend.tier()], member, sign);
    add(all_, member, sign);
  }

  /// Notes of a member against which nothing is decided when it last failed: if it has succeeded
  /// since, only a failure of the last second counts.
  void note_failure(BackendView const& each, Member const& member, std::int64_t now) {
    if (!in_rotation(each) || !is_open(member) || is_barred(each, member)) return;
    constexpr std::int64_t second = 1'000'000'000;  // ns
    auto const failed_at = member.failed_at.load();
    bool const fails = member.activity == Activity::failing ||
                       (member.activity == Activity::serving && failed_at != Member::never &&
                        failed_at >= now - second);
    Failure const failure{fails ? failed_at : Member::never, &member};
    if (failure.at < earliest_.at) second_ = std::exchange(earliest_, failure);
    else if (failure.at < second_.at) second_ = failure;
  }
  /// The earliest of the last failures of all but this member: one that is idle, or does not fail,
  /// makes it early. Nothing if there is no other.
  [[nodiscard]] std::optional<std::int64_t> last_failure_of_others(Member const& member) const {
    auto const& other = earliest_.member == &member ? second_ : earliest_;
    return other.member == nullptr ? std::nullopt : std::optional{other.at};
  }

  [[nodiscard]] std::ptrdiff_t set() const noexcept { return set_; }
  [[nodiscard]] std::ptrdiff_t out() const noexcept { return out_; }
  [[nodiscard]] Tier const& all() const noexcept { return all_; }
  [[nodiscard]] Tier const& tier(std::uint32_t number) { return tiers_[number]; }

 private:
  static void add(Tier& tier, Member const& member, std::ptrdiff_t sign) {
    tier.left += sign;
    bool const failing = member.activity == Activity::failing;
    if (failing) tier.failing += sign;
    if (member.activity != Activity::serving) return;
    tier.serving += sign;
    if (sign > 0 && member.served_since > tier.served_since)
      tier.served_since = member.served_since;
  }

  struct Failure {
    std::int64_t at = std::numeric_limits<std::int64_t>::max();
    Member const* member = nullptr;
  };

  Failure earliest_{};
  Failure second_{};
  std::ptrdiff_t set_ = 0;
  std::ptrdiff_t out_ = 0;
  Tier all_{};
  std::map<std::uint32_t, Tier> tiers_{};
};

}  // namespace poise::inline v0_1_0::health::detail
