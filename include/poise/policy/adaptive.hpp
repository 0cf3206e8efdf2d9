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
//   d          = 1 / (1 + z + z*z/2),  z = max(0, now - t - L) / (200 L)
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
  sync::Relaxed<std::uint32_t> successes{0};
  // Of latencies that the mean has not heard of:
  sync::Relaxed<float> recent{0};   // their sum
  sync::Relaxed<float> squares{0};  // the sum of their squares
  sync::Relaxed<float> before{0};   // the mean of the batch before them
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
    if (in_flight == 0) return 0;
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

/// How long experience with a backend is worth something, M, in samples. With constant speeds the
/// more the better; with speeds that wander only the last few count.
///
/// Two batches of b latencies, one after the other, of one backend: if nothing but chance were
/// between them, the squared difference of their means would be 2/b times the variance within. What
/// it is more than that is change. A filter for a value that wanders by c a step and is seen with
/// noise v does best with a memory of sqrt(v / c) steps.
class Steadiness {
 public:
  /// The squared difference and the variance, both relative to the mean; for batches of `size`.
  void compare(float difference, float variance, float size) noexcept {
    auto const pairs = std::min(pairs_.load() + 1, most_pairs);
    auto const share = 1 / static_cast<float>(pairs);
    auto const differences = differences_.load() + share * (difference - differences_.load());
    auto const noise = noise_.load() + share * (variance - noise_.load());
    pairs_.store(pairs);
    differences_.store(differences);
    noise_.store(noise);
    if (pairs < most_pairs) return;
    auto const change = differences - usual * 2 / size * noise;  // over a batch
    auto const best = change > 0 ? std::sqrt(size * noise / change) : longest;
    memory_.store(std::clamp(best, shortest, longest));
  }
  [[nodiscard]] float memory() const noexcept { return memory_.load(); }
  /// Of what is possible, 0 to 1.
  [[nodiscard]] float share() const noexcept { return memory() / longest; }

 private:
  static constexpr float shortest = 10;  // samples
  static constexpr float longest = 160;
  static constexpr std::uint32_t most_pairs = 64;  // that the means are over
  // Queues outlast a batch, so that batches differ by 1.0 to 1.3 times what chance alone would do;
  // with speeds that wander by 1.6 and more.
  static constexpr float usual = 1.4F;
  sync::Relaxed<float> differences_{0};
  sync::Relaxed<float> noise_{0};
  sync::Relaxed<std::uint32_t> pairs_{0};
  sync::Relaxed<float> memory_{longest};
};

/// The mean latency of successes, L, and what follows from it. On a line that is written seldom.
class alignas(64) MeanLatency {
 public:
  MeanLatency() noexcept { store(1e6F); }  // 1 ms until somebody succeeds
  MeanLatency(MeanLatency const&) noexcept : MeanLatency{} {}
  MeanLatency& operator=(MeanLatency const&) = delete;

  [[nodiscard]] float get() const noexcept { return mean_.load(); }
  [[nodiscard]] bool known() const noexcept { return samples_.load() != 0; }
  /// Latency of an unknown backend, k L.
  [[nodiscard]] float unknown() const noexcept { return unknown_.load(); }
  /// Of a sum, when a sample is added: it leaves M samples in the end.
  [[nodiscard]] float most_kept() const noexcept { return most_kept_.load(); }
  /// When it last changed.
  [[nodiscard]] Duration::rep at() const noexcept { return at_.load(); }
  /// The means of two batches of a backend, and the variance of the second.
  void compare(float before, float mean, float variance, float size) noexcept {
    auto const scale = 2 / (before + mean);
    auto const difference = scale * (mean - before);
    steadiness_.compare(difference * difference, scale * scale * variance, size);
  }
  [[gnu::noinline]] void add(float sample, Time now) noexcept {
    auto const samples = std::min(samples_.load() + 1, longest);
    auto const mean = samples == 1 ? 0 : get();
    // A clock that stands still measures zeros.
    store(std::max(mean + (sample - mean) / static_cast<float>(samples), 1.0F));
    samples_.store(samples);
    at_.store(now.time_since_epoch().count());
  }
  /// 1/d, see above, for sums last touched at `at`. Where requests are dense nothing fades within
  /// a mean latency; that is foreseen, and the pick doesn't wait for the clock. A clock that was
  /// set back does not make old news fresh.
  [[nodiscard]] float faded(Duration::rep at, Time now) const noexcept {
    auto const age = now.time_since_epoch().count() - at;
    auto const hold = hold_.load();
    if (static_cast<std::uint64_t>(age) <= static_cast<std::uint64_t>(hold)) return 1;
    auto const z = static_cast<float>(std::abs(age) - hold) * per_window_.load();
    return z <= 0 ? 1 : 1 + z + z * z / 2;
  }

 private:
  static constexpr std::uint32_t longest = 16;  // of means over 16 successes
  static constexpr float window = 200;          // means until a sum has faded to 0.4
  static constexpr float cautious = 2;          // mean latencies of an unknown backend, at most
  void store(float mean) noexcept {
    mean_.store(mean);
    per_window_.store(1 / (window * mean));
    most_kept_.store(1 - 1 / steadiness_.memory());
    unknown_.store((1 + (cautious - 1) * std::sqrt(steadiness_.share())) * mean);
    hold_.store(static_cast<Duration::rep>(mean));
  }
  sync::Relaxed<float> mean_{0};
  sync::Relaxed<float> per_window_{0};
  sync::Relaxed<float> unknown_{0};
  sync::Relaxed<float> most_kept_{0};
  sync::Relaxed<Duration::rep> hold_{0};  // the mean again, as an integer
  sync::Relaxed<std::uint32_t> samples_{0};
  sync::Relaxed<Duration::rep> at_{0};
  Steadiness steadiness_{};
};

/// What an ordinary backend costs, in the mean: how busy they all are. Only picks that explore
/// look, so it is written seldom.
class Crowd {
 public:
  void see(float cost) noexcept {
    auto const mean = mean_.load();
    mean_.store(mean + (cost - mean) / 8);
  }
  [[nodiscard]] float cost() const noexcept { return mean_.load(); }

 private:
  sync::Relaxed<float> mean_{0};
};

/// Does more than one thread pick? On a line of its own, which is written twice at most.
class alignas(64) Pickers {
 public:
  /// Notes that a thread with this lane picks. With an injected seed all have the same.
  [[nodiscard, gnu::always_inline]] bool several(sync::Lane lane) noexcept {
    auto const number = static_cast<std::uint32_t>(lane);
    auto const known = who_.load();
    if (known != many && known != number) [[unlikely]]
      who_.store(known == nobody ? number : many);
    return known == many;
  }

 private:
  static constexpr auto nobody = std::numeric_limits<std::uint32_t>::max();
  static constexpr auto many = nobody - 1;
  sync::Relaxed<std::uint32_t> who_{nobody};
};

/// A few backends and what they cost. Words {cost, slot, key}, from the top, so that all three
/// always belong together, and words compare as costs do: they are not negative, and then their
/// bits compare as they do.
template <std::size_t Size>
class alignas(64) Board {
  static_assert(Size >= 2 && Size <= 256);

 public:
  static constexpr float empty = std::numeric_limits<float>::infinity();
  static constexpr std::uint32_t key_mask = 0xff'ffff;
  // A cache line has 8 slots; a board of several lines can be looked at one by one.
  static constexpr std::size_t parts = Size >= 16 && Size % 8 == 0 ? Size / 8 : 1;
  static constexpr std::size_t part_size = Size / parts;

  /// What stands in a slot.
  class Entry {
   public:
    Entry() = default;
    Entry(float cost, std::uint32_t slot, std::uint32_t key) noexcept
        : word_{static_cast<std::uint64_t>(std::bit_cast<std::uint32_t>(cost)) << 32U |
                slot << key_bits | key} {}
    [[nodiscard]] float cost() const noexcept {
      return std::bit_cast<float>(static_cast<std::uint32_t>(word_ >> 32U));
    }
    [[nodiscard]] std::uint32_t slot() const noexcept {
      return static_cast<std::uint32_t>(word_) >> key_bits;
    }
    [[nodiscard]] std::uint32_t key() const noexcept {
      return static_cast<std::uint32_t>(word_) & key_mask;
    }

   private:
    friend Board;
    explicit Entry(std::uint64_t word) noexcept : word_{word} {}
    static constexpr unsigned key_bits = 24;
    std::uint64_t word_;
  };
  struct Survey {
    Entry first;
    Entry second;
  };

  Board() noexcept {
    for (std::uint32_t slot = 0; slot < Size; ++slot) clear(slot);
  }
  [[nodiscard]] Entry at(std::size_t slot) const noexcept { return Entry{words_[slot].load()}; }
  void set(Entry entry) noexcept { words_[entry.slot()].store(entry.word_); }
  void clear(std::uint32_t slot) noexcept { set({empty, slot, 0}); }

  /// The two best of a part. No branch depends on the costs: all would be mispredicted.
  [[nodiscard, gnu::always_inline]] Survey survey(std::size_t part) const noexcept {
    auto const* const words = words_.data() + part * part_size;
    auto first = words[0].load();
    auto second = ~std::uint64_t{0};
    for (std::size_t i = 1; i < part_size; ++i) {
      auto const each = words[i].load();
      second = lower(second, higher(first, each));
      first = lower(first, each);
    }
    return {Entry{first}, Entry{second}};
  }
  /// The two best of the other parts and of this one.
  [[nodiscard, gnu::always_inline]] Survey survey_all_but(std::size_t part,
                                                          Survey so_far) const noexcept {
    for (std::size_t i = 1; i < parts; ++i) {
      auto const other = survey((part + i) % parts);
      auto const best = so_far.first.word_;
      so_far.second.word_ =
          lower(lower(so_far.second.word_, other.second.word_), higher(best, other.first.word_));
      so_far.first.word_ = lower(best, other.first.word_);
    }
    return so_far;
  }
  [[nodiscard]] Entry worst() const noexcept {
    auto worst = words_[0].load();
    for (std::size_t i = 1; i < Size; ++i) worst = std::max(worst, words_[i].load());
    return Entry{worst};
  }

 private:
  // By value: what std::min refers to would live in memory.
  static constexpr std::uint64_t lower(std::uint64_t a, std::uint64_t b) noexcept {
    return b < a ? b : a;
  }
  static constexpr std::uint64_t higher(std::uint64_t a, std::uint64_t b) noexcept {
    return a < b ? b : a;
  }
  std::array<sync::Relaxed<std::uint64_t>, Size> words_;
};

}  // namespace detail

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
  /// known; none if that is nobody. So who has joined gets experience, and so does who was bad, when
  /// that has faded: one request in a thousand.
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
    auto const i = best.index != Candidates::none ? best.index : first_usable(candidates, context);
    begin(candidates, i, context.now);
    return i;
  }

  static std::size_t first_usable(Candidates const& candidates, Context& context) noexcept {
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
