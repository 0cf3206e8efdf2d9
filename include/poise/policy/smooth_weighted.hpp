// SPDX-License-Identifier: MIT
#pragma once

// Weighted round robin without bursts, in nginx's exact order: weights 5, 1, 1 give a a b a c a a.
//
// Use it when backends differ in size and you know by how much. nginx computes the order pick by
// pick, O(n) each and under a lock. The order repeats after sum / gcd picks. So here the plan holds
// one whole period, and a pick only advances an index.
//
// The simulation costs O(period * distinct weights) instead of O(period * n): backends of equal
// weight take their turns in index order, so one front runner stands for each weight. Beyond
// `period_limit` or `work_limit` (about 0.5 ms) the plan is a rotation by the golden ratio instead:
// pick k takes the backend in whose part of a circle the point k * phi falls. That needs O(n) to
// build and O(1) to look up (at worst O(log n)). Its shares are exact in the long run. Its error:
// over any N consecutive picks of one thread a backend's count is within 1.1 + 0.2 log_phi(N) of
// its exact share, whatever the weights: 5 at N = 10^4, 8 at 10^7 (a line above the rotation's
// exact discrepancy, which was computed up to 10^7; tested). Random weights come near that error.
// The gaps between a backend's turns take at most three values.
//
// Source: nginx, ngx_http_upstream_round_robin.c; the three-gap theorem (Sos 1958).

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <numeric>
#include <vector>

#include <poise/policy.hpp>
#include <poise/policy/cursor.hpp>

namespace poise::inline v0_1_0 {

namespace detail {

/// A circle of 2^64 points, cut into parts in proportion to weights.
class GoldenRatioRotation {
 public:
  GoldenRatioRotation() = default;
  explicit GoldenRatioRotation(std::vector<std::uint32_t> const& weights) : ends_(weights.size()) {
    Wide const total = std::accumulate(weights.begin(), weights.end(), std::uint64_t{0});
    Wide sum = 0;
    for (std::size_t i = 0; i < weights.size(); ++i) {
      sum += weights[i];
      ends_[i] = static_cast<std::uint64_t>(((sum << 64U) - 1) / total);  // the last point inside
    }
    ends_.back() = std::numeric_limits<std::uint64_t>::max();
    while ((std::size_t{1} << bits_) < weights.size()) ++bits_;
    // guide_[g] is the part that holds the first point of the g-th of 2^bits equal arcs.
    guide_.resize((std::size_t{1} << bits_) + 1);
    std::uint32_t part = 0;
    for (std::size_t arc = 0; arc + 1 < guide_.size(); ++arc) {
      while (ends_[part] < (static_cast<std::uint64_t>(arc) << (64U - bits_))) ++part;
      guide_[arc] = part;
    }
    guide_.back() = static_cast<std::uint32_t>(weights.size() - 1);
  }

  [[nodiscard]] std::size_t part_at(std::uint64_t point) const noexcept {
    auto const arc = static_cast<std::size_t>(point >> (64U - bits_));
    auto const first = ends_.begin() + guide_[arc];
    if (point <= *first) return guide_[arc];
    auto const last = ends_.begin() + guide_[arc + 1];
    return static_cast<std::size_t>(std::lower_bound(first + 1, last, point) - ends_.begin());
  }

 private:
  std::vector<std::uint64_t> ends_;
  std::vector<std::uint32_t> guide_;
  unsigned bits_ = 1;  // at least one, so that the shift above stays below 64
};

/// One period of nginx's smooth weighted round robin. *Requires* weights above 0.
class SmoothSequence {
 public:
  static constexpr std::uint64_t period_limit = 1U << 16U;  // 256 KiB
  static constexpr std::uint64_t work_limit = 1U << 18U;    // steps; 0.5 ms at 2 ns each

  explicit SmoothSequence(std::vector<std::uint32_t> const& weights) {
    std::uint32_t divisor = 0;
    for (auto const weight : weights) divisor = std::gcd(divisor, weight);
    std::map<std::uint32_t, Class> by_weight;
    for (std::uint32_t i = 0; i < weights.size(); ++i) {
      auto const weight = weights[i] / divisor;
      by_weight[weight].members.push_back(i);
      period_ += weight;
    }
    for (auto& [weight, members] : by_weight) {
      members.weight = weight;
      classes_.push_back(std::move(members));
    }
  }

  [[nodiscard]] bool affordable() const noexcept {
    return period_ <= period_limit && period_ * classes_.size() <= work_limit;
  }

  [[nodiscard]] std::vector<std::uint32_t> build() {
    std::vector<std::uint32_t> order;
    order.reserve(period_);
    while (order.size() < period_) order.push_back(step());
    return order;
  }

 private:
  struct Class {
    std::vector<std::uint32_t> members{};
    std::int64_t weight = 0;
    std::int64_t current = 0;  // nginx's current_weight of the front runner
    std::size_t front = 0;     // the next member to take a turn
  };

  // nginx: current += weight for all; the greatest current wins, the lowest index among equals; the
  // sum of the weights is subtracted from the winner. Here a class keeps the current of its front
  // runner. Members that already had their turn are `period` lower until all members had theirs.
  std::uint32_t step() {
    Class* best = nullptr;
    for (auto& each : classes_) {
      each.current += each.weight;
      if (best == nullptr || each.current > best->current ||
          (each.current == best->current && each.members[each.front] < best->members[best->front]))
        best = &each;
    }
    auto const winner = best->members[best->front];
    if (++best->front == best->members.size()) {
      best->front = 0;
      best->current -= static_cast<std::int64_t>(period_);
    }
    return winner;
  }

  std::vector<Class> classes_;
  std::uint64_t period_ = 0;
};

}  // namespace detail

/// *Cost* O(1), no shared write; at most 256 KiB of plan, rebuilt in at most about 0.5 ms per
/// 1000 backends.
struct SmoothWeighted {
  static constexpr char const* name = "smooth_weighted";

  struct Plan {
    std::vector<std::uint32_t> sequence;  // empty if weights are equal or the sequence is too long
    detail::GoldenRatioRotation circle;
    bool equal = false;
  };
  Cursor cursor{};

  [[nodiscard]] Plan plan(Candidates const& candidates, Plan const*) const {
    if (candidates.equal_weights()) return {{}, {}, true};
    auto const weights = candidates.weights();
    detail::SmoothSequence sequence{weights};
    if (sequence.affordable()) return {sequence.build(), {}, false};
    return {{}, detail::GoldenRatioRotation{weights}, false};
  }

  [[gnu::always_inline]] std::size_t pick(Plan const& plan, Candidates const& candidates,
                                          Context& context) const {
    if (!context.unrestricted()) [[unlikely]]
      return draw_usable(plan, candidates, context);
    if (plan.equal) return cursor.turn(context, candidates.size());
    if (!plan.sequence.empty()) return plan.sequence[cursor.turn(context, plan.sequence.size())];
    constexpr std::uint64_t golden = 0x9e3779b97f4a7c15U;  // 2^64 / phi
    return plan.circle.part_at(cursor.count(context) * golden);
  }

 private:
  /// A usable backend at random, by weight: for a retry, or after a refusal.
  [[nodiscard, gnu::noinline]] static std::size_t draw_usable(Plan const& plan,
                                                              Candidates const& candidates,
                                                              Context& context) noexcept {
    if (plan.equal) return context.draw_usable(candidates);
    for (int draw = 0; draw < 3; ++draw) {
      auto const i = plan.sequence.empty()
                         ? plan.circle.part_at(context.random())
                         : plan.sequence[context.random.below(plan.sequence.size())];
      if (context.usable(candidates, i)) return i;
    }
    return context.draw_usable(candidates);
  }
};

}  // namespace poise::inline v0_1_0
