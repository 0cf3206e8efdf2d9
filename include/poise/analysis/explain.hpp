// SPDX-License-Identifier: MIT
#pragma once

// What a pick would do now, and why: every backend with its score and the first reason that passes
// it over. Nothing changes, and the explained winner is the pick that follows.
//
//   std::cout << message(poise::analysis::explain(servers, {.route_key = "user 7"}));
//
//   p2c picks 10.0.0.2:80 for the key "user 7"
//     10.0.0.1:80: drained; ends by: undrain()
//     10.0.0.2:80: picked; score 1
//     10.0.0.3:80: outscored (4, winner 1)
//
// The balancer rehearses the pick (policy/rehearsal.hpp). Without a seed each thread has random
// numbers and rotations of its own, so the explanation is that of the calling thread. The clock
// goes on; a policy that looks at it may decide otherwise a moment later.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <poise/analysis/why.hpp>
#include <poise/backend.hpp>
#include <poise/base/check.hpp>
#include <poise/error.hpp>
#include <poise/policy/rehearsal.hpp>
#include <poise/rehearsed.hpp>
#include <poise/request.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::analysis {

/// A backend in an explanation.
struct Candidate {
  Why why{};  ///< Reason::none for the winner alone.
  /// As the policy computes it: less is better. Empty if it computes none.
  std::optional<double> score{};
  bool compared = false;  ///< Among the few that the policy drew.
  std::uint32_t weight = 0;
  std::uint32_t in_flight = 0;
};

/// What a pick would do, and why.
struct Explanation {
  Time at{};                   ///< By the balancer's clock.
  std::string policy{};        ///< Its name.
  std::string key{};           ///< The request's; no longer than 256 bytes.
  std::string winner{};        ///< Its id; empty if the pick would fail ...
  Error error{};               ///< ... and why.
  bool found_by_scan = false;  ///< By the balancer, not by the policy: see Rehearsed.
  bool preferred = false;      ///< The request prefers the winner.
  /// The winner is unhealthy: so few are healthy that ejections count for nothing.
  bool panicking = false;
  bool last_resort = false;  ///< Policy and request leave only backends that are ejected.
  bool explores = false;     ///< The policy took it in spite of its score, to learn.
  std::vector<Candidate> candidates{};  ///< All backends, in configured order.
};

namespace detail {

/// From a rehearsal to reasons.
class Explaining {
 public:
  explicit Explaining(Rehearsed const& rehearsed) : rehearsed_{rehearsed} {
    if (rehearsed.winner == nullptr) return;
    winner_score_ = rehearsed.rehearsal.note(*rehearsed.winner).score;
    panicking_ = rehearsed.winner->health() == HealthState::unhealthy && !rehearsed.last_resort;
  }
  [[nodiscard]] bool panicking() const noexcept { return panicking_; }

  [[nodiscard]] Candidate candidate(Backend const& backend, Health const& health,
                                    Request const& request) const {
    auto const note = rehearsed_.rehearsal.note(backend);
    return {.why = &backend == rehearsed_.winner ? Why{.id = backend.id()}
                                                 : reason(why(backend, health, request), note),
            .score = note.score,
            .compared = note.compared,
            .weight = backend.weight(),
            .in_flight = backend.in_flight()};
  }

 private:
  /// `known`: of the backend itself. Reasons are tried in the order in which a pick meets them.
  [[nodiscard]] Why reason(Why known, Rehearsal::Note const& note) const {
    bool const ineligible = known.reason != Reason::none && known.reason <= Reason::excluded;
    if (ineligible && !(panicking_ && was_found_ill(known.reason))) return known;
    if (note.left_out_by == LeftOutBy::group && known.reason == Reason::degraded) return known;
    if (note.left_out_by != LeftOutBy::nothing) return because(known, left_out(note.left_out_by));
    bool const full = known.reason == Reason::full || known.reason == Reason::on_trial;
    if (full || (note.refused_by == RefusedBy::share && known.reason != Reason::none)) return known;
    if (note.refused_by == RefusedBy::policy) return because(known, Reason::refused);
    return not_chosen(known, note);
  }

  /// It could have been picked.
  [[nodiscard]] Why not_chosen(Why const& known, Rehearsal::Note const& note) const {
    auto const& rehearsal = rehearsed_.rehearsal;
    if (rehearsed_.keyed) return because(known, Reason::not_owner);
    if (rehearsal.rotates()) return because(known, Reason::not_its_turn);
    bool const left = rehearsal.compares() && !note.compared;
    if (left || rehearsal.explores() || !note.score || !winner_score_ ||
        *note.score < *winner_score_)
      return because(known, Reason::not_drawn);
    if (*note.score == *winner_score_) return because(known, Reason::tied);
    auto why = because(known, Reason::outscored);
    why.has_numbers = true;
    why.value = *note.score;
    why.limit = *winner_score_;
    return why;
  }

  /// What a panic disregards.
  static bool was_found_ill(Reason reason) noexcept {
    return reason == Reason::reported || reason == Reason::ejected || reason == Reason::down;
  }
  static Why because(Why const& known, Reason reason) { return {.id = known.id, .reason = reason}; }

  static Reason left_out(LeftOutBy by) noexcept {
    switch (by) {
      case LeftOutBy::filter: return Reason::filtered;
      case LeftOutBy::subset: return Reason::other_subset;
      case LeftOutBy::tier: return Reason::other_tier;
      case LeftOutBy::zone: return Reason::other_zone;
      default: return Reason::other_group;
    }
  }

  Rehearsed const& rehearsed_;
  std::optional<double> winner_score_{};
  bool panicking_ = false;
};

template <class Balancer, class HealthOf>
[[nodiscard]] Explanation explain(Balancer const& balancer, Request const& request,
                                  HealthOf const& health_of) {
  constexpr std::size_t longest = 256;
  auto const rehearsed = balancer.rehearse(request);
  Explanation result{.at = balancer.now(),
                     .policy = balancer.name(),
                     .key = std::string{request.key().substr(0, longest)},
                     .winner = rehearsed.winner == nullptr ? "" : rehearsed.winner->id(),
                     .error = rehearsed.error,
                     .found_by_scan = rehearsed.scanned,
                     .last_resort = rehearsed.last_resort,
                     .explores = rehearsed.rehearsal.explores()};
  Explaining const explaining{rehearsed};
  result.preferred = rehearsed.winner != nullptr && request.preferred == result.winner;
  result.panicking = explaining.panicking();
  for (auto const* backend : rehearsed.backends)
    result.candidates.push_back(explaining.candidate(*backend, health_of(*backend), request));
  return result;
}

}  // namespace detail

/// Of a balancer without a monitor. *Threads* any. *Errors* what the policy throws. *Cost* O(n log
/// n); allocates.
template <class Balancer>
[[nodiscard]] Explanation explain(Balancer const& balancer, Request const& request = any_request) {
  return detail::explain(balancer, request, [](Backend const&) { return Health{}; });
}
/// Of a balancer and its monitor. *Cost* O(n log n) and O(all histories); allocates.
template <class Balancer, Monitors Monitor>
[[nodiscard]] Explanation explain(Balancer const& balancer, Monitor const& monitor,
                                  Request const& request = any_request) {
  return detail::explain(balancer, request,
                         [&](Backend const& backend) { return health_of(monitor, backend); });
}

/// A line for the result, and one per backend.
[[nodiscard]] inline std::string message(Explanation const& of) {
  using poise::detail::escaped;
  auto text = of.policy + " picks " + (of.winner.empty() ? "nothing" : escaped(of.winner));
  if (!of.key.empty()) text += " for the key " + poise::detail::in_quotes(of.key);
  if (of.winner.empty()) text += ": " + message(of.error);
  else if (of.preferred) text += ", which the request prefers";
  else if (of.last_resort) text += ", as a last resort: only ejected backends suit the request";
  else if (of.found_by_scan) text += ", found by the balancer";
  else if (of.explores) text += ", to learn about it";
  if (of.panicking) text += ", in a panic: so few are healthy that ejections count for nothing";
  for (auto const& each : of.candidates) {
    text += "\n  ";
    if (each.why.reason == Reason::none) text += escaped(each.why.id) + ": picked";
    else text += message(each.why, of.at);
    if (each.score && each.why.reason != Reason::outscored)
      text += "; score " + poise::detail::in_words(*each.score);
  }
  return text + '\n';
}

}  // namespace poise::inline v0_1_0::analysis
