// SPDX-License-Identifier: MIT
#pragma once

// Load shedding by priority: refuses requests of lower priority while there is still room for those
// of higher priority.
//
//   poise::Balancer<poise::Shed<poise::P2C>, void, Runtime> servers{...};
//   servers.pick({.priority = poise::Priority::low});
//
// Requests of high priority may fill a backend's limit (set_admission, FixedLimit, AdaptiveLimit).
// Other requests may fill only a fraction of it, rounded down, but at least one request. Without a
// limit nothing is shed. The trials of a health monitor are open to every priority.
//
// It is a wrapper and not a rule, because only admit() sees both the request and the number in
// flight at the moment of the claim. So the fractions hold for any number of threads, without
// state.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include <poise/backend.hpp>
#include <poise/candidates.hpp>
#include <poise/compose/wrapper.hpp>
#include <poise/error.hpp>
#include <poise/policy.hpp>
#include <poise/request.hpp>

namespace poise::inline v0_1_0 {

/// How far requests of each priority may fill a backend's limit.
struct ShedOptions {
  double normal = 0.9;  ///< The fraction of the limit that requests of normal priority may fill.
  double low = 0.5;     ///< The fraction for requests of low priority. 0 leaves room for one.
};

/// *Errors* ConfigError: not 0 <= low <= normal <= 1.
/// *Cost* one load and a multiplication per claim.
template <class P>
class Shed : public Wrapper<P> {
 public:
  using Plan = hooks::PlanOf<P>;

  // NOLINTNEXTLINE(*-explicit-*): a default argument of Balancer
  Shed(ShedOptions options = {}, P inner = detail::default_policy<P>())
      : Wrapper<P>{std::move(inner)}, parts_{1, options.normal, options.low} {
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
    auto const limit = candidates[i].max_in_flight();
    if (part < 1 && limit != Admission{}.max_in_flight &&
        in_flight >= std::max(std::floor(part * limit), 1.0))
      return false;
    return hooks::admit(this->inner(), plan, candidates, i, in_flight, context);
  }
  /// Shed can reject, even if the inner policy can't.
  [[nodiscard]] hooks::TraitsOfType<hooks::time_use<P>, false> traits() const {
    return {this->joint_traits()};
  }

 private:
  std::array<double, 3> parts_;  // by Priority
};

}  // namespace poise::inline v0_1_0
