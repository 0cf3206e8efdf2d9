// SPDX-License-Identifier: MIT
#pragma once

// How fast an error budget is spent, over two windows at once.
//
// An objective of 99.9 % leaves a budget of 0.1 % failures. A burn rate of 1 spends it in exactly
// its period (30 days). The long window says that much was spent, the short one that it goes on:
// so an alert fires only if both exceed the rate.
//
// A short window of 30 minutes, or of six hours, takes that long to forget an outage. So what came
// last is looked at, too: four minutes, or as long as it takes for ten failures to be expected at
// the rate. With less than a fifth of them the failures have ended, and the rate counts as that of
// what came last until this reaches the rate again.
//
// A failure that comes and goes would fire and end each time. So if it comes back within half an
// hour (or the short window, if that is longer) the rate counts as that of the long window, until
// the failure has stayed away for as long.
//
// Not for a few requests an hour: one failure is then a large fraction. See min_failures.
//
// Source: Google, The Site Reliability Workbook, chapter 5, table 5-8; the look at what came last,
// and at what comes back, is our own.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <poise/base/check.hpp>
#include <poise/base/saturating.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::analysis {

/// One row of the table.
struct BurnWindow {
  Duration long_window{};
  Duration short_window{};
  double rate = 0;  ///< Times the rate that spends the budget in its period.
};
/// 2 % of a month's budget in an hour; 5 % in six hours; 10 % in three days.
inline constexpr BurnWindow page_fast{std::chrono::hours{1}, std::chrono::minutes{5}, 14.4};
inline constexpr BurnWindow page_slow{std::chrono::hours{6}, std::chrono::minutes{30}, 6};
inline constexpr BurnWindow ticket{std::chrono::hours{72}, std::chrono::hours{6}, 1};

/// What a BurnRate watches.
struct BurnOptions {
  double objective = 0.999;  ///< The fraction of requests that are to succeed.
  BurnWindow window = page_fast;
  std::uint64_t min_failures = 10;   ///< In the long window; with fewer the rate counts as 0.
  std::uint64_t min_requests = 100;  ///< The same.

  /// *Errors* ConfigError.
  void check() const {
    if (!(objective > 0 && objective < 1))
      poise::detail::reject_option("objective of analysis::BurnOptions",
                                   poise::detail::in_words(objective),
                                   "use a fraction between 0 and 1, 0.999 for instance");
    poise::detail::check_positive("short_window of analysis::BurnWindow", window.short_window);
    poise::detail::check_at_least("long_window of analysis::BurnWindow", window.long_window,
                                  window.short_window, "use at least short_window");
    poise::detail::check_positive("rate of analysis::BurnWindow", window.rate);
    if (window.rate * (1 - objective) >= 1)
      poise::detail::reject_option("rate of analysis::BurnWindow",
                                   poise::detail::in_words(window.rate),
                                   "with an objective of " + poise::detail::in_words(objective) +
                                       " it is reached by no outage; use less than " +
                                       poise::detail::in_words(1 / (1 - objective)));
  }
};

/// The burn rate of a stream of requests over a long and a short window.
///
/// *Threads* one. *Cost* of add(): a look at what came last, up to 30 slots; 9 kB.
/// Reads no clock.
class BurnRate {
 public:
  /// *Errors* ConfigError.
  explicit BurnRate(BurnOptions options = {}) : options_{options} {
    options_.check();
    slot_ = std::max(options_.window.short_window / slots_in_short, Duration{1});
  }

  /// The requests since the last call. A time before that of an earlier call counts as that one's.
  void add(Time now, std::uint64_t requests, std::uint64_t failures) {
    if (slots_.empty()) first_ = now_ = now;
    now_ = std::max(now_, now);
    if (slots_.empty() || since(slots_.back().begin) >= slot_) {
      slots_.push_back({now_, 0, 0});
      forget();
    }
    count(static_cast<double>(requests), static_cast<double>(std::min(failures, requests)));
    auto const both = without_what_ended(std::min(long_rate(), short_rate()));
    note_return(both);
    rate_ = comes_back_ ? long_rate() : both;
  }

  /// Of the window that ends at the last add(). Too few requests: 0.
  [[nodiscard]] double long_rate() const noexcept {
    auto const& sums = long_.sums;
    if (sums.failures < static_cast<double>(options_.min_failures) ||
        sums.requests < static_cast<double>(options_.min_requests))
      return 0;
    // A process younger than a quarter of the window would fire at the first failures. It counts
    // as a quarter old, without failures before.
    auto const quarter = options_.window.long_window / 4;
    auto const age = std::max(since(first_), slot_);
    auto const scale = age < quarter ? ratio(quarter, age) : 1.0;
    return burn(sums.failures, sums.requests * scale);
  }
  [[nodiscard]] double short_rate() const noexcept {
    return burn(short_.sums.failures, short_.sums.requests);
  }
  /// Fires above options().window.rate: the lower of the two, or what came last if that is less and
  /// the failures have ended. The long one of a failure that comes back.
  [[nodiscard]] double rate() const noexcept { return rate_; }
  [[nodiscard]] BurnOptions const& options() const noexcept { return options_; }

 private:
  static constexpr int slots_in_short = 30;
  struct Slot {
    Time begin{};
    double requests = 0;
    double failures = 0;
  };
  /// Of the slots of a window, which begin at this index.
  struct Sums {
    Slot sums{};
    std::size_t oldest = 0;
  };

  /// From `time` to now.
  [[nodiscard]] Duration since(Time time) const noexcept {
    return poise::detail::saturating_sub(now_, time);
  }
  static double ratio(Duration one, Duration other) noexcept {
    return static_cast<double>(one.count()) / static_cast<double>(other.count());
  }
  [[nodiscard]] double burn(double failures, double requests) const noexcept {
    return requests > 0 ? failures / requests / (1 - options_.objective) : 0;
  }
  /// Adds to the last slot, and brings both windows up to date.
  void count(double requests, double failures) noexcept {
    slots_.back().requests += requests;
    slots_.back().failures += failures;
    for (auto* window : {&long_, &short_}) {
      window->sums.requests += requests;
      window->sums.failures += failures;
    }
    leave_behind(long_, options_.window.long_window);
    leave_behind(short_, options_.window.short_window);
  }
  /// Takes slots that have become too old out of the sums. They are whole numbers: exact.
  void leave_behind(Sums& window, Duration length) const noexcept {
    for (; window.oldest != slots_.size() && since(slots_[window.oldest].begin) >= length;
         ++window.oldest) {
      window.sums.requests -= slots_[window.oldest].requests;
      window.sums.failures -= slots_[window.oldest].failures;
    }
  }
  /// Of what came last; nothing if that was too little to tell.
  [[nodiscard]] std::optional<double> last_rate() const noexcept {
    constexpr Duration least = std::chrono::minutes{4};
    constexpr double expected = 10;
    auto const requests = expected / (options_.window.rate * (1 - options_.objective));
    Slot sums;
    for (auto slot = slots_.rbegin();
         slot != slots_.rend() && since(slot->begin) < options_.window.short_window; ++slot) {
      sums.requests += slot->requests;
      sums.failures += slot->failures;
      if (since(slot->begin) >= least && sums.requests >= requests)
        return burn(sums.failures, sums.requests);
    }
    return std::nullopt;
  }
  /// The rate of both windows, or of what came last once the failures have ended.
  [[nodiscard]] double without_what_ended(double both) noexcept {
    auto const last = last_rate();
    if (last && *last < options_.window.rate / 5) has_ended_ = true;
    else if (last && *last >= options_.window.rate) has_ended_ = false;
    return has_ended_ && last ? std::min(both, *last) : both;
  }
  /// Did the failure come back soon after it had ended? Then until it has stayed away.
  void note_return(double rate) noexcept {
    constexpr Duration soon = std::chrono::minutes{30};
    auto const& window = options_.window;
    auto const away = std::min(window.long_window, std::max(window.short_window, soon));
    bool const is_recent = burnt_ && since(*burnt_) < away;
    bool const burns = rate >= (burns_ ? 0.8 : 1.0) * window.rate;
    if (burns) {
      comes_back_ = is_recent && (comes_back_ || !burns_);
      burnt_ = now_;
    } else if (!is_recent) {
      comes_back_ = false;
    }
    burns_ = burns;
  }
  /// Drops what is older than the long window, many at a time.
  void forget() {
    auto const old = [this](Slot const& slot) {
      return since(slot.begin) >= options_.window.long_window;
    };
    if (slots_.size() < 64 || !old(slots_[slots_.size() / 8])) return;
    leave_behind(long_, options_.window.long_window);
    leave_behind(short_, options_.window.short_window);
    auto const first = std::ranges::find_if_not(slots_, old);
    auto const gone = static_cast<std::size_t>(first - slots_.begin());
    slots_.erase(slots_.begin(), first);
    long_.oldest -= gone;
    short_.oldest -= gone;
  }

  BurnOptions options_;
  Duration slot_{};
  std::vector<Slot> slots_;
  Sums long_{};
  Sums short_{};
  double rate_ = 0;
  bool has_ended_ = false;
  bool burns_ = false;
  bool comes_back_ = false;
  std::optional<Time> burnt_{};  // when it last burnt
  Time first_{};
  Time now_{};
};

}  // namespace poise::inline v0_1_0::analysis
