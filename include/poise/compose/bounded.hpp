// SPDX-License-Identifier: MIT
#pragma once

// Consistent hashing with bounded loads: no backend holds much more than its fraction of the
// requests in flight, however hot a key is. Excess requests go to the key's next backend, and
// return when the load falls.
//
//   poise::Balancer<poise::Bounded<poise::Maglev>> servers{endpoints, {{.percent = 150}}};
//
// Use it around HashRing, Maglev or Rendezvous where some keys are much hotter than others. The
// price: at times a hot key has several backends, each with a cache to fill. Other policies can be
// bounded too, but a policy that looks at requests in flight needs no bound.
//
// The bound is exactly HAProxy's hash-balance-factor. With f percent, S requests in flight before
// this one, W the sum of the eligible weights, e a backend's weight and c the sum of the weights
// before it in order, in integer arithmetic:
//
//   all   = ((S + 1) * f + 99) / 100
//   slots = e * (all / W) + (c + e) * (all % W) / W - c * (all % W) / W, and at least 1
//
// A backend takes the request if it has fewer than `slots` in flight. The slots of all backends add
// up to more than S, so some backend always takes it. (Envoy admits one request more.)
//
// S is the sum of what the balancer counts in flight on this policy's backends, whichever policy
// admitted a request. So it is right after clear(), set_policy() and record(), beside the other
// policies of a PriorityRouter, and in each tier of a Failover by itself.
//
// The bound holds at the moment of admission. A sum is not read at one moment, so it is read twice
// and used only if both agree and no request was admitted or completed meanwhile (sync/tally.hpp).
// If other threads interfere with all of many tries, the sum may be off by their number.
//
// Put Bounded outside of other wrappers that refuse requests, but inside of Filter and Subset:
// around them it would reserve room on backends that are never picked, and refuse requests.
//
// Source: Mirrokni, Thorup, Zadimoghaddam 2016, "Consistent hashing with bounded loads"; HAProxy,
// lb_chash.c.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <poise/base/check.hpp>
#include <poise/candidates.hpp>
#include <poise/compose/wrapper.hpp>
#include <poise/policy.hpp>
#include <poise/random.hpp>
#include <poise/sync/tally.hpp>

namespace poise::inline v0_1_0 {

/// How far above its share a backend may be loaded.
struct BoundedOptions {
  /// The requests that a backend may hold, in percent of its fraction of all in flight; above 100.
  std::uint32_t percent = 125;
};

namespace detail {

/// The number of requests that each backend may hold, from the eligible weights.
class Slots {
 public:
  Slots() = default;
  explicit Slots(Candidates const& candidates) : sums_(candidates.size() + 1) {
    for (std::size_t i = 0; i < candidates.size(); ++i)
      sums_[i + 1] = sums_[i] + candidates.weight(i);
  }

  /// For candidate `i`, with `served` in flight in all: the formula above.
  [[nodiscard]] std::uint64_t of(std::size_t i, std::uint64_t served,
                                 std::uint32_t percent) const noexcept {
    auto const all = ((served + 1) * percent + 99) / 100;
    auto const weights = sums_.back();
    auto const rest = all % weights;
    auto const part = [&](std::uint64_t sum) {
      return weights >> 32U == 0 ? sum * rest / weights
                                 : static_cast<std::uint64_t>(Wide{sum} * rest / weights);
    };
    auto const slots =
        (sums_[i + 1] - sums_[i]) * (all / weights) + part(sums_[i + 1]) - part(sums_[i]);
    return std::max<std::uint64_t>(1, slots);
  }

 private:
  std::vector<std::uint64_t> sums_;
};

/// The requests in flight on all members, eligible or not. *Cost* O(n).
class InFlightSum {
 public:
  explicit InFlightSum(Candidates const& candidates) noexcept {
    for (std::size_t position = 0; position < candidates.members(); ++position) {
      auto const each = candidates.member(position).in_flight();
      sum_ += each;
      mixed_ += each * mix(position);
    }
  }
  [[nodiscard]] std::uint64_t sum() const noexcept { return sum_; }
  /// True if each number is the same (but for one case in 2^64).
  friend bool operator==(InFlightSum const&, InFlightSum const&) = default;

 private:
  std::uint64_t sum_ = 0;
  std::uint64_t mixed_ = 0;
};

}  // namespace detail

/// *Cost* beside the inner policy's: a compare-exchange on a cache line that all threads share, at
/// admission and at the end; and, if the backend has requests in flight, three sums over all
/// backends, 0.7 ns each. The plan adds 8 bytes a backend.
/// *Errors* ConfigError: percent of 100 or less.
template <class P>
class Bounded : public detail::Around<P> {
 public:
  static constexpr unsigned path_bits = detail::Around<P>::path_bits + 1;
  struct Plan {
    hooks::PlanOf<P> inner{};
    detail::Slots slots{};
  };

  // NOLINTNEXTLINE(*-explicit-*): a default argument of Balancer
  Bounded(BoundedOptions options = {}, P inner = detail::default_policy<P>())
      : detail::Around<P>{std::move(inner)}, percent_{options.percent} {
    detail::check_at_least("percent of Bounded", percent_, 101U,
                           "use more than 100, the mean; 125 is usual");
  }

  [[nodiscard]] std::string name() const { return "bounded(" + hooks::name(this->inner()) + ")"; }
  [[nodiscard]] hooks::TraitsOfType<hooks::time_use<P>, false> traits() const {
    auto traits = hooks::traits(this->inner());
    traits.wants_finish = true;
    return {traits};
  }

  [[nodiscard]] Plan plan(Candidates const& candidates, Plan const* before) const {
    return {hooks::plan(this->inner(), candidates, before != nullptr ? &before->inner : nullptr),
            detail::Slots{candidates}};
  }

  /// The inner policy's pick unless that backend is full; otherwise its pick among the others.
  [[nodiscard]] std::size_t pick(Plan const& plan, Candidates const& candidates,
                                 Context& context) const {
    auto const first = hooks::pick(this->inner(), plan.inner, candidates, context);
    if (first >= candidates.size() || candidates.in_flight(first) == 0) return first;
    auto const sum = detail::InFlightSum{candidates}.sum();
    auto const has_room = [&](std::size_t i) {
      return candidates.in_flight(i) < plan.slots.of(i, sum, percent_);
    };
    if (has_room(first)) return first;
    auto const accept = [&](std::size_t i) { return context.usable(candidates, i) && has_room(i); };
    if constexpr (requires { this->inner().pick_where(plan.inner, candidates, context, accept); }) {
      auto const next = this->inner().pick_where(plan.inner, candidates, context, accept);
      return next < candidates.size() ? next : first;
    } else {
      auto i = first;
      for (int tries = 0; tries < few && i < candidates.size() && !has_room(i); ++tries) {
        context.refuse(candidates[i]);
        context.path = {};
        i = hooks::pick(this->inner(), plan.inner, candidates, context);
      }
      return i;
    }
  }

  [[nodiscard]] bool admit(Plan const& plan, Candidates const& candidates, std::size_t i,
                           std::uint32_t in_flight, Context& context) const {
    if (!hooks::admit(this->inner(), plan.inner, candidates, i, in_flight, context)) return false;
    if (context.rehearsal() != nullptr) [[unlikely]]
      return in_flight == 0 ||
             in_flight < plan.slots.of(i, detail::InFlightSum{candidates}.sum(), percent_);
    auto const has_room = [&](std::uint64_t sum) {
      auto const slots = plan.slots.of(i, sum - 1, percent_);  // without this claim
      // Claims that are not admitted yet may be undone, so this claim's number may be too high.
      return candidates.in_flight(i) - 1 < slots && in_flight < slots;
    };
    for (int look = 0; look < looks; ++look) {
      auto const seen = changes_->read();
      if (in_flight != 0) {
        detail::InFlightSum const sum{candidates};
        if (sum != detail::InFlightSum{candidates}) continue;
        if (!has_room(sum.sum())) return false;
      }
      if (changes_->add_if_unchanged(seen)) return admitted(context);
    }
    if (in_flight != 0 && !has_room(detail::InFlightSum{candidates}.sum())) return false;
    while (!changes_->add_if_unchanged(changes_->read())) {
    }
    return admitted(context);
  }

  void on_finish(Finish& finish) const {
    if (finish.path && finish.path->pop(1) != 0) changes_->remove();
    hooks::on_finish(this->inner(), finish);
  }

 private:
  static constexpr int few = 8;     // a context remembers as many refusals
  static constexpr int looks = 64;  // each failed one means that another thread made progress

  static bool admitted(Context& context) noexcept {
    context.path.push(1, 1);
    return true;
  }

  std::uint32_t percent_;
  /// Changes with each admission and each completed request; copies share it. Its count plays no
  /// part.
  std::shared_ptr<sync::Tally> changes_ = std::make_shared<sync::Tally>();
};

}  // namespace poise::inline v0_1_0
