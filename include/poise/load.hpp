// SPDX-License-Identifier: MIT
#pragma once

// How busy is a backend? A load turns what is known of it into one number, less is better; policies
// such as Least and PowerOfTwo compare them. Policy and load are two independent choices.

#include <concepts>
#include <cstddef>
#include <string>

#include <poise/policy.hpp>

namespace poise {

template <class L>
concept Load = std::copyable<L> && requires(L const& load, Candidates const& candidates,
                                            std::size_t i, Context const& context) {
  { load(candidates, i, context) } -> std::convertible_to<float>;
};

/// Requests in flight: 16 million fit a float exactly, and 2^23 is the limit.
struct InFlight {
  static constexpr char const* name = "in_flight";
  float operator()(Candidates const& candidates, std::size_t i, Context const&) const noexcept {
    return static_cast<float>(candidates.in_flight(i));
  }
};

/// Another load per unit of weight: a backend of weight 2 is as busy with two requests as one of
/// weight 1 with one.
template <class L>
struct Weighted {
  static_assert(Load<L>, "a poise load needs: float operator()(Candidates const&, std::size_t, Context const&) const");
  [[no_unique_address]] L load{};

  static constexpr bool uses_time = hooks::time_use<L> == hooks::UsesTime::always;
  [[nodiscard]] std::string name() const { return "weighted(" + hooks::name(load) + ")"; }
  float operator()(Candidates const& candidates, std::size_t i, Context const& context) const {
    return load(candidates, i, context) * candidates.per_weight(i);
  }
};

}  // namespace poise
