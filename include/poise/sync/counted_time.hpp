// SPDX-License-Identifier: MIT
#pragma once

// Nanoseconds of a reference clock, told from a counter that is quicker to read.
//
// A line through the last looks at both says which time a count means. It holds for a second. The
// first read after that looks at both again and draws the next line. So the error stays bounded for
// ever, without a thread or a timer, for one slow read in a second.
//
// Invariants, for counts that are read in order:
//   C1  Time never goes back. A line begins at or above the end of the one before, and `lead` above
//       the reference. A read between two lines tells the reference's time, or the end of the old
//       line if that is later.
//   C2  A line that is ahead of the reference runs slower, at least half as fast, until it meets
//       the reference. One that is behind jumps.
//   C3  A count from before the line, or from after its end, is never turned into a time: the
//       reader looks. So a counter that was set (a machine that was suspended or moved) is noticed
//       by the first read.
//   C4  After `max_faults` looks in a row at which the counter ran back or had another rate it is
//       given up: each read takes the reference's time from then on.
//
// One writer at a time, the holder of the flag `looking_`, changes the line. A version, modulo 4:
//
//   stable   the line may be read
//   pending  a writer wants to change it, and the line is as before
//   storing  the line is being changed
//
// A reader's copy of the line, and a time of the reference that is taken in its place, are good if
// the version is the same before and after. A writer's look is good for `fresh`. Who sees a later
// time while the version is pending, reader or writer, calls the change off, and the line stays. So
// no time above that was told when the line is stored, but by a read that was under way, for which
// as much is added; and while the line is stored no read goes above that either. In twice `fresh`
// no error of the rate adds up to `lead`, so the new line is above (C1). No reader waits.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <limits>

namespace poise::inline v0_1_0::sync {

/// Source: `bool usable()`, `std::uint64_t count()`, and `std::int64_t reference()` in nanoseconds,
/// which never goes back. All are noexcept, and any thread calls them.
template <class Source>
class CountedTime {
 public:
  static constexpr std::int64_t first_look = 10'000'000;  // ns, to learn the rate
  static constexpr std::int64_t longest = 1'000'000'000;  // ns, of a line
  static constexpr std::int64_t lead = 100;               // ns above the reference (C1)
  static constexpr std::int64_t fresh = 100'000;          // ns, a look when its line is drawn
  static constexpr int max_faults = 3;

  constexpr CountedTime() noexcept = default;
  constexpr explicit CountedTime(Source source) noexcept : source_{source} {}
  CountedTime(CountedTime const&) = delete;
  CountedTime& operator=(CountedTime const&) = delete;

  /// Takes the first look. Does nothing after the first time. *Cost* the source's usable(), once.
  void start() noexcept {
    if (state() != State::idle || !lock()) return;
    if (state() == State::idle) {
      last_ = look();
      wait_until(last_.time + first_look);
      change(source_.usable() ? State::counting : State::given_up);
    }
    unlock();
  }

  /// The time, at most some microseconds from the reference; behind it by more only while a writer
  /// is off its processor between two stores. *Threads* any.
  [[nodiscard, gnu::always_inline]] std::int64_t now() noexcept {
    // acquire (1): who reads a part of the next line sees at his second look that it changed.
    auto const version = version_.load(std::memory_order_acquire);
    auto const begin = begin_.load(std::memory_order_acquire);
    auto const base = base_.load(std::memory_order_acquire);
    auto const rate = rate_.load(std::memory_order_acquire);
    auto const length = length_.load(std::memory_order_acquire);
    auto const passed = source_.count() - begin;
    // relaxed: see (1)
    if (passed < length && phase(version) == stable &&
        version == version_.load(std::memory_order_relaxed)) {
      return base + along(rate, passed);
    }
    return slow(version, is_before(passed) ? base : base + along(rate, length));
  }

  /// Whether the counter can't serve, so that each read takes the reference's time.
  [[nodiscard]] bool gave_up() const noexcept { return state() == State::given_up; }

 private:
  enum class State : std::uint8_t { idle, counting, given_up };
  struct Look {
    std::uint64_t count;
    std::int64_t time;
    std::uint64_t took;  // counts
  };

  static constexpr double unit = 4294967296.0;  // a rate is nanoseconds a count, times 2^32
  static constexpr double most_change = 0.002;  // network time changes a clock's rate by 0.001
  static constexpr double slowest = 1000;       // ns a count

  static std::int64_t along(std::uint64_t rate, std::uint64_t passed) noexcept {
    return static_cast<std::int64_t>((passed * rate) >> 32U);
  }
  static bool is_before(std::uint64_t passed) noexcept { return passed >> 63U != 0; }

  // What a version adds up to, modulo 4.
  static constexpr std::uint64_t stable = 0;
  static constexpr std::uint64_t pending = 1;
  static constexpr std::uint64_t storing = 2;
  static constexpr std::uint64_t next = 4;  // stable again
  static std::uint64_t phase(std::uint64_t version) noexcept { return version & 3U; }

  /// The reference's time, but at least `end`, that of the version's line (C1).
  [[gnu::noinline, gnu::cold]] std::int64_t slow(std::uint64_t version, std::int64_t end) noexcept {
    auto time = source_.reference();
    if (phase(version) == stable) {
      if (is_due(time) && state() == State::counting && lock()) {
        if (is_due(source_.reference())) draw();
        unlock();
      }
    } else {
      // relaxed: acquire (1) saw the version, and so what was stored before it
      end = end_.load(std::memory_order_relaxed);
      auto const limit = limit_.load(std::memory_order_relaxed);
      if (phase(version) == storing) {
        time = std::min(time, limit + fresh);
      } else if (time > limit) {
        call_off(version);
      }
    }
    if (version_.load(std::memory_order_acquire) != version) return now();
    return std::max(time, end);
  }

  void draw() noexcept {
    auto const passed = source_.count() - begin_.load(std::memory_order_relaxed);
    auto const length = length_.load(std::memory_order_relaxed);
    if (passed < length) return;  // another thread has drawn it
    auto const rate = rate_.load(std::memory_order_relaxed);
    auto const base = base_.load(std::memory_order_relaxed);
    auto const end = is_before(passed) ? base : base + along(rate, length);

    auto const seen = look();
    auto const counts = seen.count - last_.count;
    auto const time = static_cast<double>(seen.time - last_.time);
    wait_until(seen.time + first_look);
    if (is_inexact(seen, counts)) return;
    auto const measured = time / static_cast<double>(counts);
    bool const good = !is_fault(counts, measured);
    if (!publish(seen, end, good ? measured : 0, std::min(8 * time, double{longest}))) return;
    last_ = seen;
    if (good) {
      nominal_ = measured;
      faults_ = 0;
    } else if (++faults_ == max_faults) {
      change(State::given_up);
    }
  }

  /// Would the rate be wrong by more than 0.00025? Then a later look is better (C1).
  [[nodiscard]] bool is_inexact(Look const& seen, std::uint64_t counts) const noexcept {
    constexpr std::uint64_t exact = 4'000;
    return !is_before(counts) && counts / exact < seen.took + last_.took;
  }

  [[nodiscard]] bool is_fault(std::uint64_t counts, double measured) const noexcept {
    if (counts == 0 || is_before(counts) || measured > slowest) return true;
    return nominal_ > 0 &&
           (measured > nominal_ * (1 + most_change) || measured < nominal_ * (1 - most_change));
  }

  /// Of a few pairs, the one that took the shortest: its count is not above that of its time.
  [[nodiscard]] Look look() const noexcept {
    Look best{};
    auto shortest = std::numeric_limits<std::uint64_t>::max();
    for (int each = 0; each != 4; ++each) {
      auto const before = source_.count();
      auto const time = source_.reference();
      auto const took = source_.count() - before;
      if (each != 0 && took >= shortest) continue;
      shortest = took;
      best = {before, time, took};
    }
    return best;
  }

  /// Draws a line from `seen` on for `time`, of `nominal` ns a count; with 0, one without length.
  /// False: the look is too old, and the line is as before.
  bool publish(Look const& seen, std::int64_t end, double nominal, double time) noexcept {
    auto version = version_.load(std::memory_order_relaxed) + pending;
    end_.store(end, std::memory_order_relaxed);
    limit_.store(seen.time + fresh, std::memory_order_relaxed);
    // release (1); seq_cst: other threads see it before this one reads the reference
    version_.exchange(version, std::memory_order_seq_cst);
    if (source_.reference() > seen.time + fresh) call_off(version);
    // acquire (2): what called it off; release (1)
    if (!version_.compare_exchange_strong(version, version - pending + storing,
                                          std::memory_order_acq_rel, std::memory_order_relaxed)) {
      return false;
    }
    store_line(seen, end, nominal, time);
    version_.store(version - pending + next, std::memory_order_release);
    return true;
  }

  /// A pending change shall not be made: a time that is too late for it was seen.
  void call_off(std::uint64_t version) noexcept {
    // release (2). If it fails another thread called it off, or it is too late to.
    version_.compare_exchange_strong(version, version - pending, std::memory_order_acq_rel,
                                     std::memory_order_relaxed);
  }

  void store_line(Look const& seen, std::int64_t end, double nominal, double time) noexcept {
    if (nominal == 0) return store(seen.count, end, 0, 0);
    auto const base = std::max(end, seen.time + lead);
    auto const ahead = static_cast<double>(base - seen.time - lead);
    auto const slower = 1 - std::min(ahead / time, 0.5);  // C2
    store(seen.count, base, nominal * slower * unit, time / nominal);
  }

  void store(std::uint64_t begin, std::int64_t base, double rate, double length) noexcept {
    // release (1): who sees a part of the new line sees at his next look that it is being changed.
    begin_.store(begin, std::memory_order_release);
    base_.store(base, std::memory_order_release);
    rate_.store(static_cast<std::uint64_t>(rate), std::memory_order_release);
    length_.store(static_cast<std::uint64_t>(length), std::memory_order_release);
  }

  // relaxed: a state and a time alone; what belongs to them is read under the flag.
  [[nodiscard]] State state() const noexcept { return state_.load(std::memory_order_relaxed); }
  void change(State state) noexcept { state_.store(state, std::memory_order_relaxed); }
  [[nodiscard]] bool is_due(std::int64_t time) const noexcept {
    return time >= due_.load(std::memory_order_relaxed);
  }
  void wait_until(std::int64_t time) noexcept { due_.store(time, std::memory_order_relaxed); }

  // acquire and release (3): a writer sees what the one before wrote.
  bool lock() noexcept { return !looking_.exchange(true, std::memory_order_acquire); }
  void unlock() noexcept { looking_.store(false, std::memory_order_release); }

  // What each read needs, in one cache line.
  alignas(64) std::atomic<std::uint64_t> version_{0};
  std::atomic<std::uint64_t> begin_{0};                                       // in counts
  std::atomic<std::int64_t> base_{std::numeric_limits<std::int64_t>::min()};  // its time
  std::atomic<std::uint64_t> rate_{0};
  std::atomic<std::uint64_t> length_{0};  // in counts
  [[no_unique_address]] Source source_{};

  alignas(64) std::atomic<std::int64_t> end_{0};  // of the line, unless the version is stable
  std::atomic<std::int64_t> limit_{0};            // of the time at which it may change, likewise
  std::atomic<std::int64_t> due_{0};
  std::atomic<State> state_{State::idle};
  std::atomic<bool> looking_{false};
  // Under the flag:
  Look last_{};
  double nominal_{0};  // ns a count; 0: not known yet
  int faults_{0};
};

}  // namespace poise::inline v0_1_0::sync
