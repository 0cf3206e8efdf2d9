// SPDX-License-Identifier: MIT
#pragma once

// How busy is a backend? A load turns what is known of it into one number, less is better; policies
// such as Least and PowerOfTwo compare them. Policy and load are two independent choices.

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>

#include <poise/policy.hpp>

namespace poise {

template <class L>
concept Load = std::copyable<L> && requires(L const& load, Candidates const& candidates,
                                            std::size_t i, Context const& context) {
  { load(candidates, i, context) } -> std::totally_ordered;
};

/// Requests in flight.
struct InFlight {
  static constexpr char const* name = "in_flight";
  std::uint32_t operator()(Candidates const& candidates, std::size_t i,
                           Context const&) const noexcept {
    return candidates.in_flight(i);
  }
};

/// Another load per unit of weight: a backend of weight 2 is as busy with two requests as one of
/// weight 1 with one.
template <class L>
struct Weighted {
  static_assert(Load<L>,
                "a poise load needs: an ordered value from operator()(Candidates const&, "
                "std::size_t, Context const&) const");
  [[no_unique_address]] L load{};

  static constexpr bool uses_time = hooks::time_use<L> == hooks::UsesTime::always;
  [[nodiscard]] std::string name() const { return "weighted(" + hooks::name(load) + ")"; }
  float operator()(Candidates const& candidates, std::size_t i, Context const& context) const {
    return static_cast<float>(load(candidates, i, context)) * candidates.per_weight(i);
  }
};

namespace detail {

/// Calls compare(load), or compare(what it weighs) while all weights are equal: that changes no
/// comparison, and saves a conversion and a multiplication per backend.
template <class L, class Compare>
[[gnu::always_inline]] inline auto with_load(L const& load, Candidates const&,
                                             Compare const& compare) {
  return compare(load);
}
template <class L, class Compare>
[[gnu::always_inline]] inline auto with_load(Weighted<L> const& load, Candidates const& candidates,
                                             Compare const& compare) {
  return candidates.equal_weights() ? compare(load.load) : compare(load);
}

}  // namespace detail

}  // namespace poise
