// SPDX-License-Identifier: MIT
#pragma once

// The policy to take when in doubt: it learns how quickly each backend answers, keeps a short list
// of those that were good a moment ago, and compares a few of them with a few others.
//
// Use it for anything that isn't keyed. It sees slow backends, failing ones, stalled ones and ones
// that heal, without help from the servers and without a setting; nothing in it is a time in
// seconds. Not for a rotation that must be exact, and not where a request costs less than the two
// clock readings.
//
// Per backend: requests in flight n, the sum S of their ages, and decayed sums of latency Y and of
// samples m, at most M, last touched at t. L is the mean latency of all backends, p and k a prior:
// p samples of k L each stand for what nobody knows. An unknown backend costs k times the mean:
// neither a magnet nor an outcast.
//
//   latency(k) = (Y d + 10 S + p k L) / (m d + p)
//   cost(k)    = (n + 1) latency(k)
//   d          = 1 / (1 + z + z*z/2),  z = max(0, |now - t| - L) / (200 L)
//
// The list is the board: slots {backend, cost as it was when somebody looked}.
//
//   pick    the best slot, looked at again; the second best if that is better now; one backend (or
//           two) at random. The cheapest wins, and stands on the board with what it costs from now.
//   finish  the sums take in the latency; an error counts as 16 L at least (more if the others are
//           busy: who fails at once never is), a success as 5 L at most. The backend's cost is
//           posted: it takes the worst slot if it is better than that.
//   join    a backend that joins later starts with one sample of 5 L: its caches are cold.
//   explore one pick in 128 takes, of a few at random that are idle, not heard of for 250 L and,
//           with k = 0.9, no worse than the mean, the one with the least samples: so who joined is
//           learnt of, and who healed comes back, also where traffic is calm.
//   threads if several pick, each looks at a cache line of the board of its own first, and at all
//           of it only if the best there costs more than 1.15 L. So in calm traffic they work with
//           backends of their own, whose lines stay where they are.
//
// How long experience counts, the pool shows: if the means of a backend's batches of 16 latencies
// differ by no more than chance makes them differ, M is 160 samples, and k 2; where speeds change,
// M falls to 10 and k to 1.25.
//
// Ages (S) are samples that are not over: a stalled backend gets dearer before it has answered, and
// since they are the freshest thing that is known, they count ten times.
//
// Races: sums and slots are written without locks, and threads may lose each other's writes. What
// that costs, what each part is worth, and where the rule loses: docs/adaptive.md.

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include <poise/alias_table.hpp>
#include <poise/board.hpp>
#include <poise/candidates.hpp>
#include <poise/experience.hpp>
#include <poise/fwd.hpp>
#include <poise/policy.hpp>
#include <poise/time.hpp>

namespace poise {

/// @tparam Fresh   backends looked at at random, per pick
/// @tparam Slots   on the board
/// @tparam Repairs slots looked at again, per pick, beside the best
///
/// Weights are not divisors: latency contains capacity already. They are shares of admission: fresh
/// backends are drawn by weight, and a backend of less than a quarter of the largest weight stays
/// on the board in proportion. So a canary of weight 1 among 100s gets a few times its share at
/// most, however quick it is, and servers of half the size are used as they turn out to be.
///
/// *Threads* any. *Cost* at most Fresh + Repairs + 1 evaluations a pick and one a finish; 64 bytes
/// a backend, 20 in the plan, a clock read at pick and at finish.
template <std::size_t Fresh, std::size_t Slots, std::size_t Repairs>
class BasicAdaptive {
  static_assert(Fresh >= 1 && Slots >= 2,
                "the board needs two slots, and fresh backends to fill it");
  using Board = detail::Board<Slots>;
  using Entry = typename Board::Entry;

 public:
  static constexpr char const* name = "adaptive";
  static constexpr bool uses_time = true;
  using State = detail::Experience;

  BasicAdaptive() = default;
  /// A copy starts afresh: what was measured belongs to one balancer.
  BasicAdaptive(BasicAdaptive const&) noexcept : BasicAdaptive{} {}
  BasicAdaptive& operator=(BasicAdaptive const&) = delete;
  ~BasicAdaptive() = default;

  /// From the keys on the board to candidates, and weights.
  class Plan {
   public:
    Plan() = default;
    explicit Plan(Candidates const& candidates) : keys_(candidates.size()) {
      while (cells_.size() < 2 * candidates.size()) cells_.resize(2 * cells_.size());
      for (std::uint32_t i = 0; i < candidates.size(); ++i) {
        // Serials are never used twice; those of 2^24 backends later will do.
        keys_[i] = static_cast<std::uint32_t>(candidates[i].serial()) & Board::key_mask;
        auto at = keys_[i] & mask();
        while (cells_[at].index != absent) at = (at + 1) & mask();
        cells_[at] = {keys_[i], i};
        heaviest_ = std::max(heaviest_, candidates.weight(i));
      }
      if (!candidates.equal_weights()) by_weight_ = AliasTable{candidates.weights()};
    }

    [[nodiscard]] std::uint32_t key(std::size_t i) const noexcept { return keys_[i]; }
    /// Candidates::none if it isn't one now.
    [[nodiscard, gnu::always_inline]] std::size_t find(std::uint32_t key) const noexcept {
      for (auto at = key & mask(); cells_[at].index != absent; at = (at + 1) & mask())
        if (cells_[at].key == key) return cells_[at].index;
      return Candidates::none;
    }
    [[nodiscard]] std::size_t draw(std::size_t size, Rng random) const noexcept {
      return by_weight_.empty() ? random.below(size) : by_weight_.draw(random);
    }
    /// The k-th of several. The first one may be had for 32 bits that are left over.
    [[nodiscard, gnu::always_inline]] std::size_t draw(std::size_t size, Rng random, std::size_t k,
                                                       std::uint64_t bits) const noexcept {
      if (k != 0 || !by_weight_.empty()) return draw(size, random);
      return static_cast<std::size_t>(bits * size >> 32U);  // bias n / 2^32
    }
    [[nodiscard]] bool equal_weights() const noexcept { return by_weight_.empty(); }
    /// May the board propose one of this weight this time?
    [[nodiscard, gnu::always_inline]] bool allows(std::uint32_t weight, Rng random) const noexcept {
      return by_weight_.empty() || random.below(heaviest_) < std::uint64_t{unequal} * weight;
    }

   private:
    static constexpr std::uint32_t unequal =
        4;  // sizes of servers differ by less, canaries by more
    static constexpr auto absent = std::numeric_limits<std::uint32_t>::max();
    struct Cell {
      std::uint32_t key = 0;
      std::uint32_t index = absent;
    };
    [[nodiscard]] std::size_t mask() const noexcept { return cells_.size() - 1; }

    std::vector<std::uint32_t> keys_{};
    std::vector<Cell> cells_ = std::vector<Cell>(2);  // a hash table, at most half full
    AliasTable by_weight_{};
    std::uint32_t heaviest_ = 0;
  };

  [[nodiscard]] Plan plan(Candidates const& candidates, Plan const* before) const {
    Plan plan{candidates};
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      auto& state = candidates.state<State>(i);
      state.key.store(plan.key(i));
      if (before != nullptr && mean_.known() && state.at.load() == 0) welcome(state);
    }
    return plan;
  }

  // What is called gets values, and what is seldom copies: so context and finish need no address,
  // and live in registers.
  [[gnu::always_inline]] std::size_t pick(Plan const& plan, Candidates const& candidates,
                                          Context& context) const {
    if (!context.unrestricted()) [[unlikely]] {
      auto copy = context;
      return best_usable(plan, candidates.roster(), copy);
    }
    return propose(plan, candidates.roster(), context.now, context.random.chance(), context.lane);
  }

  [[gnu::always_inline]] void on_finish(Finish& finish) const noexcept {
    auto& state = finish.state<State>();
    auto const in_flight = finish.backend.in_flight();
    auto const left = in_flight == 0 ? 0 : in_flight - 1;
    if (finish.outcome.ending == Ending::success && finish.latency) [[likely]]
      return end(state, left, finish.started, finish.now, *finish.latency);
    end_otherwise(state, left, finish.started, finish.now, finish.outcome,
                  finish.latency.value_or(Duration{}));
  }

 private:
  using Sums = State::Sums;

  static constexpr float prior = 7;             // samples
  static constexpr float cold = 5;              // mean latencies of a backend that has just joined
  static constexpr float urgency = 10;          // times the ages of what runs
  static constexpr float slowest_success = 5;   // mean latencies
  static constexpr float fastest_failure = 16;  // mean latencies
  static constexpr float busier = 4;            // times: so much is nothing unusual
  static constexpr float good_enough = 1.15F;   // mean latencies: to look no further on the board
  static constexpr std::uint32_t batch = 16;    // successes
  static constexpr float stale = 3;             // 1/d after 250 mean latencies
  static constexpr float hopeful = 0.9F;        // mean latencies of an unknown backend, to explore
  static constexpr std::size_t draws = 8;       // where there is no board
  static constexpr std::size_t few = 4;         // backends that are simply all looked at
  static constexpr float alike = 0.75F;         // of few: so much of a cost is as good as all of it

  struct Choice {
    std::size_t index = Candidates::none;
    float cost = Board::empty;
    std::uint32_t slot = 0;
  };

  [[gnu::noinline]] std::size_t propose(Plan const& plan, Roster const& roster, Time now,
                                        Chance& chance, sync::Lane lane) const {
    Candidates const candidates{roster};
    Rng random{chance, lane};
    auto const bits = random();
    bool const explores = bits % 128 == 0;
    auto i = Candidates::none;
    if (explores) [[unlikely]]
      i = unknown_of_some(plan, roster, now, random);
    if (i == Candidates::none)
      i = candidates.size() <= few ? best_in_row(plan, roster, now, random)
                                   : best_of_board(plan, candidates, now, random, bits >> 8U);
    begin(candidates, i, now);
    return i;
  }

  static void begin(Candidates const& candidates, std::size_t i, Time now) noexcept {
    if (now != Time{}) detail::Running::begin(candidates.state<State>(i), now);
  }

  [[gnu::noinline]] void end(State& state, std::uint32_t left, Time started, Time now,
                             Duration latency) const noexcept {
    if (started != Time{}) detail::Running::end(state, started, now, left);
    post(state, learn_success(state, latency, now), left, now);
  }

  [[gnu::noinline, gnu::cold]] void end_otherwise(State& state, std::uint32_t left, Time started,
                                                  Time now, Outcome outcome,
                                                  Duration latency) const noexcept {
    if (started != Time{}) detail::Running::end(state, started, now, left);
    auto const sums = is_failure(outcome.ending)
                          ? learn_failure(state, left, std::max(latency, outcome.retry_after), now)
                          : std::bit_cast<Sums>(state.sums.load());
    post(state, sums, left, now);
  }

  /// Puts the backend where it stands on the board, or in the worst slot if it is better than that.
  [[gnu::always_inline]] void post(State& state, Sums sums, std::uint32_t left,
                                   Time now) const noexcept {
    auto const cost_now = cost(state, sums, left, now, mean_.unknown());
    auto const key = state.key.load();
    auto slot = state.slot.load();
    if (board_.at(slot).key() != key) {
      auto const worst = board_.worst();
      if (cost_now >= worst.cost()) return;
      slot = worst.slot();
      state.slot.store(slot);
    }
    board_.set({cost_now, slot, key});
  }

  /// `chance` has 56 random bits: the upper 32 for the first fresh backend, others for repairs.
  [[gnu::always_inline]] std::size_t best_of_board(Plan const& plan, Candidates const& candidates,
                                                   Time now, Rng random,
                                                   std::uint64_t chance) const {
    auto const [first, second] = survey(random.lane());
    auto const best = look(plan, candidates, now, first);
    auto known = best;
    if (second.cost() < known.cost) [[unlikely]]
      if (auto const i = plan.find(second.key()); i != Candidates::none)
        known = {i, second.cost(), second.slot()};
    for (std::size_t k = 0; k < Repairs; ++k) {
      auto const other = look(plan, candidates, now, board_.at((chance + k) % Slots));
      write(plan, other);
      if (other.cost < known.cost) [[unlikely]]
        known = other;
    }
    Choice fresh;
    for (std::size_t k = 0; k < Fresh; ++k) {
      auto const i = plan.draw(candidates.size(), random, k, chance >> 24U);
      if (plan.equal_weights() && !may_beat(candidates.state<State>(i), known.cost)) continue;
      auto const each = cost(candidates, i, now, mean_.unknown());
      if (each < fresh.cost) fresh = {i, each, 0};
    }
    bool const wins = known.index != Candidates::none && known.cost <= fresh.cost;
    bool const stays = wins && plan.allows(candidates.weight(known.index), random);
    if (!wins || known.slot != best.slot) [[unlikely]]
      write(plan, best);
    // Kept from winning by its weight, it must not stand in everybody's way.
    if (stays != wins) [[unlikely]]
      board_.clear(known.slot);
    auto winner = known;
    if (!stays) [[unlikely]]
      winner = at_home(candidates, fresh);
    board_.set({charged(candidates, winner), winner.slot, plan.key(winner.index)});
    candidates.state<State>(winner.index).slot.store(winner.slot);
    return winner.index;
  }

  /// The two best slots, as far as this thread looks: threads that each have a part of the board,
  /// as long as they find there what is good enough, leave each other's cache lines alone.
  [[gnu::always_inline]] typename Board::Survey survey(sync::Lane lane) const noexcept {
    auto const part = static_cast<std::uint32_t>(lane) % Board::parts;
    auto const own = board_.survey(part);
    if (Board::parts > 1 && pickers_.several(lane) && own.first.cost() <= good_enough * mean_.get())
      return own;
    return board_.survey_all_but(part, own);
  }

  /// Evaluates a slot again. One whose backend is gone is emptied.
  [[gnu::always_inline]] Choice look(Plan const& plan, Candidates const& candidates, Time now,
                                     Entry entry) const {
    if (entry.cost() == Board::empty) return {};
    auto const i = plan.find(entry.key());
    if (i == Candidates::none) [[unlikely]] {
      board_.clear(entry.slot());
      return {};
    }
    return {i, cost(candidates, i, now, mean_.unknown()), entry.slot()};
  }

  void write(Plan const& plan, Choice const& choice) const noexcept {
    if (choice.index != Candidates::none)
      board_.set({choice.cost, choice.slot, plan.key(choice.index)});
  }

  /// With the slot where it stands, else the worst one.
  [[nodiscard]] Choice at_home(Candidates const& candidates, Choice choice) const noexcept {
    auto const& state = candidates.state<State>(choice.index);
    choice.slot = state.slot.load();
    if (board_.at(choice.slot).key() != state.key.load()) choice.slot = board_.worst().slot();
    return choice;
  }

  /// What it will cost once this request is on its way.
  static float charged(Candidates const& candidates, Choice const& choice) noexcept {
    auto const n = static_cast<float>(candidates.in_flight(choice.index));
    return choice.cost * ((n + 2) / (n + 1));
  }

  /// Of few: all of them. Those that are as busy as each other and about as quick take turns: a
  /// calm program asks them all.
  [[gnu::noinline]] std::size_t best_in_row(Plan const& plan, Roster const& roster, Time now,
                                            Rng random) const {
    Candidates const candidates{roster};
    auto const size = candidates.size();
    auto const start = size == 1 ? 0 : random.below(size);
    Choice best;
    std::uint32_t least = 0;
    for (std::size_t step = 0; step < size; ++step) {
      auto const i = start + step < size ? start + step : start + step - size;
      auto const in_flight = candidates.in_flight(i);
      auto const each = cost(candidates.state<State>(i), in_flight, now, mean_.get());
      if (each >= best.cost * (in_flight == least ? alike : 1)) continue;
      best = {i, each, 0};
      least = in_flight;
    }
    if (best.index != Candidates::none && plan.allows(candidates.weight(best.index), random))
      return best.index;
    return plan.draw(candidates.size(), random);
  }

  /// Who is idle, was not heard of for a while, may be no worse than the mean, and of whom least is
  /// known; none if that is nobody. So who has joined gets experience, and so does who was bad,
  /// when that has faded: one request in a thousand.
  [[gnu::noinline]] std::size_t unknown_of_some(Plan const& plan, Roster const& roster, Time now,
                                                Rng random) const {
    Candidates const candidates{roster};
    auto found = Candidates::none;
    auto least = Board::empty;
    for (std::size_t k = 0; k < draws; ++k) {
      auto const i = plan.draw(candidates.size(), random);
      auto const& state = candidates.state<State>(i);
      auto const in_flight = candidates.in_flight(i);
      crowd_.see(ordinary_cost(state, in_flight, now));
      auto const faded = mean_.faded(state.at.load(), now);
      auto const known = std::bit_cast<Sums>(state.sums.load()).samples / faded;
      if (in_flight != 0 || faded < stale || known >= least) continue;
      if (cost(state, 0, now, hopeful * mean_.get()) >= mean_.get()) continue;
      found = i;
      least = known;
    }
    return found;
  }

  /// Seldom: some are excluded or have refused.
  [[gnu::noinline, gnu::cold]] std::size_t best_usable(Plan const& plan, Roster const& roster,
                                                       Context& context) const {
    Candidates const candidates{roster};
    Choice best;
    for (std::size_t k = 0; k < draws; ++k) {
      auto const i = plan.draw(candidates.size(), context.random);
      auto const each = cost(candidates, i, context.now, mean_.unknown());
      if (each < best.cost && context.usable(candidates, i)) best = {i, each, 0};
    }
    auto const i = best.index != Candidates::none ? best.index : any_usable(candidates, context);
    begin(candidates, i, context.now);
    return i;
  }

  /// From a random start; if there is none, whoever is there, for the balancer to refuse.
  static std::size_t any_usable(Candidates const& candidates, Context& context) noexcept {
    auto const start = context.random.below(candidates.size());
    auto const found = context.first_usable(candidates, start);
    return found == Candidates::none ? start : found;
  }

  [[gnu::always_inline]] float cost(Candidates const& candidates, std::size_t i, Time now,
                                    float unknown) const noexcept {
    return cost(candidates.state<State>(i), candidates.in_flight(i), now, unknown);
  }
  [[gnu::always_inline]] float cost(State const& state, std::uint32_t in_flight, Time now,
                                    float unknown) const noexcept {
    return cost(state, std::bit_cast<Sums>(state.sums.load()), in_flight, now, unknown);
  }
  /// With the sums as they were just stored: reading them back takes as long as a division.
  [[gnu::always_inline]] float cost(State const& state, Sums sums, std::uint32_t in_flight,
                                    Time now, float unknown) const noexcept {
    // Both sides of the fraction times 1/d: one division instead of two.
    auto const faded = mean_.faded(state.at.load(), now);
    auto const ages = urgency * detail::Running::age(state.running.load(), now, in_flight);
    return static_cast<float>(in_flight + 1) * (sums.latency + (ages + prior * unknown) * faded) /
           (sums.samples + prior * faded);
  }

  /// Could its cost be below that? It is a mean of what was measured and of the prior, which fading
  /// brings nearer to the prior alone; ages and requests in flight only add to it. This needs no
  /// time, and so most fresh backends are dismissed before the clock has been read.
  [[gnu::always_inline]] bool may_beat(State const& state, float least) const noexcept {
    auto const sums = std::bit_cast<Sums>(state.sums.load());
    auto const unknown = mean_.unknown();
    return unknown < least || sums.latency + prior * unknown < least * (sums.samples + prior);
  }

  /// It joins a pool that is known already.
  void welcome(State& state) const noexcept {
    state.sums.store(std::bit_cast<std::uint64_t>(Sums{cold * mean_.get(), 1}));
    state.at.store(mean_.at());
  }

  [[gnu::always_inline]] Sums learn_success(State& state, Duration latency,
                                            Time now) const noexcept {
    auto sample = static_cast<float>(latency.count());
    if (mean_.known()) sample = std::min(sample, slowest_success * mean_.get());
    auto const sums = learn(state, sample, now);
    // The mean's line is everybody's: it hears of 16 successes at once, of the very first at once.
    auto const successes = state.successes.load() + 1;
    auto const recent = state.recent.load() + sample;
    auto const squares = state.squares.load() + sample * sample;
    bool const tell = successes % batch == 0;
    state.successes.store(successes);
    state.recent.store(tell ? 0 : recent);
    state.squares.store(tell ? 0 : squares);
    if (tell) [[unlikely]]
      tell_mean(state, recent / batch, squares / batch, now);
    else if (!mean_.known()) [[unlikely]] mean_.add(sample, now);
    return sums;
  }

  /// The means of a batch and of its squares.
  [[gnu::noinline]] void tell_mean(State& state, float mean, float square,
                                   Time now) const noexcept {
    auto const before = state.before.load();
    state.before.store(mean);
    if (before > 0) {
      auto const variance = std::max(square - mean * mean, 0.0F) * batch / (batch - 1);
      mean_.compare(before, mean, variance, batch);
    }
    mean_.add(mean, now);
  }

  Sums learn_failure(State& state, std::uint32_t left, Duration latency, Time now) const noexcept {
    auto const least = fastest_failure * mean_.get() * calmer_than_others(state, left, now);
    return learn(state, std::max(least, static_cast<float>(latency.count())), now);
  }

  /// How many times busier others are, beyond what is usual; at least 1. Who fails at once has
  /// nothing in flight: where others have a hundred each, 16 mean latencies would look good.
  [[nodiscard]] float calmer_than_others(State const& state, std::uint32_t left,
                                         Time now) const noexcept {
    return std::max(crowd_.cost() / (busier * ordinary_cost(state, left, now)), 1.0F);
  }
  /// Its cost if its answers took as long as everybody's.
  [[nodiscard]] float ordinary_cost(State const& state, std::uint32_t in_flight,
                                    Time now) const noexcept {
    auto const samples = std::bit_cast<Sums>(state.sums.load()).samples;
    return cost(state, {samples * mean_.get(), samples}, in_flight, now, mean_.get());
  }

  [[gnu::always_inline]] Sums learn(State& state, float sample, Time now) const noexcept {
    auto const kept = std::min(1 / mean_.faded(state.at.load(), now), mean_.most_kept());
    auto const old = std::bit_cast<Sums>(state.sums.load());
    Sums const sums{old.latency * kept + sample, old.samples * kept + 1};
    state.sums.store(std::bit_cast<std::uint64_t>(sums));
    state.at.store(now.time_since_epoch().count());
    return sums;
  }

  mutable Board board_{};
  mutable detail::MeanLatency mean_{};
  mutable detail::Crowd crowd_{};
  mutable detail::Pickers pickers_{};
};

/// The recommended size.
using Adaptive = BasicAdaptive<>;
/// One draw and one repair more a pick, for 5 to 10 ns: 1 to 4 % better with a hundred backends, or
/// if threads lose each other's writes.
using WideAdaptive = BasicAdaptive<2, 16, 1>;

}  // namespace poise
