// SPDX-License-Identifier: MIT
#pragma once

// Some of the candidates, with a policy's plan for them: used by wrappers that narrow the choice.

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include <poise/candidates.hpp>
#include <poise/hash/draw.hpp>
#include <poise/policy.hpp>
#include <poise/random.hpp>

namespace poise::inline v0_1_0::detail {

/// Made in plan(), which does all the expensive work; a pick asks the policy and maps one index.
/// *Cost* 32 bytes a member, 8 per eligible one.
template <class P>
class PlannedSubset {
 public:
  PlannedSubset() = default;

  /// The members for which `keep(backend)` holds. Exceptions of `keep` pass through.
  template <class Keep>
  PlannedSubset(P const& policy, Candidates const& candidates, Keep const& keep,
                PlannedSubset const* before)
      : roster_{candidates.subset(keep)}, indexes_(candidates.size(), absent) {
    // A generation of its own: the next plan may have other members at the same generation.
    for (auto const place : roster_.places)
      roster_.generation = mix(roster_.generation * 31 + roster_.entries[place].backend->serial());
    for (std::uint32_t inner = 0; inner < roster_.eligible; ++inner)
      indexes_[roster_.origins[inner]] = inner;
    auto const* old = before != nullptr && before->plan_ ? &*before->plan_ : nullptr;
    if (roster_.eligible != 0) plan_.emplace(hooks::plan(policy, Candidates{roster_}, old));
    else if (old != nullptr) plan_ = *old;  // keep the tables over an outage
  }

  [[nodiscard]] std::size_t size() const noexcept { return roster_.eligible; }
  [[nodiscard]] Roster const& roster() const noexcept { return roster_; }
  [[nodiscard]] bool holds(std::size_t outer) const noexcept { return indexes_[outer] != absent; }

  /// The policy's pick, as an index among the outer candidates. If the request excludes backends,
  /// or backends refused it, a usable one; `none` if the subset has none.
  [[gnu::always_inline]] std::size_t pick(P const& policy, Context& context) const {
    if (roster_.eligible == 0) return Candidates::none;
    auto const path = context.path;
    auto const inner = hooks::pick(policy, *plan_, Candidates{roster_}, context);
    if (!context.unrestricted()) [[unlikely]] {
      if (inner < roster_.eligible && context.usable(Candidates{roster_}, inner))
        return roster_.origins[inner];
      auto const found = ask_again(policy, context, path);
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

  /// Asks the policy a few more times, then takes the first usable backend from a random start (the
  /// key's, if there is one). The context is a copy: a reference to the pick's own context would
  /// force that out of its registers.
  [[nodiscard, gnu::noinline, gnu::cold]] Found ask_again(P const& policy, Context context,
                                                          Path path) const {
    Candidates const candidates{roster_};
    constexpr int asks = 4;  // as the balancer does
    context.note_asked();
    for (int ask = 0; ask < asks; ++ask) {
      context.path = path;
      auto const inner = hooks::pick(policy, *plan_, candidates, context);
      if (inner < candidates.size() && context.usable(candidates, inner))
        return {roster_.origins[inner], context.path};
    }
    auto const key = context.request.key();
    auto const start = hooks::traits(policy).keyed && !key.empty()
                           ? draw_of(key) % candidates.size()
                           : context.random.below(candidates.size());
    auto const inner = context.first_usable(candidates, start);
    return {inner == Candidates::none ? inner : roster_.origins[inner], path};
  }

  static constexpr auto absent = std::numeric_limits<std::uint32_t>::max();

  Roster roster_{};
  std::vector<std::uint32_t> indexes_{};    // outer index -> inner index
  std::optional<hooks::PlanOf<P>> plan_{};  // empty if no member is or ever was eligible
};

}  // namespace poise::inline v0_1_0::detail
