// SPDX-License-Identifier: MIT
#pragma once

// Refuses what matters less while there is still room for what matters more.
//
//   poise::Balancer<poise::resilience::Shed<poise::P2C>, void, Runtime> servers{...};
//   servers.pick({.priority = poise::Priority::low});
//
// Each backend's limit (set_admission, FixedLimit, AdaptiveLimit) is open to requests of high
// priority; the others may fill only a part of it. Without a limit nothing is shed.
//
// A wrapper of the policy rather than a rule, because only admit() sees the request and the number
// in flight at the moment of the claim: the parts hold at every interleaving, and no state is kept.

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include <poise/candidates.hpp>
#include <poise/compose/forward.hpp>
#include <poise/error.hpp>
#include <poise/policy.hpp>
#include <poise/request.hpp>

namespace poise::resilience {

struct ShedOptions {
  double normal =
      0.9;           ///< The part of a backend's limit that requests of normal priority may fill.
  double low = 0.5;  ///< ... and of low priority.
};

/// *Errors* ConfigError: not 0 <= low <= normal <= 1.
/// *Cost* one load and a multiplication per claim.
template <class P>
class Shed : public poise::detail::Through<P> {
 public:
  using Plan = hooks::PlanOf<P>;

  // NOLINTNEXTLINE(*-explicit-*): a default argument of Balancer
  Shed(ShedOptions options = {}, P inner = {})
      : poise::detail::Through<P>{std::move(inner)}, parts_{1, options.normal, options.low} {
    if (!(0 <= options.low && options.low <= options.normal && options.normal <= 1))
      throw ConfigError{"parts of Shed are normal " + std::to_string(options.normal) + ", low " +
                        std::to_string(options.low) +
                        ": shares of a limit, and low may not fill more than normal"};
  }

  [[nodiscard]] std::string name() const { return "shed(" + hooks::name(this->inner()) + ")"; }

  [[nodiscard]] bool admit(Plan const& plan, Candidates const& candidates, std::size_t i,
                           std::uint32_t in_flight, Context& context) const {
    auto const priority = static_cast<std::size_t>(context.request.priority);
    auto const part = parts_[priority < parts_.size() ? priority : parts_.size() - 1];
    auto const limit = static_cast<double>(candidates[i].admission().max_in_flight);
    if (part < 1 && in_flight >= std::floor(part * limit)) return false;
    return hooks::admit(this->inner(), plan, candidates, i, in_flight, context);
  }

 private:
  std::array<double, 3> parts_;  // by Priority
};

}  // namespace poise::resilience
