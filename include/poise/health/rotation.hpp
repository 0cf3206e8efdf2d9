// SPDX-License-Identifier: MIT
#pragma once

// The backends that requests may go to, by tier: whether too few are left, and where.

#include <cstddef>
#include <cstdint>
#include <map>

#include <poise/base/overprovision.hpp>
#include <poise/health/options.hpp>
#include <poise/observer.hpp>

namespace poise::inline v0_1_0::health::detail {

/// A set panics when less than the threshold of it is usable, unless its tiers can carry all
/// traffic between them, as Failover divides it. So a standby that is smaller than the tier that
/// it stands in for gets the traffic.
class Rotation {
 public:
  struct Part {
    std::size_t usable = 0;
    std::size_t unusable = 0;
    std::size_t discounted = 0;  // proven to fail while another of the tier is usable

    /// How many decide about panic. When the last usable one was drained or removed, all do.
    [[nodiscard]] std::size_t deciding() const noexcept {
      return usable + unusable + (usable == 0 ? discounted : 0);
    }
    [[nodiscard]] std::uint64_t capacity() const noexcept {
      return poise::detail::capacity_percent(usable, usable + unusable + discounted);
    }
  };

  void add(BackendView const& each, bool is_usable, bool is_discounted) {
    for (auto* part : {&all_, &tiers_[each.backend.tier()]})
      ++(is_usable ? part->usable : is_discounted ? part->discounted : part->unusable);
  }

  [[nodiscard]] Part const& all() const noexcept { return all_; }

  [[nodiscard]] bool panics(double threshold) const noexcept {
    return is_panic(all_.usable, all_.deciding(), threshold) && !tiers_carry_all();
  }

  /// Is it right to open it in a panic? Not if its tier has no usable backend, but another has.
  [[nodiscard]] bool may_open(BackendView const& each) const noexcept {
    if (all_.usable == 0) return true;
    auto const tier = tiers_.find(each.backend.tier());
    return tier != tiers_.end() && tier->second.usable != 0;
  }

 private:
  [[nodiscard]] bool tiers_carry_all() const noexcept {
    if (tiers_.size() < 2) return false;
    std::uint64_t sum = 0;
    for (auto const& [number, tier] : tiers_) sum += tier.capacity();
    return sum >= 100;
  }

  Part all_{};
  std::map<std::uint32_t, Part> tiers_{};
};

}  // namespace poise::inline v0_1_0::health::detail
