// SPDX-License-Identifier: MIT
#pragma once

// The default policy. It learns how quickly each backend answers, keeps a short list of backends
// that were good a moment ago, and compares a few of them with a few random ones.
//
// Use it for all requests without a key. It detects backends that are slow, failing, stalled or
// healthy again, without help from the servers and without a setting; no constant is a time in
// seconds. Use another policy if a rotation must be exact, or if a request costs less than two
// clock reads.
//
// Per backend: requests in flight n, the sum S of their ages, and decayed sums of latency Y and of
// samples m, at most M, last updated at t. L is the mean latency of all backends. p and k are a
// prior: p samples of k L each stand in for missing samples. So an unknown backend costs k times
// the mean: it gets some traffic, and not all of it.
//
//   latency(k) = (Y d + 10 S + p k L) / (m d + p)
//   cost(k)    = (n + 1) latency(k)
//   d          = 1 / (1 + z + z*z/2),  z = max(0, |now - t| - L) / (200 L)
//
// The list has slots {backend, its cost when it was last computed}.
//
//   pick    computes the cost of the best slot again, and of one or two random backends. The second
//           best slot is compared by its listed cost. The cheapest wins, and is listed with its
//           cost including this request.
//   finish  adds the latency to the sums. An error counts as at least 16 L, and more if other
//           backends are busy: a backend that fails immediately never has requests in flight. A
//           quicker error also leaves at most 10 of the samples before it. A success counts as at
//           most 5 L. Then the backend's new cost is written to its slot, or to the worst slot if
//           it is better than that.
//   join    a backend that joins later starts with one sample of 5 L: its caches are cold.
//   explore one pick in 128 draws a few backends at random. It considers backends that are idle,
//           had no sample for 250 L and, with k = 0.9, cost no more than the mean. It takes the one
//           with the fewest samples. So joined and healed backends are learnt, even with little
//           traffic.
//   threads if several threads pick, each reads one cache line of the list first. It reads the
//           whole list only if the best slot of that line costs more than 1.15 L. So with little
//           traffic each thread keeps to backends of its own, and cache lines stay on their cores.
//
// M and k follow the pool. M is 160 samples and k is 2 while the means of a backend's batches of 16
// latencies differ no more than random noise explains. If speeds change, M falls to 10 and k to
// 1.25.
//
// Ages (S) are samples in progress: a stalled backend costs more before it has answered. They are
// the freshest information, so they count ten times.
//
// Races: sums and slots are written without locks, and threads may lose each other's writes.
// docs/adaptive.md says what that costs, what each part is worth, and where the rule loses.

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include <poise/base/alias_table.hpp>
#include <poise/candidates.hpp>
#include <poise/fwd.hpp>
#include <poise/policy.hpp>
#include <poise/policy/adaptive/short_list.hpp>
#include <poise/policy/adaptive/statistics.hpp>
#include <poise/policy/trace.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0 {

/// @tparam Fresh   random backends compared per pick
/// @tparam Slots   slots of the list
/// @tparam Repairs slots computed again per pick, besides the best one
///
/// Costs are not divided by weights: latency contains capacity already. Instead random backends are
/// drawn by weight, and a backend below a quarter of the largest weight wins from the list only in
/// proportion to its weight. So a canary of weight 1 among backends of weight 100 gets at most a
/// few times its share, however quick it is. Servers of half the size are used by their measured
/// speed.
///
/// *Threads* any. *Cost* at most Fresh + Repairs + 1 evaluations a pick and one a finish; 64 bytes
/// a backend, 20 in the plan, a clock read at pick and at finish.
template <std::size_t Fresh, std::size_t Slots, std::size_t Repairs>
class BasicAdaptive {
  static_assert(Fresh >= 1 && Slots >= 2,
                "the list needs two slots, and fresh backends to fill it");
  using ShortList = detail::adaptive::ShortList<Slots>;
  using Entry = typename ShortList::Entry;

 public:
  static constexpr char const* name = "adaptive";
  static constexpr Traits traits{.uses_time = true};
  using State = detail::adaptive::LatencyStatistics;

  BasicAdaptive() = default;
  /// A copy starts empty: measurements belong to one balancer.
  BasicAdaptive(BasicAdaptive const&) noexcept : BasicAdaptive{} {}
  BasicAdaptive& operator=(BasicAdaptive const&) = delete;
  ~BasicAdaptive() = default;

  /// A hash table from the list's keys to candidates, and the weights.
  class Plan {
   public:
    Plan() = default;
    explicit Plan(Candidates const& candidates) : keys_(candidates.size()) {
      while (cells_.size() < 2 * candidates.size()) cells_.resize(2 * cells_.size());
      for (std::uint32_t i = 0; i < candidates.size(); ++i) {
        // The low 24 bits of the serial: they repeat only after 2^24 backends.
        keys_[i] = static_cast<std::uint32_t>(candidates[i].serial()) & ShortList::key_mask;
        auto at = keys_[i] & mask();
        while (cells_[at].index != absent) at = (at + 1) & mask();
        cells_[at] = {keys_[i], i};
        heaviest_ = std::max(heaviest_, candidates.weight(i));
      }
      if (!candidates.equal_weights()) by_weight_ = AliasTable{candidates.weights()};
    }

    [[nodiscard]] std::uint32_t key(std::size_t i) const noexcept { return keys_[i]; }
    /// Candidates::none if the backend is not a candidate now.
    [[nodiscard, gnu::always_inline]] std::size_t find(std::uint32_t key) const noexcept {
      for (auto at = key & mask(); cells_[at].index != absent; at = (at + 1) & mask())
        if (cells_[at].key == key) return cells_[at].index;
      return Candidates::none;
    }
    [[nodiscard]] std::size_t draw(std::size_t size, Rng random) const noexcept {
      return by_weight_.empty() ? random.below(size) : by_weight_.draw(random);
    }
    /// The k-th of several draws. The first may use `bits`, 32 random bits left over.
    [[nodiscard, gnu::always_inline]] std::size_t draw(std::size_t size, Rng random, std::size_t k,
                                                       std::uint64_t bits) const noexcept {
      if (k != 0 || !by_weight_.empty()) return draw(size, random);
      return static_cast<std::size_t>(bits * size >> 32U);  // bias n / 2^32
    }
    [[nodiscard]] bool equal_weights() const noexcept { return by_weight_.empty(); }
    /// True if a backend of this weight may win from the list this time.
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

  // Out-of-line functions take values, and rare paths take copies. So context and finish need no
  // address and live in registers.
  [[gnu::always_inline]] std::size_t pick(Plan const& plan, Candidates const& candidates,
                                          Context& context) const {
    if (context.trace() != nullptr) [[unlikely]]
      return pick_traced(plan, candidates, context);
    if (!context.unrestricted()) [[unlikely]] {
      auto copy = context;
      return best_usable(Live{}, plan, candidates.roster(), copy);
    }
    return propose(Live{}, plan, candidates.roster(), context.now, context.random.chance(),
                   context.lane);
  }

  [[gnu::always_inline]] void on_finish(Finish& finish) const noexcept {
    auto& state = finish.state<State>();
    auto const in_flight = finish.backend.in_flight();
    auto const left = in_flight == 0 ? 0 : in_flight - 1;
    if (finish.outcome.result == Result::success && finish.latency) [[likely]]
      return end(state, left, finish.started, finish.now, *finish.latency);
    end_otherwise(state, left, finish.started, finish.now, finish.outcome,
                  finish.latency.value_or(Duration{}));
  }

 private:
  using Sums = State::Sums;

  static constexpr float prior = 7;             // samples
  static constexpr float cold = 5;              // mean latencies of a backend that has just joined
  static constexpr float urgency = 10;          // factor of the ages of requests in flight
  static constexpr float slowest_success = 5;   // mean latencies
  static constexpr float fastest_failure = 16;  // mean latencies
  static constexpr float kept_at_failure = 10;  // samples
  static constexpr float busier = 4;            // times as busy as another backend: still usual
  static constexpr float good_enough = 1.15F;   // mean latencies: no need to read other lines
  static constexpr std::uint32_t batch = 16;    // successes
  static constexpr float stale = 3;             // 1/d after 250 mean latencies
  static constexpr float hopeful = 0.9F;        // mean latencies of an unknown backend, to explore
  static constexpr std::size_t draws = 8;       // random backends where the list is not used
  static constexpr std::size_t few = 4;         // up to so many backends are all compared
  static constexpr float alike = 0.75F;         // of few: costs from this ratio on count as equal

  /// How picks write to what they share: slots of the list, the states of backends.
  struct Live {
    template <class T>
    static void store(sync::Relaxed<T>& number, T value) noexcept {
      number.store(value);
    }
    static void set(ShortList& list, Entry entry) noexcept { list.set(entry); }
    static void begin(State& state, Time now) noexcept {
      detail::adaptive::RunningRequests::begin(state, now);
    }
    static bool several(detail::adaptive::PickingThreads& threads, sync::Lane lane) noexcept {
      return threads.several(lane);
    }
    static void see(detail::adaptive::PoolLoad& load, float cost) noexcept { load.see(cost); }
    static void tell(Candidates const&, std::size_t, float) noexcept {}
  };
  /// How a traced pick does: it also tells the costs that it compares.
  struct Told : Live {
    void tell(Candidates const& candidates, std::size_t i, float cost) const {
      if (i != Candidates::none) trace->score(candidates[i], cost);
    }
    PickTrace* trace;
  };
  /// How a rehearsal does: not at all. A pick reads nothing that it has written itself, except for
  /// the slot in which it lists its winner.
  struct Dry {
    template <class T>
    static void store(sync::Relaxed<T>&, T) noexcept {}
    static void set(ShortList&, Entry) noexcept {}
    static void begin(State&, Time) noexcept {}
    static bool several(detail::adaptive::PickingThreads const& threads, sync::Lane) noexcept {
      return threads.are_several();
    }
    static void see(detail::adaptive::PoolLoad const&, float) noexcept {}
    static void tell(Candidates const&, std::size_t, float) noexcept {}
  };

  struct Choice {
    std::size_t index = Candidates::none;
    float cost = ShortList::empty;
    std::uint32_t slot = 0;
  };

  /// Tells a rehearsal every cost, and another trace those that are compared.
  [[gnu::noinline, gnu::cold]] std::size_t pick_traced(Plan const& plan,
                                                       Candidates const& candidates,
                                                       Context context) const {
    if (context.rehearsal() == nullptr)
      return pick_by(Told{{}, context.trace()}, plan, candidates, context);
    for (std::size_t i = 0; i < candidates.size(); ++i)
      context.trace()->score(candidates[i], cost(candidates, i, context.now, mean_.unknown()));
    return pick_by(Dry{}, plan, candidates, context);
  }
  template <class Writes>
  std::size_t pick_by(Writes writes, Plan const& plan, Candidates const& candidates,
                      Context& context) const {
    if (!context.unrestricted()) return best_usable(writes, plan, candidates.roster(), context);
    return propose(writes, plan, candidates.roster(), context.now, context.random.chance(),
                   context.lane);
  }

  template <class Writes>
  [[gnu::noinline]] std::size_t propose(Writes writes, Plan const& plan, Roster const& roster,
                                        Time now, RandomSource& chance, sync::Lane lane) const {
    Candidates const candidates{roster};
    Rng random{chance, lane};
    auto const bits = random();
    bool const explores = bits % 128 == 0;
    auto i = Candidates::none;
    if (explores) [[unlikely]]
      i = unknown_of_some(writes, plan, roster, now, random);
    if (i == Candidates::none)
      i = candidates.size() <= few
              ? best_in_row(writes, plan, roster, now, random)
              : best_of_list(writes, plan, candidates, now, random, bits >> 8U);
    if (now != Time{}) writes.begin(candidates.state<State>(i), now);
    return i;
  }

  [[gnu::noinline]] void end(State& state, std::uint32_t left, Time started, Time now,
                             Duration latency) const noexcept {
    if (started != Time{}) detail::adaptive::RunningRequests::end(state, started, now, left);
    post(state, learn_success(state, latency, now), left, now);
  }

  [[gnu::noinline, gnu::cold]] void end_otherwise(State& state, std::uint32_t left, Time started,
                                                  Time now, Outcome outcome,
                                                  Duration latency) const noexcept {
    if (started != Time{}) detail::adaptive::RunningRequests::end(state, started, now, left);
    auto sums = std::bit_cast<Sums>(state.sums.load());
    if (is_failure(outcome.result))
      sums = learn_failure(state, left, std::max(latency, outcome.retry_after), now);
    else if (outcome.result == Result::rejected && mean_.known())
      sums = learn_rejection(state, sums, left, now);
    post(state, sums, left, now);
  }

  /// Writes the backend's cost to its slot, or to the worst slot if it is better than that.
  [[gnu::always_inline]] void post(State& state, Sums sums, std::uint32_t left,
                                   Time now) const noexcept {
    auto const cost_now = cost(state, sums, left, now, mean_.unknown());
    auto const key = state.key.load();
    auto slot = state.slot.load();
    if (list_.at(slot).key() != key) {
      auto const worst = list_.worst();
      if (cost_now >= worst.cost()) return;
      slot = worst.slot();
      state.slot.store(slot);
    }
    list_.set({cost_now, slot, key});
  }

  /// `chance` has 56 random bits: the upper 32 for the first fresh backend, others for repairs.
  template <class Writes>
  [[gnu::always_inline]] std::size_t best_of_list(Writes writes, Plan const& plan,
                                                  Candidates const& candidates, Time now,
                                                  Rng random, std::uint64_t chance) const {
    auto const [first, second] = best_two(writes, random.lane());
    auto const best = look(writes, plan, candidates, now, first);
    auto known = best;
    if (second.cost() < known.cost) [[unlikely]]
      if (auto const i = plan.find(second.key()); i != Candidates::none)
        known = {i, second.cost(), second.slot()};
    writes.tell(candidates, known.index, known.cost);
    for (std::size_t k = 0; k < Repairs; ++k) {
      auto const other = look(writes, plan, candidates, now, list_.at((chance + k) % Slots));
      write(writes, plan, other);
      if (other.cost < known.cost) [[unlikely]]
        known = other;
    }
    Choice fresh;
    for (std::size_t k = 0; k < Fresh; ++k) {
      auto const i = plan.draw(candidates.size(), random, k, chance >> 24U);
      if (plan.equal_weights() && !may_beat(candidates.state<State>(i), known.cost)) continue;
      auto const each = cost(candidates, i, now, mean_.unknown());
      writes.tell(candidates, i, each);
      if (each < fresh.cost) fresh = {i, each, 0};
    }
    bool const wins = known.index != Candidates::none && known.cost <= fresh.cost;
    bool const stays = wins && plan.allows(candidates.weight(known.index), random);
    if (!wins || known.slot != best.slot) [[unlikely]]
      write(writes, plan, best);
    // A backend that its weight kept from winning must not block the slot.
    if (stays != wins) [[unlikely]]
      writes.set(list_, {ShortList::empty, known.slot, 0});
    auto winner = known;
    if (!stays) [[unlikely]]
      winner = at_home(candidates, fresh);
    writes.set(list_, {charged(candidates, winner), winner.slot, plan.key(winner.index)});
    writes.store(candidates.state<State>(winner.index).slot, winner.slot);
    return winner.index;
  }

  /// The two best slots that this thread reads. While a thread finds a good enough slot in its own
  /// line of the list, it does not touch the lines of other threads.
  template <class Writes>
  [[gnu::always_inline]] typename ShortList::BestTwo best_two(Writes writes,
                                                              sync::Lane lane) const noexcept {
    auto const line = static_cast<std::uint32_t>(lane) % ShortList::lines;
    auto const own = list_.best_of_line(line);
    if (ShortList::lines > 1 && writes.several(threads_, lane) &&
        own.first.cost() <= good_enough * mean_.get())
      return own;
    return list_.best_of_others(line, own);
  }

  /// Computes the cost of a slot again. Empties the slot if its backend is no candidate any more.
  template <class Writes>
  [[gnu::always_inline]] Choice look(Writes writes, Plan const& plan, Candidates const& candidates,
                                     Time now, Entry entry) const {
    if (entry.cost() == ShortList::empty) return {};
    auto const i = plan.find(entry.key());
    if (i == Candidates::none) [[unlikely]] {
      writes.set(list_, {ShortList::empty, entry.slot(), 0});
      return {};
    }
    auto const each = cost(candidates, i, now, mean_.unknown());
    writes.tell(candidates, i, each);
    return {i, each, entry.slot()};
  }

  template <class Writes>
  void write(Writes writes, Plan const& plan, Choice const& choice) const noexcept {
    if (choice.index != Candidates::none)
      writes.set(list_, {choice.cost, choice.slot, plan.key(choice.index)});
  }

  /// The choice with its slot on the list; with the worst slot if it is not listed.
  [[nodiscard]] Choice at_home(Candidates const& candidates, Choice choice) const noexcept {
    auto const& state = candidates.state<State>(choice.index);
    choice.slot = state.slot.load();
    if (list_.at(choice.slot).key() != state.key.load()) choice.slot = list_.worst().slot();
    return choice;
  }

  /// The cost with this request in flight.
  static float charged(Candidates const& candidates, Choice const& choice) noexcept {
    auto const n = static_cast<float>(candidates.in_flight(choice.index));
    return choice.cost * ((n + 2) / (n + 1));
  }

  /// The best of a few backends: compares all of them from a random start. Equally busy backends
  /// that are about as quick take turns, so that little traffic reaches all of them.
  template <class Writes>
  [[gnu::noinline]] std::size_t best_in_row(Writes writes, Plan const& plan, Roster const& roster,
                                            Time now, Rng random) const {
    Candidates const candidates{roster};
    auto const size = candidates.size();
    auto const start = size == 1 ? 0 : random.below(size);
    Choice best;
    std::uint32_t least = 0;
    for (std::size_t step = 0; step < size; ++step) {
      auto const i = start + step < size ? start + step : start + step - size;
      auto const in_flight = candidates.in_flight(i);
      auto const each = cost(candidates.state<State>(i), in_flight, now, mean_.get());
      writes.tell(candidates, i, each);
      if (each >= best.cost * (in_flight == least ? alike : 1)) continue;
      best = {i, each, 0};
      least = in_flight;
    }
    if (best.index != Candidates::none && plan.allows(candidates.weight(best.index), random))
      return best.index;
    return plan.draw(candidates.size(), random);
  }

  /// Draws some backends at random. Returns one that is idle, had no sample for a while and may be
  /// no worse than the mean; of several, the one with the fewest samples. `none` if there is none.
  /// So a joined backend gets samples, and so does one that was bad once that has faded: one
  /// request in a thousand.
  template <class Writes>
  [[gnu::noinline]] std::size_t unknown_of_some(Writes writes, Plan const& plan,
                                                Roster const& roster, Time now, Rng random) const {
    Candidates const candidates{roster};
    auto found = Candidates::none;
    auto least = ShortList::empty;
    for (std::size_t k = 0; k < draws; ++k) {
      auto const i = plan.draw(candidates.size(), random);
      auto const& state = candidates.state<State>(i);
      auto const in_flight = candidates.in_flight(i);
      writes.see(pool_load_, ordinary_cost(state, in_flight, now));
      auto const faded = mean_.faded(state.at.load(), now);
      auto const known = std::bit_cast<Sums>(state.sums.load()).samples / faded;
      if (in_flight != 0 || faded < stale || known >= least) continue;
      auto const hoped = cost(state, 0, now, hopeful * mean_.get());
      if (hoped >= mean_.get()) continue;
      writes.tell(candidates, i, hoped);
      found = i;
      least = known;
    }
    return found;
  }

  /// The rare case: the request excludes backends, or backends have refused it.
  template <class Writes>
  [[gnu::noinline, gnu::cold]] std::size_t best_usable(Writes writes, Plan const& plan,
                                                       Roster const& roster,
                                                       Context& context) const {
    Candidates const candidates{roster};
    Choice best;
    for (std::size_t k = 0; k < draws; ++k) {
      auto const i = plan.draw(candidates.size(), context.random);
      auto const each = cost(candidates, i, context.now, mean_.unknown());
      writes.tell(candidates, i, each);
      if (each < best.cost && context.usable(candidates, i)) best = {i, each, 0};
    }
    auto const i = best.index != Candidates::none ? best.index : any_usable(candidates, context);
    if (context.now != Time{}) writes.begin(candidates.state<State>(i), context.now);
    return i;
  }

  /// A usable backend, searched from a random start. If none is usable, any one: the balancer
  /// refuses it.
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
  /// Takes the sums that were just stored: reading them back takes as long as a division.
  [[gnu::always_inline]] float cost(State const& state, Sums sums, std::uint32_t in_flight,
                                    Time now, float unknown) const noexcept {
    // Numerator and denominator are multiplied by 1/d: one division instead of two.
    auto const faded = mean_.faded(state.at.load(), now);
    auto const ages =
        urgency * detail::adaptive::RunningRequests::age(state.running.load(), now, in_flight);
    return static_cast<float>(in_flight + 1) * (sums.latency + (ages + prior * unknown) * faded) /
           (sums.samples + prior * faded);
  }

  /// True if the cost may be below `least`. The cost is a mean of samples and prior. Fading moves
  /// it towards the prior; ages and requests in flight only add to it. So this lower bound needs no
  /// time, and most random backends are dismissed before the clock has been read.
  [[gnu::always_inline]] bool may_beat(State const& state, float least) const noexcept {
    auto const sums = std::bit_cast<Sums>(state.sums.load());
    auto const unknown = mean_.unknown();
    return unknown < least || sums.latency + prior * unknown < least * (sums.samples + prior);
  }

  /// The first sample of a backend that joins a running pool.
  void welcome(State& state) const noexcept {
    state.sums.store(std::bit_cast<std::uint64_t>(Sums{cold * mean_.get(), 1}));
    state.at.store(mean_.at());
  }

  [[gnu::always_inline]] Sums learn_success(State& state, Duration latency,
                                            Time now) const noexcept {
    auto sample = static_cast<float>(latency.count());
    if (mean_.known()) sample = std::min(sample, slowest_success * mean_.get());
    auto const sums = learn(state, sample, now);
    // All threads share the cache line of the mean. So successes are added to it in batches of 16,
    // except for the very first one.
    auto const successes = state.successes.load() + 1;
    auto const recent = state.recent.load() + sample;
    auto const squares = state.squares.load() + sample * sample;
    bool const batch_is_full = successes % batch == 0;
    state.successes.store(successes);
    state.recent.store(batch_is_full ? 0 : recent);
    state.squares.store(batch_is_full ? 0 : squares);
    if (batch_is_full) [[unlikely]]
      update_mean(state, recent / batch, squares / batch, now);
    else if (!mean_.known()) [[unlikely]] mean_.add(sample, now);
    return sums;
  }

  /// Adds a batch, given the mean of its latencies and that of their squares.
  [[gnu::noinline]] void update_mean(State& state, float mean, float square,
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
    auto const took = static_cast<float>(latency.count());
    if (took < least) forget(state);
    return learn(state, std::max(least, took), now);
  }
  /// Keeps `kept_at_failure` samples of what was learnt. A backend that was good for long and is
  /// killed would need 20 failures until it costs more than the others that are busy. Not after a
  /// timeout: it costs more than that anyway, and may be the network's, so that all backends fail.
  static void forget(State& state) noexcept {
    auto const sums = std::bit_cast<Sums>(state.sums.load());
    if (sums.samples <= kept_at_failure) return;
    Sums const reduced{sums.latency * kept_at_failure / sums.samples, kept_at_failure};
    state.sums.store(std::bit_cast<std::uint64_t>(reduced));
  }

  /// The cost becomes that of a mean backend with the same traffic: see detail::RejectedLoad. Such
  /// a backend would have `more` requests in flight, each as old as a mean latency. A worse latency
  /// stays as it is.
  Sums learn_rejection(State& state, Sums sums, std::uint32_t left, Time now) const noexcept {
    auto const own = sums.samples > 0 ? sums.latency / sums.samples : 0;
    auto const busy = static_cast<float>(left + 1);
    auto const more = state.rejected.add(now, mean_.get());
    auto const ages = urgency * more / (sums.samples + prior);
    auto const as_if = mean_.get() * (1 + more / busy) * (1 + ages);
    return learn(state, std::max(own, as_if), now);
  }

  /// How many times busier other backends are, divided by the usual ratio; at least 1. A backend
  /// that fails at once has nothing in flight. If others have a hundred requests each, a cost of 16
  /// mean latencies would look good.
  [[nodiscard]] float calmer_than_others(State const& state, std::uint32_t left,
                                         Time now) const noexcept {
    return std::max(pool_load_.cost() / (busier * ordinary_cost(state, left, now)), 1.0F);
  }
  /// The backend's cost if its answers took the mean latency.
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

  mutable ShortList list_{};
  mutable detail::adaptive::PoolLatency mean_{};
  mutable detail::adaptive::PoolLoad pool_load_{};
  mutable detail::adaptive::PickingThreads threads_{};
};

/// The recommended size.
using Adaptive = BasicAdaptive<>;
/// One random backend and one repair more per pick, for 5 to 10 ns. 1 to 4 % better with a hundred
/// backends, or if threads lose each other's writes.
using WideAdaptive = BasicAdaptive<2, 16, 1>;

}  // namespace poise::inline v0_1_0
