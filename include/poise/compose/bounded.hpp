// SPDX-License-Identifier: MIT
#pragma once

// Consistent hashing with bounded loads: no backend holds much more than its share, however hot a
// key is. What would be too much goes to the key's next backend, and comes back as the load falls.
//
//   poise::Balancer<poise::Bounded<poise::Maglev>> servers{endpoints, {{.percent = 150}}};
//
// Use it around HashRing, Maglev or Rendezvous where some keys are much hotter than others. The
// price: hot keys have several backends at times, each with a cache to fill. Other policies can be
// bounded too, but those that count what is in flight need no bound.
//
// The bound is HAProxy's hash-balance-factor, to the letter. With f percent, S requests in flight
// before this one, W the sum of the eligible weights, e a backend's weight and c the sum of the
// weights before it in order:
//
//   all   = ((S + 1) * f + 99) / 100                                  in whole numbers, as all here
//   slots = e * (all / W) + (c + e) * (all % W) / W - c * (all % W) / W, and at least 1
//
// and a backend takes the request if it has fewer than `slots` in flight. The slots of all backends
// sum up to more than S, so somebody always takes it. (Envoy admits one more.)
//
// It holds at the moment of admission, at every interleaving: a request is added to S only if
// nobody was admitted or ended since S and the backend's own count were read (sync/tally.hpp). A
// request that was claimed and is not yet admitted counts in the backend's own number.
//
// S counts the requests that this policy admitted. Put Bounded outside of whatever else refuses, so
// that none is admitted here and refused there; but inside of Filter and Subset, which narrow down
// who there is: around them it would keep room on backends that are never used, and refuse.
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

#include <poise/candidates.hpp>
#include <poise/compose/forward.hpp>
#include <poise/error.hpp>
#include <poise/policy.hpp>
#include <poise/random.hpp>
#include <poise/sync/relaxed.hpp>
#include <poise/sync/tally.hpp>

namespace poise {

struct BoundedOptions {
  /// How much a backend may hold, of its share of all in flight; more than 100.
  std::uint32_t percent = 125;
};

namespace detail {

/// Who may hold how much: the eligible weights, summed up in order.
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

}  // namespace detail

/// *Cost* beside the inner policy's: a compare-exchange on a line that all threads share, twice.
/// The plan adds 8 bytes a backend.
/// *Errors* ConfigError: percent of 100 or less.
template <class P>
class Bounded : public detail::Around<P> {
 public:
  static constexpr unsigned path_bits = detail::Around<P>::path_bits + 1;
  struct Plan {
    hooks::PlanOf<P> inner{};
    detail::Slots slots{};
    std::uint64_t generation = 0;
  };

  // NOLINTNEXTLINE(*-explicit-*): a default argument of Balancer
  Bounded(BoundedOptions options = {}, P inner = {})
      : detail::Around<P>{std::move(inner)}, percent_{options.percent} {
    if (percent_ <= 100)
      throw ConfigError{"percent of Bounded is " + std::to_string(percent_) +
                        ": it must be more than 100, the mean; 125 is usual"};
  }

  [[nodiscard]] std::string name() const { return "bounded(" + hooks::name(this->inner()) + ")"; }
  [[nodiscard]] static bool hears_finish() noexcept { return true; }

  [[nodiscard]] Plan plan(Candidates const& candidates, Plan const* before) const {
    if (before == nullptr) count_others(candidates);
    else if (before->generation != candidates.generation()) forget_removed(candidates);
    return {hooks::plan(this->inner(), candidates, before != nullptr ? &before->inner : nullptr),
            detail::Slots{candidates}, candidates.generation()};
  }

  /// What P picks, unless that is full; then what P would pick without those that are.
  [[nodiscard]] std::size_t pick(Plan const& plan, Candidates const& candidates,
                                 Context& context) const {
    auto const served = total_->all(total_->own.read());
    auto const has_room = [&](std::size_t i) {
      return candidates.in_flight(i) < plan.slots.of(i, served, percent_);
    };
    auto const first = hooks::pick(this->inner(), plan.inner, candidates, context);
    if (first >= candidates.size() || has_room(first)) return first;
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
    // Others may hold claims at this moment that they are about to give back: then look again. Each
    // look that fails means that another thread got on, so the bound is one for bad luck.
    for (int look = 0; look < many; ++look) {
      auto const seen = total_->own.read();
      auto const slots = plan.slots.of(i, total_->all(seen), percent_);
      if (in_flight >= slots) return false;
      auto const others = candidates.in_flight(i) - 1;  // this claim is counted
      if (others < slots && total_->own.add_if_unchanged(seen)) {
        context.path.push(1, 1);
        return true;
      }
    }
    return false;
  }

  void on_finish(Finish& finish) const {
    if (finish.path && finish.path->pop(1) != 0) total_->own.remove();
    else if (!finish.path) total_->one_other_ended();
    hooks::on_finish(this->inner(), finish);
  }

 private:
  static constexpr int few = 8;  // a context remembers as many
  static constexpr int many = 64;

  /// What is in flight: admitted by this policy, and by the one before it. Copies share it.
  struct Total {
    sync::Tally own;
    sync::Relaxed<std::uint32_t> others{0};

    [[nodiscard]] std::uint64_t all(sync::Tally::Reading seen) const noexcept {
      return std::uint64_t{seen.count()} + others.load();
    }
    void one_other_ended() noexcept {
      if (auto const left = others.load(); left != 0) others.store(left - 1);
    }
  };

  static std::uint32_t in_flight(Candidates const& candidates) noexcept {
    std::uint32_t sum = 0;
    for (std::size_t position = 0; position < candidates.members(); ++position)
      sum += candidates.member(position).in_flight();
    return sum;
  }

  /// A policy that comes into a running balancer finds requests in flight.
  void count_others(Candidates const& candidates) const noexcept {
    auto const all = in_flight(candidates);
    auto const own = total_->own.read().count();
    total_->others.store(all - std::min(all, own));
  }

  /// The ends of requests to removed backends are not told to a policy with state per backend.
  void forget_removed(Candidates const& candidates) const noexcept {
    if (hooks::make_state(this->inner()) == nullptr) return;
    for (int tries = 0; tries < few; ++tries) {
      auto const seen = total_->own.read();
      auto const all = in_flight(candidates);
      auto const others = std::min(all, total_->others.load());
      total_->others.store(others);
      if (total_->own.set_if_unchanged(seen, all - others)) return;
    }
  }

  std::uint32_t percent_;
  std::shared_ptr<Total> total_ = std::make_shared<Total>();
};

}  // namespace poise
