// SPDX-License-Identifier: MIT
#pragma once

// A second policy beside the live one, which only records what it would have picked.
//
//   poise::analysis::Shadow const shadow{poise::P2C{}, poise::HashRing<>{}};
//   poise::Balancer<poise::analysis::Shadow<poise::P2C, poise::HashRing<>>> servers{
//       endpoints, shadow};                       // P2C picks
//   std::cout << message(shadow.report());        // later, on any thread
//
//   ring beside p2c: 19531 picks compared, one in 1024
//     the same backend in 24.6 % +- 0.6 %; the shares would move by 0.9 % (by chance 0.7 %)
//     10.0.0.1:80: live 24.9 % +- 0.6 %, shadow 25.8 % +- 0.6 %
//     ...
//
// Use it before you change a policy: to see how many requests a changed ring moves, whether weights
// do what they should, or whether a policy of your own throws. It sends no request twice, so it
// costs the backends nothing. (Mirroring copies requests to other servers; that tests the servers.)
//
// It can't say which policy is faster. The shadow's picks bring no load: it sees the requests in
// flight that the live policy put there, and what it would have put there itself does not exist.
// So this reports no latency; analysis/switchback.hpp measures it.
//
// In one of 2^sampling picks, chosen at random, the shadow is asked after the live policy: the same
// candidates, request and loads. Both answers are judged alike. One that the request excludes, that
// is at its limit, or that the policy's admit() refuses is asked again, as a pick does. Nothing is
// counted in: the shadow's admit() runs as in a rehearsal. A balancer with a seed picks the same
// with a shadow and without.

#include <array>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <poise/analysis/shadow_record.hpp>
#include <poise/analysis/shadow_report.hpp>
#include <poise/base/sampler.hpp>
#include <poise/candidates.hpp>
#include <poise/compose/wrapper.hpp>
#include <poise/policy.hpp>
#include <poise/policy/claim.hpp>
#include <poise/policy/rehearsal.hpp>
#include <poise/policy/trace.hpp>
#include <poise/request.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::analysis {

/// Which picks are compared, fixed at compile time.
struct ShadowOptions {
  unsigned sampling = 10;  ///< One of every 2^sampling that a thread makes, at random; at most 20.
};

namespace detail {

template <class P>
inline constexpr bool is_shadow = requires(P const& policy) { policy.shadow_record(); };

/// Some candidates as one of the two policies sees them: with its plan and its own states.
template <class P>
struct ShadowView {
  hooks::PlanOf<P> plan;
  std::optional<Roster> roster{};  // empty if the policy has no states

  [[nodiscard, gnu::always_inline]] Candidates candidates(Candidates const& all) const noexcept {
    if constexpr (hooks::may_have_state<P>)
      if (roster) return Candidates{*roster};
    return all;
  }
};

/// The backend that a pick by this policy ends at, given its first proposal: the balancer's steps,
/// but nothing is counted in. Candidates::none if the balancer would have to search one.
template <class P>
[[nodiscard]] std::size_t settle(P const& policy, ShadowView<P> const& view,
                                 Candidates const& candidates, Context& context, std::size_t i) {
  using Claiming = poise::detail::Claiming;
  Rehearsal rehearsal;
  PickTrace silent;
  for (int ask = 0;; ++ask) {
    if (i < candidates.size() && context.usable(candidates, i)) {
      auto judging = context;
      judging.rehearse(rehearsal, silent);
      if (Claiming::would_claim<true>(policy, view.plan, candidates.roster(), i, judging, false))
        return i;
    }
    if (ask == poise::detail::more_asks) return Candidates::none;
    if (i < candidates.size()) context.refuse(candidates[i]);
    context.note_asked();
    context.path = {};
    i = hooks::pick(policy, view.plan, candidates, context);
  }
}

}  // namespace detail

/// A policy that picks what `Live` picks. All that concerns requests is that of Live: retries,
/// timeouts, keys, admissions. Both hear how requests end, so that a shadow that looks at latencies
/// knows them; if the shadow uses time, requests are timed.
///
/// Copies share what is recorded, with the copies that a Failover makes, too: give each balancer
/// its own, or their samples are mixed. For two shadows put one around the other:
/// Shadow{Shadow{live, first}, second}.
/// *Threads* any. *Errors* what Live throws. Exceptions of the shadow's pick, admit, plan,
/// on_finish and on_tick are swallowed and counted; without a plan it is not asked. What the
/// constructor of its state throws refuses the change.
/// *Cost* of a pick that is not compared: a count of the thread, up to 2.4 ns; of a compared one:
/// both policies' picks once more, and two clock reads (bench/shadow). No allocation, no lock. A
/// plan costs both plans, and O(n log n) under a lock.
template <class Live, class Other, ShadowOptions O = ShadowOptions{}>
class Shadow : public poise::detail::Composite<Live, Other> {
  static_assert(Policy<Live> && Policy<Other>,
                "an analysis::Shadow needs two policies: Shadow{P2C{}, LeastConnections{}}");
  static_assert(!detail::is_shadow<Other>,
                "the second policy of an analysis::Shadow only answers. For two shadows put one "
                "around the other: Shadow{Shadow{live, first}, second}");
  static_assert(O.sampling <= 20,
                "ShadowOptions::sampling is a power: 20 compares one in a million");
  using Base = poise::detail::Composite<Live, Other>;

 public:
  static constexpr ShadowOptions options = O;
  static constexpr unsigned path_bits = poise::detail::path_bits<Live>;

  struct Plan {
    detail::ShadowView<Live> live;
    std::optional<detail::ShadowView<Other>> other{};  // empty if the shadow's plan() threw
    detail::ShadowTallies tallies{};
  };

  explicit Shadow(Live live = poise::detail::default_policy<Live>(),
                  Other other = poise::detail::default_policy<Other>())
      : Base{std::move(live), std::move(other)},
        record_{hooks::name(inner()), hooks::name(this->other()), O.sampling,
                hooks::traits(this->other()).keyed} {}

  /// The live policy, and the one beside it.
  [[nodiscard]] Live const& inner() const noexcept { return this->template child<0>(); }
  [[nodiscard]] Other const& other() const noexcept { return this->template child<1>(); }
  [[nodiscard]] ShadowReport report() const { return record_.report(); }
  /// A handle on what is recorded, whatever becomes of this policy.
  [[nodiscard]] ShadowRecord const& shadow_record() const noexcept { return record_; }

  // -- hooks -------------------------------------------------------------------------------------

  [[nodiscard]] std::string name() const {
    return "shadow(" + hooks::name(inner()) + ", " + hooks::name(other()) + ")";
  }
  [[nodiscard]] hooks::TraitsOfType<poise::detail::joint_time_use<Live, Other>,
                                    hooks::asks_may_refuse<Live>>
  traits() const {
    auto traits = hooks::traits(inner());
    auto const others = hooks::traits(other());
    traits.uses_time = traits.uses_time || others.uses_time;
    traits.wants_finish = traits.wants_finish || others.wants_finish;
    return {traits};
  }

  [[nodiscard]] Plan plan(Candidates const& candidates, Plan const* before) const {
    Plan plan{.live = view<0>(inner(), candidates, before == nullptr ? nullptr : &before->live),
              .tallies = record_.tallies(candidates)};
    guarded([&] {
      plan.other = view<1>(other(), candidates,
                           before == nullptr || !before->other ? nullptr : &*before->other);
    });
    return plan;
  }

  [[gnu::always_inline]] std::size_t pick(Plan const& plan, Candidates const& candidates,
                                          Context& context) const {
    auto const i = hooks::pick(inner(), plan.live.plan, plan.live.candidates(candidates), context);
    if (!context.asked_before() && Sampler::of_this_thread().next()) [[unlikely]]
      compare(plan, candidates, i, context.request, context.lane, context.now);
    return i;
  }

  [[nodiscard, gnu::always_inline]] bool admit(Plan const& plan, Candidates const& candidates,
                                               std::size_t i, std::uint32_t in_flight,
                                               Context& context) const
    requires(hooks::has_admit<Live>)
  {
    return hooks::admit(inner(), plan.live.plan, plan.live.candidates(candidates), i, in_flight,
                        context);
  }

  void on_finish(Finish& finish) const
    requires(hooks::has_on_finish<Live> || hooks::has_on_finish<Other>)
  {
    auto const blocks = blocks_of(finish);
    if constexpr (hooks::has_on_finish<Other>) {
      auto others = finish;
      others.path.reset();  // it did not pick
      others.state_block = blocks[1];
      guarded([&] { hooks::on_finish(other(), others); });
    }
    finish.state_block = blocks[0];
    hooks::on_finish(inner(), finish);
  }
  void on_tick(Time now) const
    requires(hooks::has_on_tick<Live> || hooks::has_on_tick<Other>)
  {
    guarded([&] { hooks::on_tick(other(), now); });
    hooks::on_tick(inner(), now);
  }
  [[nodiscard]] poise::Decision decide(Attempt const& attempt) const
    requires(hooks::has_decide<Live>)
  {
    return hooks::decide(inner(), attempt);
  }
  [[nodiscard]] CallTimeouts timeouts(Request const& request) const
    requires(hooks::has_timeouts<Live>)
  {
    return hooks::timeouts(inner(), request);
  }
  [[nodiscard]] std::vector<double> shares(Plan const& plan, Candidates const& candidates) const
    requires(hooks::has_shares<Live>)
  {
    return hooks::shares(inner(), plan.live.plan, plan.live.candidates(candidates));
  }
  /// Of the live policy alone: what the shadow learnt is not true of requests.
  void hand_over(Handover& handover) const { hooks::hand_over(inner(), handover); }
  void take_over(Handover& handover) {
    this->each_own_child([&](auto& child) {
      if (static_cast<void const*>(&child) == &inner()) hooks::take_over(child, handover);
    });
  }

 private:
  using Sampler = poise::detail::Sampler<O.sampling, Shadow>;

  template <std::size_t Number, class P>
  [[nodiscard]] static detail::ShadowView<P> view(P const& policy, Candidates const& candidates,
                                                  detail::ShadowView<P> const* before) {
    detail::ShadowView<P> view{.plan = {}, .roster = Base::own_roster(candidates, Number)};
    view.plan = hooks::plan(policy, view.candidates(candidates),
                            before == nullptr ? nullptr : &before->plan);
    return view;
  }

  [[nodiscard]] static std::array<void*, 2> blocks_of(Finish const& finish) noexcept {
    if (finish.state_block == nullptr) return {};
    auto const& blocks = finish.state<poise::detail::Blocks<2>>();
    return {blocks[0].get(), blocks[1].get()};
  }

  /// The rest of a sampled pick. It takes plain values: a context passed by reference would live in
  /// memory, in every pick.
  [[gnu::noinline, gnu::cold]] void compare(Plan const& plan, Candidates candidates,
                                            std::size_t first, Request const& request,
                                            sync::Lane lane, Time now) const noexcept {
    if (!plan.other) return;
    guarded([&] {
      auto const begin = SteadyClock{}.now();
      auto* const live = tally(plan, live_choice(plan.live, candidates, first, request, lane, now));
      auto* const shadow = tally(plan, shadow_choice(*plan.other, candidates, request, lane, now));
      record_.add({live, shadow, !request.key().empty(), SteadyClock{}.now() - begin});
    });
  }

  /// In a rehearsal, so that nothing changes.
  [[nodiscard]] std::size_t live_choice(detail::ShadowView<Live> const& view, Candidates const& all,
                                        std::size_t first, Request const& request, sync::Lane lane,
                                        Time now) const {
    Rehearsal rehearsal;
    PickTrace silent;
    Context context{request, record_.random(), lane};
    context.now = now;
    context.rehearse(rehearsal, silent);
    return detail::settle(inner(), view, view.candidates(all), context, first);
  }
  /// A real pick of the shadow: its rotations go on.
  [[nodiscard]] std::size_t shadow_choice(detail::ShadowView<Other> const& view,
                                          Candidates const& all, Request const& request,
                                          sync::Lane lane, Time now) const {
    Context context{request, record_.random(), lane};
    context.now = now;
    auto const candidates = view.candidates(all);
    auto const first = hooks::pick(other(), view.plan, candidates, context);
    return detail::settle(other(), view, candidates, context, first);
  }

  [[nodiscard]] static detail::ShadowTally* tally(Plan const& plan, std::size_t i) noexcept {
    return i == Candidates::none ? nullptr : plan.tallies[i].get();
  }

  template <class Call>
  void guarded(Call const& call) const noexcept {
    try {
      call();
    } catch (std::exception const& exception) {
      record_.add_exception(exception.what());
    } catch (...) {
      record_.add_exception("not a std::exception");
    }
  }

  ShadowRecord record_;
};

}  // namespace poise::inline v0_1_0::analysis
