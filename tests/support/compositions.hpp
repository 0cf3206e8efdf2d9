// SPDX-License-Identifier: MIT
#pragma once

// Policies made of policies: a probe to put inside, and (below) a list of compositions of which
// tests hold what must be true of all.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <poise/compose/any_policy.hpp>
#include <poise/compose/failover.hpp>
#include <poise/compose/filter.hpp>
#include <poise/compose/priority_router.hpp>
#include <poise/compose/retry.hpp>
#include <poise/compose/subset.hpp>
#include <poise/compose/zone_aware.hpp>
#include <poise/hash/local.hpp>
#include <poise/policy.hpp>
#include <poise/policy/round_robin.hpp>

namespace tests {

/// Maps a key to a member by its hash.
struct Keyed {
  static constexpr poise::Traits traits{.keyed = true};
  std::size_t pick(poise::Candidates const& candidates, poise::Context& context) const {
    return poise::detail::hash_text(context.request.key()) % candidates.size();
  }
};

/// What became of a probe's hooks.
struct ProbeLog {
  int plans = 0;
  int picks = 0;
  int admits = 0;
  int admitted = 0;
  int fresh = 0;  // backends whose state was seen for the first time
  int ends = 0;
  int ticks = 0;
  int decisions = 0;
  int mistakes = 0;       // a state of another backend, of another probe, or a pick without time
  std::string last_id{};  // of the backend let in last
  poise::Time last_tick{};
  poise::Result last_ending = poise::Result::success;
  std::shared_ptr<ProbeLog> predecessor{};  // whose handover it took
};

/// Round robin that has every hook and writes down what it hears. Copies share the log, and are one
/// policy to it. `Timed` and `Keyed`: what the types say; `admits`: whom it lets in.
template <bool Timed = true, bool Keyed = true>
struct Probe {
  static constexpr poise::Traits traits{.uses_time = Timed, .keyed = Keyed};
  struct Plan {
    std::size_t size = 0;
  };
  struct State {
    std::string id{};  // of the backend, written by the first to come
    void const* owner = nullptr;
    int picks = 0;
    int ends = 0;
  };

  std::shared_ptr<ProbeLog> log = std::make_shared<ProbeLog>();
  std::string refuses{};  // this backend is not let in
  poise::RoundRobin inner{};

  [[nodiscard]] std::string name() const { return "probe"; }

  [[nodiscard]] Plan plan(poise::Candidates const& candidates, Plan const*) const {
    ++log->plans;
    return {candidates.size()};
  }
  std::size_t pick(Plan const& plan, poise::Candidates const& candidates,
                   poise::Context& context) const {
    ++log->picks;
    if (plan.size != candidates.size()) ++log->mistakes;
    if (Timed && context.now == poise::Time{}) ++log->mistakes;
    return inner.pick(candidates, context);
  }
  bool admit(Plan const& plan, poise::Candidates const& candidates, std::size_t i, std::uint32_t,
             poise::Context&) const {
    ++log->admits;
    if (plan.size != candidates.size()) ++log->mistakes;
    if (candidates[i].id() == refuses) return false;
    auto& state = candidates.template state<State>(i);
    check(state, candidates[i]);
    ++state.picks;
    ++log->admitted;
    log->last_id = candidates[i].id();
    return true;
  }
  void on_finish(poise::Finish& finish) const {
    ++log->ends;
    log->last_ending = finish.outcome.result;
    auto& state = finish.template state<State>();
    check(state, finish.backend);
    if (++state.ends > state.picks) ++log->mistakes;
  }
  void on_tick(poise::Time now) const {
    ++log->ticks;
    log->last_tick = now;
  }
  [[nodiscard]] poise::Decision decide(poise::Attempt const& attempt) const {
    ++log->decisions;
    return {.retry = attempt.request.attempt < 2, .after = {}};
  }
  [[nodiscard]] poise::CallTimeouts timeouts(poise::Request const&) const {
    return {.timeout = std::chrono::hours{1}};
  }
  void hand_over(poise::Handover& handover) const { handover.hand_over(log); }
  void take_over(poise::Handover& handover) {
    log->predecessor = handover.take<std::shared_ptr<ProbeLog>>().value_or(nullptr);
  }

 private:
  void check(State& state, poise::Backend const& backend) const {
    if (state.id.empty()) {
      ++log->fresh;
      state.id = backend.id();
      state.owner = log.get();
    }
    if (state.id != backend.id() || state.owner != log.get()) ++log->mistakes;
  }
};

// -- the list
// --------------------------------------------------------------------------------------

/// Refuses the backend "hidden".
struct NotHidden {
  bool operator()(poise::Backend const& backend) const { return backend.id() != "hidden"; }
};

using Leaf = Probe<>;
template <class P>
using Filtered = poise::Filter<P, NotHidden>;
template <class P>
using Routed = poise::PriorityRouter<P, Leaf, P>;
template <class P>
using OneTier = poise::Failover<P>;  // a template of one parameter
template <class P>
using TwoTiers = poise::Failover<P, P>;

/// The probes inside a composition, each with a log of its own.
struct Leaves {
  std::vector<std::shared_ptr<ProbeLog>> logs{};
  std::string refuses{};                          // by all of them
  poise::AnyPolicy (*erased)(Leaves&) = nullptr;  // what is behind each AnyPolicy; else a probe

  Leaf make() {
    Leaf leaf;
    leaf.refuses = refuses;
    logs.push_back(leaf.log);
    return leaf;
  }
  [[nodiscard]] int sum(int ProbeLog::* what) const {
    int result = 0;
    for (auto const& log : logs) result += (*log).*what;
    return result;
  }
};

/// Makes a composition with options that fit `fleet()`.
template <class P>
struct Build;
template <>
struct Build<Leaf> {
  static Leaf with(Leaves& leaves) { return leaves.make(); }
};
template <>
struct Build<poise::AnyPolicy> {
  static poise::AnyPolicy with(Leaves& leaves) {
    return leaves.erased == nullptr ? poise::AnyPolicy{leaves.make()} : leaves.erased(leaves);
  }
};
template <class P>
struct Build<Filtered<P>> {
  static auto with(Leaves& leaves) { return Filtered<P>{{}, Build<P>::with(leaves)}; }
};
template <class High, class Normal, class Low>
struct Build<poise::PriorityRouter<High, Normal, Low>> {
  static auto with(Leaves& leaves) {
    return poise::PriorityRouter<High, Normal, Low>{
        {}, Build<High>::with(leaves), Build<Normal>::with(leaves), Build<Low>::with(leaves)};
  }
};
template <class P>
struct Build<poise::Failover<P>> {
  static auto with(Leaves& leaves) { return poise::Failover<P>{{}, Build<P>::with(leaves)}; }
};
template <class P, class Secondary>
struct Build<poise::Failover<P, Secondary>> {
  static auto with(Leaves& leaves) {
    return poise::Failover<P, Secondary>{
        {}, Build<P>::with(leaves), Build<Secondary>::with(leaves)};
  }
};
template <class P>
struct Build<poise::Retry<P>> {
  static auto with(Leaves& leaves) {
    return poise::Retry<P>{{.attempts = 3}, Build<P>::with(leaves)};
  }
};
template <class P>
struct Build<poise::ZoneAware<P>> {
  static auto with(Leaves& leaves) {
    return poise::ZoneAware<P>{{.local = "a"}, Build<P>::with(leaves)};
  }
};
template <class P>
struct Build<poise::Subset<P>> {
  static auto with(Leaves& leaves) {
    return poise::Subset<P>{{.client = 1, .clients = 5, .size = 7}, Build<P>::with(leaves)};
  }
};

/// Twelve backends in three zones and three tiers, and the hidden one.
inline std::vector<poise::Endpoint> fleet() {
  std::vector<poise::Endpoint> result;
  for (std::uint32_t i = 0; i < 12; ++i)
    result.push_back({.id = std::string(1, static_cast<char>('a' + i)),
                      .weight = 1 + i % 2,
                      .zone = std::string(1, static_cast<char>('a' + i % 3)),
                      .tier = i / 4});
  result.push_back({.id = "hidden", .zone = "a"});
  return result;
}

/// Outer<P> for each of the wrappers.
template <class P>
using EachAround = std::tuple<Filtered<P>, Routed<P>, OneTier<P>, TwoTiers<P>, poise::Retry<P>,
                              poise::ZoneAware<P>, poise::Subset<P>>;

/// Every wrapper around every other, by type.
using Pairs = decltype(std::tuple_cat(
    std::declval<EachAround<Filtered<Leaf>>>(), std::declval<EachAround<Routed<Leaf>>>(),
    std::declval<EachAround<OneTier<Leaf>>>(), std::declval<EachAround<TwoTiers<Leaf>>>(),
    std::declval<EachAround<poise::Retry<Leaf>>>(),
    std::declval<EachAround<poise::ZoneAware<Leaf>>>(),
    std::declval<EachAround<poise::Subset<Leaf>>>()));

/// Of these each once outside and once inside.
using SomePairs =
    std::tuple<Filtered<Routed<Leaf>>, Routed<OneTier<Leaf>>, OneTier<poise::Subset<Leaf>>,
               TwoTiers<poise::Retry<Leaf>>, poise::Retry<poise::ZoneAware<Leaf>>,
               poise::ZoneAware<TwoTiers<Leaf>>, poise::Subset<Filtered<Leaf>>>;

using TenDeep = poise::Retry<Filtered<Routed<poise::Failover<
    poise::Subset<poise::ZoneAware<poise::Retry<Filtered<Routed<poise::Failover<Leaf>>>>>>>>>>;

/// True if it admits no hidden backend, provided that the policies behind AnyPolicy admit none.
template <class P, bool Erased = false>
inline constexpr bool filters = false;
template <bool Erased>
inline constexpr bool filters<poise::AnyPolicy, Erased> = Erased;
template <class P, bool Erased>
inline constexpr bool filters<Filtered<P>, Erased> = true;
template <template <class...> class Outer, class... P, bool Erased>
inline constexpr bool filters<Outer<P...>, Erased> = (filters<P, Erased> && ...);

}  // namespace tests
