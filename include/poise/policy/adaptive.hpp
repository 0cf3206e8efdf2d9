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
// samples m, last touched at t. L is the mean latency of all backends, p and k a prior: p samples
// of k L each stand for what nobody knows. An unknown backend costs k times the mean: neither a
// magnet nor an outcast.
//
//   latency(k) = (Y d + 10 S + p k L) / (m d + p)
//   cost(k)    = (n + 1) latency(k)
//   d          = 1 / (1 + z + z*z/2),  z = (now - t) / (200 L)
//
// The list is the board: slots {backend, cost as it was when somebody looked}.
//
//   pick    the best slot, looked at again; the second best if that is better now; one backend (or
//           two) at random. The cheapest wins, and stands on the board with what it costs from now.
//   finish  the sums take in the latency; an error counts as 16 L at least, a success as 5 L at
//           most. The backend's cost is posted: it takes the worst slot if it is better than that.
//   join    a backend that joins later starts with one sample of 4 L: its caches are cold.
//   explore one pick in 85 takes the stalest of a few at random, if nobody has heard of it for some
//           2000 L: so who healed comes back, also where traffic is calm.
//
// Ages (S) are samples that are not over: a stalled backend gets dearer before it has answered, and
// since they are the freshest thing that is known, they count ten times.
//
// Races: sums and slots are written without locks, and threads may lose each other's writes. What
// that costs, what each part is worth, and where the rule loses: docs/adaptive.md.

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include <poise/alias_table.hpp>
#include <poise/candidates.hpp>
#include <poise/fwd.hpp>
#include <poise/policy.hpp>
#include <poise/sync/relaxed.hpp>
#include <poise/time.hpp>

namespace poise {

namespace detail {

/// What is known of one backend. A line of its own: every pick and every end writes one.
struct alignas(64) Experience {
  struct Sums {
    float latency = 0;  // ns
    float samples = 0;
  };

  sync::Relaxed<std::uint64_t> sums{std::bit_cast<std::uint64_t>(Sums{})};
  sync::Relaxed<Duration::rep> at{0};       // of the last sample
  sync::Relaxed<std::uint64_t> running{0};  // see Running
  sync::Relaxed<std::uint32_t> key{0};      // the backend's name on the board
  sync::Relaxed<std::uint32_t> slot{0};     // where it was last put there
  sync::Relaxed<std::uint32_t> board{0};    // ... and on which, if there are several
  sync::Relaxed<std::uint32_t> successes{0};
  sync::Relaxed<float> recent{0};  // sum of latencies that the mean has not heard of
};

/// How many requests run and the sum of their starts, in one word, so that both always belong
/// together: the count in the low 20 bits, the sum above, modulo 2^44, in units of 64 ns. The age
/// of all is  count * now - sum,  exact while it is below 2^43 units (6 days).
///
/// Plain loads and stores: threads may lose an entry, and a pick that is refused after all leaves
/// one behind. Each end compares with the backend's own count, and keeps the mean age if it
/// differs.
class Running {
 public:
  static void begin(Experience& it, Time now) noexcept {
    it.running.store(it.running.load() + entry(now));
  }
  /// `left` requests are in flight beside the one that ends.
  static void end(Experience& it, Time started, Time now, std::uint32_t left) noexcept {
    auto const word = it.running.load();
    auto const rest = word - entry(started);
    it.running.store(count(word) == left + 1 ? rest : corrected(word, now, left));
  }
  /// The ages of `in_flight` requests, in ns.
  [[gnu::always_inline]] static float age(std::uint64_t word, Time now,
                                          std::uint32_t in_flight) noexcept {
    if (count(word) != in_flight) [[unlikely]]
      word = corrected(word, now, in_flight);
    return static_cast<float>(std::max<std::int64_t>(units_of_age(word, now), 0)) * unit;
  }

 private:
  static constexpr unsigned count_bits = 20;
  static constexpr std::uint64_t count_mask = (1U << count_bits) - 1;
  static constexpr int unit = 64;

  static std::uint64_t entry(Time start) noexcept { return (units(start) << count_bits) + 1; }
  static std::uint64_t units(Time time) noexcept {
    return static_cast<std::uint64_t>(time.time_since_epoch().count()) / unit;
  }
  static std::uint64_t count(std::uint64_t word) noexcept { return word & count_mask; }
  static std::int64_t units_of_age(std::uint64_t word, Time now) noexcept {
    auto const sum = (count(word) * units(now) << count_bits) - (word & ~count_mask);
    return static_cast<std::int64_t>(sum) >> count_bits;
  }
  [[gnu::noinline, gnu::cold]] static std::uint64_t corrected(std::uint64_t word, Time now,
                                                              std::uint64_t left) noexcept {
    if (count(word) == 0) return left * entry(now);  // nothing is known of them
    auto const age = std::max<std::int64_t>(units_of_age(word, now), 0);
    auto const kept = static_cast<double>(age) / static_cast<double>(count(word));
    return left * entry(now) -
           (static_cast<std::uint64_t>(kept * static_cast<double>(left)) << count_bits);
  }
};

/// The mean latency of successes, L. On a line that is written seldom.
class alignas(64) MeanLatency {
 public:
  MeanLatency() noexcept { store(1e6F); }  // 1 ms until somebody succeeds
  MeanLatency(MeanLatency const&) noexcept : MeanLatency{} {}
  MeanLatency& operator=(MeanLatency const&) = delete;

  [[nodiscard]] float get() const noexcept { return mean_.load(); }
  [[nodiscard]] bool known() const noexcept { return samples_.load() != 0; }
  /// When it last changed.
  [[nodiscard]] Duration::rep at() const noexcept { return at_.load(); }
  void add(float sample, Time now) noexcept {
    auto const samples = std::min(samples_.load() + 1, longest);
    auto const mean = samples == 1 ? 0 : get();
    // A clock that stands still measures zeros.
    store(std::max(mean + (sample - mean) / static_cast<float>(samples), 1.0F));
    samples_.store(samples);
    at_.store(now.time_since_epoch().count());
  }
  /// 1/d, see above, for sums last touched at `at`. A clock that was set back does not make old news
  /// fresh.
  [[nodiscard]] float faded(Duration::rep at, Time now) const noexcept {
    auto const age = static_cast<float>(now.time_since_epoch().count() - at);
    auto const z = std::abs(age) * per_window_.load();
    return 1 + z + z * z / 2;
  }

 private:
  static constexpr std::uint32_t longest = 16;  // of means over 16 successes
  static constexpr float window = 200;          // means until a sum has faded to 0.4
  void store(float mean) noexcept {
    mean_.store(mean);
    per_window_.store(1 / (window * mean));
  }
  sync::Relaxed<float> mean_{0};
  sync::Relaxed<float> per_window_{0};
  sync::Relaxed<std::uint32_t> samples_{0};
  sync::Relaxed<Duration::rep> at_{0};
};

/// A few backends and what they cost. Words, so that key and cost always belong together.
template <std::size_t Size>
class alignas(64) Board {
  static_assert(Size >= 2 && Size <= 256);

 public:
  static constexpr float empty = std::numeric_limits<float>::infinity();

  struct Slot {
    std::uint32_t key;
    float cost;
  };
  /// Slots by number, and costs as they are written there.
  struct Survey {
    std::uint32_t first;
    std::uint32_t second;
    std::uint32_t worst;
  };

  [[nodiscard]] Slot at(std::size_t slot) const noexcept {
    auto const word = words_[slot].load();
    return {static_cast<std::uint32_t>(word),
            std::bit_cast<float>(static_cast<std::uint32_t>(word >> 32U))};
  }
  void set(std::size_t slot, Slot content) noexcept {
    words_[slot].store(ranked(content.cost, content.key));
  }
  /// Compares like the cost: costs are not negative, and then their bits compare as they do.
  static constexpr std::uint64_t ranked(float cost, std::uint32_t low) noexcept {
    return static_cast<std::uint64_t>(std::bit_cast<std::uint32_t>(cost)) << 32U | low;
  }
  /// The two best and the worst. No branch depends on the costs: all would be mispredicted.
  [[nodiscard, gnu::always_inline]] Survey survey() const noexcept {
    auto best = ranked(0);
    auto second = ~std::uint64_t{0};
    auto worst = best;
    for (std::uint32_t i = 1; i < Size; ++i) {
      auto const each = ranked(i);
      second = std::min(second, std::max(best, each));
      best = std::min(best, each);
      worst = std::max(worst, each);
    }
    return {number_of(best), number_of(second), number_of(worst)};
  }
  [[nodiscard]] std::uint32_t worst() const noexcept {
    auto worst = ranked(0);
    for (std::uint32_t i = 1; i < Size; ++i) worst = std::max(worst, ranked(i));
    return number_of(worst);
  }

 private:
  [[nodiscard]] std::uint64_t ranked(std::uint32_t slot) const noexcept {
    return (words_[slot].load() & ~std::uint64_t{0xff}) | slot;  // instead of the key's last byte
  }
  static std::uint32_t number_of(std::uint64_t ranked) noexcept {
    return static_cast<std::uint32_t>(ranked & 0xff);
  }

  struct Word : sync::Relaxed<std::uint64_t> {
    Word() noexcept : Relaxed{ranked(empty, 0)} {}
  };
  std::array<Word, Size> words_{};
};

}  // namespace detail

/// @tparam Fresh   backends looked at at random, per pick
/// @tparam Slots   on the board
/// @tparam Repairs slots looked at again, per pick, beside the best
/// @tparam Boards  that threads share, each thread always the same one. More than one is for
///                 threads that do nothing but pick, and costs balance: docs/adaptive.md has both
///                 figures
///
/// Weights are not divisors: latency contains capacity already. They are shares of admission: fresh
/// backends are drawn by weight, and a backend of less than a quarter of the largest weight stays
/// on the board in proportion. So a canary of weight 1 among 100s gets a few times its share at
/// most, however quick it is, and servers of half the size are used as they turn out to be.
///
/// *Threads* any. *Cost* at most Fresh + Repairs + 1 evaluations a pick and one a finish; 64 bytes
/// a backend, 20 in the plan, a clock read at pick and at finish.
template <std::size_t Fresh, std::size_t Slots, std::size_t Repairs, std::size_t Boards>
class BasicAdaptive {
  static_assert(Fresh >= 1 && Slots >= 2,
                "the board needs two slots, and fresh backends to fill it");
  using Board = detail::Board<Slots>;

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
        // Serials are never used twice; those of 2^32 backends later will do.
        keys_[i] = static_cast<std::uint32_t>(candidates[i].serial());
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
    [[nodiscard]] std::size_t draw(Candidates const& candidates, Rng& random) const noexcept {
      return by_weight_.empty() ? random.below(candidates.size()) : by_weight_.draw(random);
    }
    /// The k-th of several. The first one may be had for 32 bits that are left over.
    [[nodiscard]] std::size_t draw(Candidates const& candidates, Rng& random, std::size_t k,
                                   std::uint64_t bits) const noexcept {
      if (k != 0 || !by_weight_.empty()) return draw(candidates, random);
      return static_cast<std::size_t>(bits * candidates.size() >> 32U);  // bias n / 2^32
    }
    /// May the board propose it this time?
    [[nodiscard, gnu::always_inline]] bool allows(Candidates const& candidates, std::size_t i,
                                                  Rng& random) const noexcept {
      return by_weight_.empty() ||
             random.below(heaviest_) < std::uint64_t{unequal} * candidates.weight(i);
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

  std::size_t pick(Plan const& plan, Candidates const& candidates, Context& context) const {
    auto const i = propose(plan, candidates, context);
    if (context.now != Time{}) detail::Running::begin(candidates.state<State>(i), context.now);
    return i;
  }

  void on_finish(Finish& finish) const noexcept {
    auto& state = finish.state<State>();
    auto const in_flight = finish.backend.in_flight();
    auto const left = in_flight == 0 ? 0 : in_flight - 1;
    if (finish.started != Time{}) detail::Running::end(state, finish.started, finish.now, left);
    learn(state, finish);
    auto const cost_now = cost(state, left, finish.now, cautious);
    auto const key = state.key.load();
    auto slot = state.slot.load();
    auto& board = boards_[Boards == 1 ? 0 : state.board.load()];
    if (board.at(slot).key != key) {
      slot = board.worst();
      if (cost_now >= board.at(slot).cost) return;
      state.slot.store(slot);
    }
    board.set(slot, {key, cost_now});
  }

 private:
  static constexpr float prior = 5;     // samples
  static constexpr float cautious = 2;  // mean latencies of an unknown backend
  static constexpr float curious = 1;   // the same among few
  static constexpr float cold = 4;      // the same of a backend that has just joined
  static constexpr float urgency = 10;  // times the ages of what runs
  static constexpr float most_samples = 40;
  static constexpr float slowest_success = 5;   // mean latencies
  static constexpr float fastest_failure = 16;  // mean latencies
  static constexpr std::uint32_t batch = 16;    // successes
  static constexpr float stale = 60;  // 1/d of what nobody has heard of for 2000 mean latencies
  static constexpr std::size_t draws = 8;  // where there is no board
  static constexpr std::size_t few = 4;    // backends that are simply all looked at
  static constexpr float alike = 0.75F;    // of few: so much of a cost is as good as all of it

  struct Choice {
    std::size_t index = Candidates::none;
    float cost = Board::empty;
  };

  std::size_t propose(Plan const& plan, Candidates const& candidates, Context& context) const {
    if (!context.unrestricted()) [[unlikely]]
      return best_usable(plan, candidates, context);
    auto const bits = context.random();
    bool const explores = bits % 256 < 3;
    if (explores) [[unlikely]]
      if (auto const i = stalest_of_some(plan, candidates, context); i != Candidates::none)
        return i;
    if (candidates.size() <= few) return best_in_row(plan, candidates, context);
    return best_of_board(plan, candidates, context, bits >> 8U);
  }

  /// `chance` has 56 random bits: the upper 32 for the first fresh backend, others for repairs.
  [[gnu::always_inline]] std::size_t best_of_board(Plan const& plan, Candidates const& candidates,
                                                   Context& context, std::uint64_t chance) const {
    auto const now = context.now;
    auto const number = static_cast<std::uint32_t>(context.lane) % std::uint32_t{Boards};
    auto& board = boards_[number];
    auto const survey = board.survey();
    // Which is the cheapest is chance, so a branch would be mispredicted: costs compare as words
    // that end in a number, and the numbers lead to the rest.
    std::array<Choice, 2 + Repairs> known;
    std::array<std::uint32_t, 2 + Repairs> slots;
    slots[0] = survey.first;
    known[0] = look(board, plan, candidates, now, slots[0]);
    for (std::size_t k = 0; k < Repairs; ++k) {
      slots[2 + k] = static_cast<std::uint32_t>((chance + k) % Slots);
      known[2 + k] = look(board, plan, candidates, now, slots[2 + k]);
      write(board, plan, slots[2 + k], known[2 + k]);
    }
    auto const second = board.at(slots[1] = survey.second);
    known[1] = {plan.find(second.key), second.cost};
    if (known[1].index == Candidates::none) known[1].cost = Board::empty;

    std::array<Choice, Fresh> fresh;
    for (std::size_t k = 0; k < Fresh; ++k) {
      auto const i = plan.draw(candidates, context.random, k, chance >> 24U);
      fresh[k] = {i, cost(candidates, i, now, cautious)};
    }
    auto const old = cheapest(known);
    auto const& best_old = known[old];
    auto const& best_fresh = fresh[cheapest(fresh)];
    bool const wins = best_old.index != Candidates::none && best_old.cost <= best_fresh.cost;
    bool const stays = wins && plan.allows(candidates, best_old.index, context.random);
    if (!wins || old != 0) write(board, plan, slots[0], known[0]);
    // Kept from winning by its weight, it must not stand in everybody's way.
    if (stays != wins) [[unlikely]]
      board.set(slots[old], {0, Board::empty});
    auto const winner = stays ? best_old : best_fresh;
    auto& state = candidates.state<State>(winner.index);
    auto const slot = stays ? slots[old] : home(board, state, survey.worst);
    board.set(slot, {plan.key(winner.index), charged(candidates, winner)});
    state.slot.store(slot);
    if constexpr (Boards > 1) state.board.store(number);
    return winner.index;
  }

  template <std::size_t Size>
  static std::size_t cheapest(std::array<Choice, Size> const& choices) noexcept {
    auto best = Board::ranked(choices[0].cost, 0);
    for (std::uint32_t k = 1; k < Size; ++k)
      best = std::min(best, Board::ranked(choices[k].cost, k));
    return static_cast<std::size_t>(best & 0xff);
  }

  /// Evaluates a slot again. One whose backend is gone is emptied.
  [[gnu::always_inline]] Choice look(Board& board, Plan const& plan, Candidates const& candidates,
                                     Time now, std::size_t slot) const {
    auto const old = board.at(slot);
    if (old.cost == Board::empty) return {};
    auto const i = plan.find(old.key);
    if (i == Candidates::none) {
      board.set(slot, {0, Board::empty});
      return {};
    }
    return {i, cost(candidates, i, now, cautious)};
  }

  static void write(Board& board, Plan const& plan, std::uint32_t slot,
                    Choice const& choice) noexcept {
    if (choice.index != Candidates::none) board.set(slot, {plan.key(choice.index), choice.cost});
  }

  /// The slot where it stands, else the one that it may take.
  [[nodiscard]] static std::uint32_t home(Board const& board, State const& state,
                                          std::uint32_t worst) noexcept {
    auto const slot = state.slot.load();
    return board.at(slot).key == state.key.load() ? slot : worst;
  }

  /// What it will cost once this request is on its way.
  static float charged(Candidates const& candidates, Choice const& choice) noexcept {
    auto const n = static_cast<float>(candidates.in_flight(choice.index));
    return choice.cost * (n + 2) / (n + 1);
  }

  /// Of few: all of them. Those that are as busy as each other and about as quick take turns: a calm
  /// program asks them all.
  [[gnu::noinline]] std::size_t best_in_row(Plan const& plan, Candidates const& candidates,
                                            Context& context) const {
    auto const size = candidates.size();
    auto const start = size == 1 ? 0 : context.random.below(size);
    Choice best;
    std::uint32_t least = 0;
    for (std::size_t step = 0; step < size; ++step) {
      auto const i = start + step < size ? start + step : start + step - size;
      auto const in_flight = candidates.in_flight(i);
      auto const each = cost(candidates.state<State>(i), in_flight, context.now, curious);
      if (each >= best.cost * (in_flight == least ? alike : 1)) continue;
      best = {i, each};
      least = in_flight;
    }
    if (best.index != Candidates::none && plan.allows(candidates, best.index, context.random))
      return best.index;
    return plan.draw(candidates, context.random);
  }

  /// Who is idle, and wasn't heard of for long; none if that is nobody. Stale news is all that can be
  /// wrong for long, and a slow backend gets one request in thousands by it.
  [[gnu::noinline]] std::size_t stalest_of_some(Plan const& plan, Candidates const& candidates,
                                                Context& context) const {
    auto stalest = Candidates::none;
    auto most = stale;
    for (std::size_t k = 0; k < draws; ++k) {
      auto const i = plan.draw(candidates, context.random);
      auto const faded = mean_.faded(candidates.state<State>(i).at.load(), context.now);
      if (faded <= most || candidates.in_flight(i) != 0) continue;
      stalest = i;
      most = faded;
    }
    return stalest;
  }

  /// Seldom: some are excluded or have refused.
  [[gnu::noinline, gnu::cold]] std::size_t best_usable(Plan const& plan,
                                                       Candidates const& candidates,
                                                       Context& context) const {
    Choice best;
    for (std::size_t k = 0; k < draws; ++k) {
      auto const i = plan.draw(candidates, context.random);
      auto const each = cost(candidates, i, context.now, cautious);
      if (each < best.cost && context.usable(candidates, i)) best = {i, each};
    }
    if (best.index != Candidates::none) return best.index;
    auto const start = context.random.below(candidates.size());
    for (std::size_t step = 0; step < candidates.size(); ++step)
      if (auto const i = (start + step) % candidates.size(); context.usable(candidates, i))
        return i;
    return start;
  }

  [[gnu::always_inline]] float cost(Candidates const& candidates, std::size_t i, Time now,
                                    float unknown) const noexcept {
    return cost(candidates.state<State>(i), candidates.in_flight(i), now, unknown);
  }
  [[gnu::always_inline]] float cost(State const& state, std::uint32_t in_flight, Time now,
                                    float unknown) const noexcept {
    auto const mean = mean_.get();
    auto const sums = std::bit_cast<State::Sums>(state.sums.load());
    // Both sides of the fraction times 1/d: one division instead of two.
    auto const faded = mean_.faded(state.at.load(), now);
    auto const ages = urgency * detail::Running::age(state.running.load(), now, in_flight);
    return static_cast<float>(in_flight + 1) *
           (sums.latency + (ages + prior * unknown * mean) * faded) /
           (sums.samples + prior * faded);
  }

  /// It joins a pool that is known already.
  void welcome(State& state) const noexcept {
    state.sums.store(std::bit_cast<std::uint64_t>(State::Sums{cold * mean_.get(), 1}));
    state.at.store(mean_.at());
  }

  void learn(State& state, Finish const& finish) const noexcept {
    auto const ending = finish.outcome.ending;
    bool const failed = is_failure(ending);
    if (!failed && (ending != Ending::success || !finish.latency)) return;
    auto const mean = mean_.get();
    auto sample = static_cast<float>(finish.latency.value_or(Duration{}).count());
    if (failed)
      sample = std::max(
          {sample, fastest_failure * mean, static_cast<float>(finish.outcome.retry_after.count())});
    else if (mean_.known()) sample = std::min(sample, slowest_success * mean);

    // At most as much as leaves most_samples in the end.
    constexpr auto most_kept = 1 - 1 / most_samples;
    auto const kept = std::min(1 / mean_.faded(state.at.load(), finish.now), most_kept);
    auto const old = std::bit_cast<State::Sums>(state.sums.load());
    State::Sums const sums{old.latency * kept + sample, old.samples * kept + 1};
    state.sums.store(std::bit_cast<std::uint64_t>(sums));
    state.at.store(finish.now.time_since_epoch().count());
    if (failed) return;
    // The mean's line is everybody's: it hears of 16 successes at once, of the very first at once.
    auto const successes = state.successes.load() + 1;
    auto const recent = state.recent.load() + sample;
    bool const tell = successes % batch == 0;
    state.successes.store(successes);
    state.recent.store(tell ? 0 : recent);
    if (tell) mean_.add(recent / batch, finish.now);
    else if (!mean_.known()) mean_.add(sample, finish.now);
  }

  mutable std::array<Board, Boards> boards_{};
  mutable detail::MeanLatency mean_{};
};

/// The recommended size.
using Adaptive = BasicAdaptive<>;
/// One draw and one repair more a pick, for 20 ns: 1 to 4 % better with a hundred backends, or if
/// threads lose each other's writes.
using WideAdaptive = BasicAdaptive<2, 16, 1>;

}  // namespace poise
