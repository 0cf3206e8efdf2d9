// SPDX-License-Identifier: MIT
#pragma once

// A pick's first attempt, which nearly always is its last: the policy names a candidate, and the
// request is counted in there. What comes of the others is core/choose.hpp's business.
//
// It knows neither the balancer's type nor its records', so that a type-erased policy does all of
// it behind one call, and nothing has to be kept over that call for the claim.

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>

#include <poise/backend.hpp>
#include <poise/candidates.hpp>
#include <poise/halves.hpp>
#include <poise/policy.hpp>
#include <poise/random.hpp>
#include <poise/request.hpp>
#include <poise/time.hpp>

namespace poise::detail {

/// What came of it. Two words, returned in registers.
struct Proposal {
  static constexpr auto nobody = std::numeric_limits<std::uint32_t>::max();
  Backend* claimed = nullptr;
  /// Below the path: the index of whom the policy proposed, if nobody was claimed.
  std::uint64_t path_and_rest = nobody;
};

/// Backends that compete with each other, and the policy's plan for them.
template <class P>
struct Group {
  Roster roster{};
  std::optional<hooks::PlanOf<P>> plan{};  // empty if nobody is eligible and nobody ever was
};

/// How requests are counted in. *Requires*, all, a read section that found the backend.
struct Claiming {
  static Backend& backend_at(Roster const& roster, std::size_t i) noexcept {
    return *roster.entries[i].backend;
  }

  /// Counts the request in; null if the backend or the policy refuses it at this very count.
  /// Without `Ask` the policy has no say.
  template <bool Ask, class P>
  [[nodiscard, gnu::always_inline]] static Backend* claim(P const& policy,
                                                          hooks::PlanOf<P> const& plan,
                                                          Roster const& roster, std::size_t i,
                                                          Context& context, bool heed_share) {
    auto& backend = backend_at(roster, i);
    auto const before = backend.word_.claim();
    // No guard object: with a destructor to run it would live in memory, in every pick.
    try {
      if (admits(backend, before, context, heed_share) &&
          (!Ask || hooks::admit(policy, plan, Candidates{roster}, i, before, context))) [[likely]]
        return &backend;
    } catch (...) {
      backend.word_.undo();
      throw;
    }
    backend.word_.undo();
    return nullptr;
  }

  /// The same for a policy that has no say, if nothing is left to chance: it fails also where the
  /// backend accepts only a share of its picks. Without a context, which need not outlive the
  /// policy's pick then, and with calls in the last place only, so that nothing is kept over them.
  [[nodiscard, gnu::always_inline]] static Proposal claim_at_once(Backend& backend,
                                                                  std::uint64_t path_and_index) {
    auto const before = backend.word_.claim();
    auto const admission = backend.admission();
    if (before >= admission.max_in_flight || admission.share != Admission{}.share) [[unlikely]] {
      backend.word_.undo();
      return {nullptr, path_and_index};
    }
    return {&backend, in_one_word(upper_half(path_and_index), 0)};
  }

 private:
  /// By its own limits.
  [[nodiscard, gnu::always_inline]] static bool admits(Backend const& backend, std::uint32_t before,
                                                       Context& context, bool heed_share) {
    auto const admission = backend.admission();
    constexpr auto full = Admission{}.share;
    return before < admission.max_in_flight &&
           (!heed_share || admission.share == full ||
            static_cast<std::uint32_t>(context.random()) < admission.share);
  }
};

/// Does the policy propose by itself, behind a call?
template <class P>
inline constexpr bool proposes =
    requires(P const& policy, Group<P> const& group, Request const& request, Chance& chance,
             sync::Lane lane, Time now) {
      { policy.propose(group, request, chance, lane, now) } -> std::same_as<Proposal>;
    };

/// The policy's proposal, claimed; with `Ask` only if the policy agrees. *Requires* a request that
/// excludes nobody. Context and result never leave the registers.
template <bool Ask, class P>
[[nodiscard, gnu::always_inline]] inline Proposal propose(P const& policy,
                                                          hooks::PlanOf<P> const& plan,
                                                          Roster const& roster,
                                                          Request const& request, Chance& chance,
                                                          sync::Lane lane, Time now) {
  Context context{request, chance, lane};
  context.now = now;
  auto const i = hooks::pick(policy, plan, Candidates{roster}, context);
  if (i >= roster.eligible) [[unlikely]]
    return {nullptr, in_one_word(context.path.bits(), Proposal::nobody)};
  auto const path_and_index = in_one_word(context.path.bits(), static_cast<std::uint32_t>(i));
  auto& backend = Claiming::backend_at(roster, i);
  if constexpr (!Ask) return Claiming::claim_at_once(backend, path_and_index);
  else if (Claiming::claim<true>(policy, plan, roster, i, context, true) != nullptr) [[likely]]
    return {&backend, in_one_word(context.path.bits(), 0)};
  else return {nullptr, path_and_index};
}

}  // namespace poise::detail
