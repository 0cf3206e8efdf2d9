// SPDX-License-Identifier: MIT
#pragma once

// Steers which fraction of its picks a warming backend accepts, so that it gets what the ramp says.
//
// Policies propose a warming backend more or less often (least connections at every pick, since it
// is idle). So the fraction is corrected every half second by what the backend got against what it
// was due: the ramp's part of what its peers of the same weight got.
//
// Peers are backends that compete with it for requests. A monitor does not know which parts of the
// set a policy uses (Failover, ZoneAware, Filter, Subset), but it sees who is asked: peers are
// those of the same tier and zone that were asked of late; if there are none, those of the tier;
// if there are none either, all that were asked.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string_view>
#include <utility>

#include <poise/base/saturating.hpp>
#include <poise/health/member.hpp>
#include <poise/health/options.hpp>
#include <poise/health/phase.hpp>
#include <poise/observer.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::health::detail {

/// Lowers a view's fraction of accepted picks.
inline void limit_share(BackendView& each, double fraction) {
  if (fraction >= 1) return;
  auto const limit = static_cast<std::uint32_t>(fraction * 0x1p32);
  each.admission.share = std::min(each.admission.share, limit);
}

/// Was something seen at `last` within the last interval?
[[nodiscard]] inline bool is_recent(std::optional<Time> last, Time now) noexcept {
  constexpr auto recent = std::chrono::seconds{10};
  return last && poise::detail::saturating_sub(now, *last) <= recent;
}

/// *Threads* one at a time.
class Pacer {
 public:
  Pacer(SlowStart const& options, MemberOf member_of) : options_{options}, member_of_{member_of} {}

  void set(SlowStart const& options) noexcept { options_ = options; }

  /// Updates the pace of each warming backend. *Cost* O(n), O(n log n) while one warms up.
  void set_paces(Time now, std::span<BackendView> all) {
    constexpr auto step = std::chrono::milliseconds{500};
    bool const measured = now - began_ >= step;
    bool const warming = std::ranges::any_of(all, [&](BackendView const& each) {
      return member_of_(each).machine.phase() == Phase::slow_start;
    });
    if (warming) {
      sum_up(now, all);
      for (auto& each : all)
        if (auto& member = member_of_(each); member.machine.phase() == Phase::slow_start)
          set_pace(now, each, member, measured);
    }
    if (!measured) return;
    for (auto& each : all) member_of_(each).total_at_pace = each.backend.total();
    began_ = now;
  }

 private:
  /// Backends that compete.
  struct Peers {
    std::size_t full = 0;
    std::size_t slow = 0;
    double picks = 0;  // of the full ones, since the last step
    double weights = 0;
    [[nodiscard]] double picks_per_weight() const { return weights > 0 ? picks / weights : 0; }
  };

  void sum_up(Time now, std::span<BackendView> all) {
    by_zone_.clear();
    by_tier_.clear();
    asked_ = all_ = {};
    for (auto const& each : all) {
      auto const& member = member_of_(each);
      auto const phase = member.machine.phase();
      if (!in_rotation(each) || is_out(phase) || is_barred(each, member)) continue;
      bool const slow = phase == Phase::slow_start;
      auto const add = [&](Peers& peers) {
        if (slow) return void(++peers.slow);
        ++peers.full;
        peers.picks += static_cast<double>(each.backend.total() - member.total_at_pace);
        peers.weights += each.weight;
      };
      add(all_);
      if (!slow && !is_recent(member.asked_at, now)) continue;
      add(asked_);
      add(by_tier_[each.backend.tier()]);
      add(by_zone_[{each.backend.tier(), each.backend.zone()}]);
    }
  }

  [[nodiscard]] Peers const& peers_of(Backend const& backend) {
    auto const& near = by_zone_[{backend.tier(), backend.zone()}];
    if (near.full != 0) return near;
    auto const& tier = by_tier_[backend.tier()];
    if (tier.full != 0) return tier;
    return asked_.full != 0 ? asked_ : all_;
  }

  void set_pace(Time now, BackendView const& each, Member& member, bool measured) {
    auto const& peers = peers_of(each.backend);
    auto const min_part = least_ramp(peers.full, peers.slow, options_.overload);
    auto const part = std::max(min_part, ramp(now - member.machine.since(), options_));
    if (member.pace == 0) {
      member.pace = first_pace(part, min_part, peers);
      member.got = member.due = 0;
    } else if (measured) {
      member.got += static_cast<double>(each.backend.total() - member.total_at_pace);
      member.due += part * peers.picks_per_weight() * each.weight;
      steer(member);
    }
    member.pace = part >= 1 ? 1 : std::min(member.pace, 1.0);
  }

  /// Low, since the policy may propose it at every pick; but if its peers need it soon, as if the
  /// policy took turns: then it is due part / (full + slow * part) of all picks.
  static double first_pace(double part, double min_part, Peers const& peers) {
    auto const full = static_cast<double>(peers.full);
    auto const slow = static_cast<double>(peers.slow);
    if (min_part > 0) return std::min(1.0, part * (full + slow) / (full + slow * part));
    return part / (full + slow);
  }

  /// At most doubled or cut to a quarter in one step; unchanged while numbers are too small. Also
  /// doubled while it gets nothing: a policy that takes turns proposes one of 300 at each 300th
  /// pick, so the first pace is far too low.
  static void steer(Member& member) {
    constexpr double telling = 10;
    bool const starves = member.got == 0 && member.due >= 1;
    if (!starves && member.due < telling && member.got < telling) return;
    member.pace *= std::clamp(member.due / std::max(member.got, 1.0), 0.25, 2.0);
    member.got = member.due = 0;
  }

  SlowStart options_;
  MemberOf const member_of_;
  Time began_{std::chrono::seconds{1}};
  std::map<std::pair<std::uint32_t, std::string_view>, Peers> by_zone_{};  // used within a step
  std::map<std::uint32_t, Peers> by_tier_{};
  Peers asked_{};
  Peers all_{};
};

}  // namespace poise::inline v0_1_0::health::detail
