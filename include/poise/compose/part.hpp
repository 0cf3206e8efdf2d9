// SPDX-License-Identifier: MIT
#pragma once

// A part of the candidates with a policy's plan for it: what wrappers that narrow the choice hold.

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include <poise/candidates.hpp>
#include <poise/policy.hpp>
#include <poise/random.hpp>

namespace poise::detail {

/// Made in plan(), where everything that costs happens; a pick asks the policy and follows one
/// index. *Cost* 32 bytes a member, 8 per eligible one.
template <class P>
class Part {
 public:
  Part() = default;

  /// The members for which `keep(backend)` holds. What `keep` throws passes through.
  template <class Keep>
  Part(P const& policy, Candidates const& candidates, Keep const& keep, Part const* before)
      : roster_{candidates.subset(keep)}, indexes_(candidates.size(), absent) {
    // A generation of its own: what is a part now may be another one with the next plan.
    for (auto const place : roster_.places)
      roster_.generation = mix(roster_.generation * 31 + roster_.entries[place].backend->serial());
    for (std::uint32_t inner = 0; inner < roster_.eligible; ++inner)
      indexes_[roster_.origins[inner]] = inner;
    auto const* old = before != nullptr && before->plan_ ? &*before->plan_ : nullptr;
    if (roster_.eligible != 0) plan_.emplace(hooks::plan(policy, Candidates{roster_}, old));
    else if (old != nullptr) plan_ = *old;  // its tables may outlive an outage
  }

  [[nodiscard]] std::size_t size() const noexcept { return roster_.eligible; }
  [[nodiscard]] Roster const& roster() const noexcept { return roster_; }
  [[nodiscard]] bool holds(std::size_t outer) const noexcept { return indexes_[outer] != absent; }

  /// What the policy picks here, as an index in what this narrows. If the request restricts the
  /// choice it is a backend that it may have, and `none` if there is none here.
  [[gnu::always_inline]] std::size_t pick(P const& policy, Context& context) const {
    if (roster_.eligible == 0) return Candidates::none;
    auto const path = context.path;
    auto const inner = hooks::pick(policy, *plan_, Candidates{roster_}, context);
    if (!context.unrestricted()) [[unlikely]] {
      if (inner < roster_.eligible && context.usable(Candidates{roster_}, inner))
        return roster_.origins[inner];
      auto const found = insist(policy, context, path);
      context.path = found.path;
      return found.outer;
    }
    return inner < roster_.eligible ? roster_.origins[inner] : Candidates::none;
  }

  [[nodiscard]] bool admit(P const& policy, std::size_t outer, std::uint32_t in_flight,
                           Context& context) const {
    if (!holds(outer)) return false;
    if constexpr (hooks::has_admit<P>)
      return hooks::admit(policy, *plan_, Candidates{roster_}, indexes_[outer], in_flight, context);
    else return true;
  }

 private:
  struct Found {
    std::size_t outer;
    Path path;
  };

  /// Asks a few times more, then takes the first usable backend from a random start. The context is
  /// a copy: if the pick's own were referred to, it could not live in registers.
  [[nodiscard, gnu::noinline, gnu::cold]] Found insist(P const& policy, Context context,
                                                       Path path) const {
    Candidates const candidates{roster_};
    constexpr int asks = 4;  // as the balancer does
    for (int ask = 0; ask < asks; ++ask) {
      context.path = path;
      auto const inner = hooks::pick(policy, *plan_, candidates, context);
      if (inner < candidates.size() && context.usable(candidates, inner))
        return {roster_.origins[inner], context.path};
    }
    auto const inner = context.first_usable(candidates, context.random.below(candidates.size()));
    return {inner == Candidates::none ? inner : roster_.origins[inner], path};
  }

  static constexpr auto absent = std::numeric_limits<std::uint32_t>::max();

  Roster roster_{};
  std::vector<std::uint32_t> indexes_{};    // index in what this narrows -> index here
  std::optional<hooks::PlanOf<P>> plan_{};  // empty if nobody is eligible here and nobody ever was
};

}  // namespace poise::detail
