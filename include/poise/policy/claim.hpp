// SPDX-License-Identifier: MIT
#pragma once

// The first step of a pick: the policy names a candidate, and the request is counted in there. It
// nearly always succeeds; engine/select.hpp has the steps that follow if not.
//
// This file depends neither on the balancer's type nor on that of its records. So a type-erased
// policy does the whole step behind one call, and no value has to survive that call.

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>

#include <poise/backend.hpp>
#include <poise/base/bits.hpp>
#include <poise/candidates.hpp>
#include <poise/hash/draw.hpp>
#include <poise/policy.hpp>
#include <poise/policy/trace.hpp>
#include <poise/random.hpp>
#include <poise/request.hpp>
#include <poise/sync/waiting_lot.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::detail {

/// The result of that step. 16 bytes, returned in registers.
struct Proposal {
  static constexpr auto none = std::numeric_limits<std::uint32_t>::max();
  Backend* claimed = nullptr;
  /// High half: the path. Low half: flags if a backend was claimed, else the proposed index.
  std::uint64_t path_and_rest = none;
};

/// Backends that compete with each other, and the policy's plan for them.
template <class P>
struct Group {
  Roster roster{};
  std::optional<hooks::PlanOf<P>> plan{};  // empty until the group first has an eligible backend
};

/// How often a policy is asked again after a refusal. If a fraction s of the backends is unusable,
/// four more draws miss all others with s^5: 3 % at one half.
inline constexpr int more_asks = 4;

/// Counts requests in. *Requires* the read section in which the backend was found.
struct Claiming {
  static Backend& backend_at(Roster const& roster, std::size_t i) noexcept {
    return *roster.entries[i].backend;
  }

  /// Counts the request in; null if the backend or the policy refuses it at that count. Without
  /// `Ask` the policy's admit() is not called.
  template <bool Ask, class P>
  [[nodiscard, gnu::always_inline]] static Backend* claim(P const& policy,
                                                          hooks::PlanOf<P> const& plan,
                                                          Roster const& roster, std::size_t i,
                                                          Context& context, bool apply_share,
                                                          bool apply_trial_limit = true) {
    auto& backend = backend_at(roster, i);
    auto const before = backend.word_.claim();
    // No guard object: with a destructor to run it would live in memory, in every pick.
    bool fits = false;
    try {
      fits = admits(policy, backend, before, context, apply_share, apply_trial_limit);
      if (fits && (!Ask || hooks::admit(policy, plan, Candidates{roster}, i, before, context)))
          [[likely]]
        return &backend;
    } catch (...) {
      take_back(backend);
      throw;
    }
    take_back(backend);
    if (context.trace() != nullptr) [[unlikely]]
      tell_refusal(*context.trace(), backend, before, fits);
    return nullptr;
  }

  /// Would claim() count the request in? Counts nothing. *Requires* a context of a rehearsal.
  template <bool Ask, class P>
  [[nodiscard]] static bool would_claim(P const& policy, hooks::PlanOf<P> const& plan,
                                        Roster const& roster, std::size_t i, Context& context,
                                        bool apply_share, bool apply_trial_limit = true) {
    auto const& backend = backend_at(roster, i);
    auto const before = backend.in_flight();
    bool const fits = admits(policy, backend, before, context, apply_share, apply_trial_limit);
    if (fits && (!Ask || hooks::admit(policy, plan, Candidates{roster}, i, before, context)))
      return true;
    tell_refusal(*context.trace(), backend, before, fits);
    return false;
  }

  /// claim() for a policy that can't reject. It draws no random number, so it also fails if the
  /// backend accepts only a fraction of its picks. It takes no context, whose life may end with the
  /// policy's pick, and its calls come last: no value has to be kept over them.
  [[nodiscard, gnu::always_inline]] static Proposal claim_at_once(Backend& backend,
                                                                  std::uint64_t path_and_index) {
    auto const before = backend.word_.claim();
    auto const admission = backend.admission();
    if (before >= admission.max_in_flight || admission.share != Admission{}.share) [[unlikely]] {
      take_back(backend);
      return {nullptr, path_and_index};
    }
    return {&backend, pack(high_half(path_and_index), 0)};
  }

  /// Undoes a claim. What a queue itself tried wakes no queue.
  static void take_back(Backend& backend) noexcept {
    if (backend.word_.undo() && !sync::is_serving_queue) [[unlikely]]
      sync::WaitingLot::wake(backend.owner_.get());
  }

 private:
  /// `fits`: the backend's own limits were kept.
  [[gnu::noinline, gnu::cold]] static void tell_refusal(PickTrace& trace, Backend const& backend,
                                                        std::uint32_t before, bool fits) {
    if (fits) return trace.refuse(backend, RefusedBy::policy);
    trace.refuse(backend,
                 before < backend.admission().max_in_flight ? RefusedBy::share : RefusedBy::limit);
  }
  /// Applies the backend's own limits. If it accepts only a fraction of its picks, the key decides
  /// which ones with a keyed policy, and a random number with others.
  template <class P>
  [[nodiscard, gnu::always_inline]] static bool admits(P const& policy, Backend const& backend,
                                                       std::uint32_t before, Context& context,
                                                       bool apply_share, bool apply_trial_limit) {
    auto const admission = backend.admission();
    constexpr auto full = Admission{}.share;
    return (before < admission.max_in_flight ||
            (!apply_trial_limit && before < backend.max_in_flight())) &&
           (!apply_share || admission.share == full ||
            draw(policy, backend, context) < admission.share);
  }
  template <class P>
  [[nodiscard, gnu::always_inline]] static std::uint32_t draw(P const& policy,
                                                              Backend const& backend,
                                                              Context& context) {
    auto const key = context.request.key();
    if (!key.empty() && hooks::traits(policy).keyed) return draw_by_key(key, backend);
    return static_cast<std::uint32_t>(context.random());
  }
  [[nodiscard, gnu::noinline, gnu::cold]] static std::uint32_t draw_by_key(
      std::string_view key, Backend const& backend) noexcept {
    return static_cast<std::uint32_t>(mix(draw_of(key) + draw_of(backend.id())));
  }
};

/// True if the policy has a propose() of its own (AnyPolicy).
template <class P>
inline constexpr bool proposes =
    requires(P const& policy, Group<P> const& group, Request const& request, RandomSource& chance,
             sync::Lane lane, Time now) {
      { policy.propose(group, request, chance, lane, now) } -> std::same_as<Proposal>;
    };

/// Claims the policy's proposal; with `Ask` only if the policy admits it. *Requires* a request that
/// excludes no backend. Context and result never leave the registers.
template <bool Ask, class P>
[[nodiscard, gnu::always_inline]] inline Proposal propose(
    P const& policy, hooks::PlanOf<P> const& plan, Roster const& roster, Request const& request,
    RandomSource& chance, sync::Lane lane, Time now) {
  Context context{request, chance, lane};
  context.now = now;
  auto const i = hooks::pick(policy, plan, Candidates{roster}, context);
  if (i >= roster.eligible) [[unlikely]]
    return {nullptr, pack(context.path.bits(), Proposal::none)};
  auto const path_and_index = pack(context.path.bits(), static_cast<std::uint32_t>(i));
  auto& backend = Claiming::backend_at(roster, i);
  if constexpr (!Ask) return Claiming::claim_at_once(backend, path_and_index);
  else if (Claiming::claim<true>(policy, plan, roster, i, context, true) != nullptr) [[likely]]
    return {&backend, pack(context.path.bits(), 0)};
  else return {nullptr, path_and_index};
}

}  // namespace poise::inline v0_1_0::detail
