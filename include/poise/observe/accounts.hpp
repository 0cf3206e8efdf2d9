// SPDX-License-Identifier: MIT
#pragma once

// The sums of a meter's reader: series that never decrease, whatever comes and goes.
//
// Every reading takes from each life what it counted since the last one. That is added to the sums
// of all, and either to a series of its own or to "other". So sums only grow:
//
//   A1  What a life counted is in the sums of all once, and in exactly one of the others.
//   A2  At most `cap` series are listed. A backend keeps its series while it is in the set, unless
//       the cap is lowered. One that gets a series later starts it at 0; what it had counted stays
//       in "other".
//   A3  The series of a backend that left, or lost it to a lower cap, is kept unlisted, and goes on
//       when the id gets it again. Of more than `remembered` of them the oldest are forgotten.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <poise/backend.hpp>
#include <poise/base/overprovision.hpp>
#include <poise/base/saturating.hpp>
#include <poise/observe/histogram.hpp>
#include <poise/observe/life.hpp>
#include <poise/observe/snapshot.hpp>
#include <poise/outcome.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::observe {

/// How a meter is read.
struct ReaderOptions {
  std::size_t cap = 100;          ///< At most so many backends by name; the rest is "other".
  std::size_t remembered = 1000;  ///< So many series of removed backends go on when they return.
  bool histograms = false;        ///< A histogram of each backend by name; 8 KiB more for each.
  /// Of keyed policies the fraction of all keys that each backend gets, BackendSnapshot::arc_share.
  /// Each reading walks through the policy's whole table: a million points for 1000 backends.
  bool arc_shares = false;
  /// What is recent: percentiles and shares of a backend are of the last half to whole window.
  Duration window = std::chrono::seconds{60};
};

namespace detail {

/// A value of the current window if that is half over, else of the last complete one.
template <class T>
class Recent {
 public:
  [[nodiscard]] T read(T const& current, Duration age, Duration window) {
    if (age >= window) last_ = current;
    return age >= window / 2 || !last_ ? current : *last_;
  }

 private:
  std::optional<T> last_{};
};

/// When the current window began. A clock that goes back begins another one.
class Window {
 public:
  explicit Window(Duration whole) : length{whole} {}
  [[nodiscard]] Duration age(Time now) {
    if (!began_ || now < *began_) began_ = now;
    return poise::detail::saturating_sub(now, *began_);
  }
  void restart(Time now) { began_ = now; }

  Duration length;

 private:
  std::optional<Time> began_{};
};

/// Percentiles of a window, from sums that only grow.
class PoolWindow {
 public:
  explicit PoolWindow(Duration length) : window_{length} {}
  [[nodiscard]] Percentiles read(BucketCounts const& all, Time now) {
    auto const age = window_.age(now);
    auto const current = all.since(begin_).percentiles(age);
    auto result = recent_.read(current, age, window_.length);
    if (age >= window_.length) {
      begin_ = all;
      window_.restart(now);
    }
    return result;
  }

 private:
  Window window_;
  BucketCounts begin_{};
  Recent<Percentiles> recent_{};
};

/// Latencies as a number and their sum.
struct Amount {
  std::uint64_t count = 0;
  double sum_ns = 0;
};

/// The sums of one backend, or of the rest.
struct Series {
  std::string id{};
  bool listed = false;
  std::uint64_t listed_at = 0;  // a sequence number
  std::size_t lives = 0;        // that count here
  Requests requests{};
  Amount settled{};                       // up to the beginning of the window
  Amount unsettled{};                     // since then
  double sum_s = 0;                       // as reported last: rounding must not let it fall
  std::optional<BucketCounts> buckets{};  // settled ones, since they were first wanted
  std::optional<BucketCounts> all_buckets{};
  Percentiles recent{};
  Recent<Percentiles> recent_percentiles{};
  Recent<double> recent_share{};
  std::uint64_t completed_before = 0;  // when the window began

  [[nodiscard]] LatencySummary latency() {
    sum_s = std::max(sum_s, (settled.sum_ns + unsettled.sum_ns) / 1e9);
    return {settled.count + unsettled.count, sum_s, recent};
  }
  void unsettle() {
    unsettled = {};
    all_buckets = buckets;
  }
  void settle() {
    buckets = all_buckets;
    settled.count += unsettled.count;
    settled.sum_ns += unsettled.sum_ns;
    unsettled = {};
  }
};

/// *Threads* one at a time.
class Accounts {
 public:
  using Lives = std::vector<std::shared_ptr<Life>>;

  void set_options(ReaderOptions options) {
    options_ = options;
    window_.length = options.window;
  }
  [[nodiscard]] ReaderOptions const& options() const noexcept { return options_; }

  /// The set or the options changed. Lives that are not in it any more are followed until they end.
  void follow(Lives const& set) {
    for (auto const& life : followed_) life->account->listed = false;
    for (auto const& life : set) {
      if (!life->account) begin(life);
      life->account->listed = true;
    }
    leaving_ = followed_.size() - set.size();  // all of the set are followed now
    for (auto& [id, series] : series_) series->listed = false;
    listed_ = 0;
    for (auto const& life : set) {
      if (life->account->series == nullptr) continue;
      if (listed_ < options_.cap) list(*life->account->series);
      else take_name(*life);
    }
    for (auto const& life : set)
      if (life->account->series == nullptr && listed_ < options_.cap) give_name(*life);
    named_.clear();
    for (auto const& life : set)
      if (life->account->series != nullptr) named_.push_back(life);
    forget_oldest();
  }

  /// Takes what the lives counted that left the set, and forgets those that ended.
  void settle(Lives const& departed) {
    for (auto const& life : departed) {
      if (!life->account) begin(life);
      life->account->listed = false;
    }
    if (departed.empty() && leaving_ == 0) return;
    leaving_ = 0;
    std::erase_if(followed_, [&](auto const& life) {
      if (life->account->listed) return false;
      if (!life->ended()) {
        ++leaving_;
        return false;
      }
      take_requests(*life);
      settle_latencies(*life);
      if (auto* series = life->account->series; series != nullptr) --series->lives;
      return true;
    });
  }

  /// Fills in what is counted by backend and for all.
  void read(Snapshot& into, Time now) {
    settle({});
    all_.in_flight = other_.requests.in_flight = 0;
    for (auto& [id, series] : series_) series->requests.in_flight = 0;
    Shares shares;
    for (auto const& life : followed_) {
      take_requests(*life);
      note_hold(*life, now);
      auto const in_flight = life->account->taken.in_flight;
      all_.in_flight += in_flight;
      series_of(*life).requests.in_flight += in_flight;
      if (life->account->listed) shares.add(*life, into.set);
      into.facts.panic_opens |= into.facts.panicking && is_opened(*life);
    }
    auto const age = window_.age(now);
    if (into.measures_latency) read_latencies(into, age, now);
    into.requests = all_;
    into.other = other_.requests;
    into.other_latency = other_.latency();
    into.unlisted = into.set.all() - named_.size();
    for (auto const& life : named_) into.backends.push_back(describe(*life, shares, age));
    if (into.unlisted > 0) describe_ill(into, shares);
    if (age >= window_.length) restart_window(now);
  }

 private:
  /// Ill, and picked all the same.
  static bool is_opened(Life const& life) noexcept {
    return life.account->listed && life.weight.load() != 0 &&
           life.account->health == HealthState::unhealthy &&
           life.health.load() == HealthState::healthy;
  }
  /// Keeps since when it is drained, or what the operator declared.
  static void note_hold(Life const& life, Time now) noexcept {
    auto& account = *life.account;
    Hold const hold{life.drained.load(),
                    account.declared ? std::optional{account.health} : std::nullopt};
    if (hold == account.hold) return;
    account.hold = hold;
    account.held_since = hold == Hold{} ? std::nullopt : std::optional{now};
  }
  static double admitted_part(Life const& life) noexcept {
    return life.account->admission.share / double{Admission{}.share};
  }

  /// What weights, health and slow start intend, as picks see them.
  struct Shares {
    double healthy = 0;
    double degraded = 0;
    std::uint64_t healthy_count = 0;
    std::uint64_t degraded_count = 0;
    std::uint64_t count = 0;

    static double weight_of(Life const& life) noexcept {
      return life.weight.load() * admitted_part(life);
    }
    void add(Life const& life, BackendCounts& set) noexcept {
      auto const found = life.account->health;
      ++(life.drained.load()               ? set.drained
         : found == HealthState::unhealthy ? set.unhealthy
         : found == HealthState::degraded  ? set.degraded
                                           : set.healthy);
      auto const health = life.health.load();
      if (life.weight.load() == 0) return;  // or drained
      ++count;
      if (health == HealthState::unhealthy) return;
      bool const is_healthy = health == HealthState::healthy;
      (is_healthy ? healthy : degraded) += weight_of(life);
      ++(is_healthy ? healthy_count : degraded_count);
    }
    [[nodiscard]] double of(Life const& life) const noexcept {
      auto const health = life.health.load();
      if (health == HealthState::unhealthy || life.weight.load() == 0) return 0;
      auto const percent = degraded_count == 0 ? 100U
                                               : poise::detail::healthy_percent(
                                                     healthy_count, degraded_count, count);
      auto const part = health == HealthState::healthy ? percent : 100 - percent;
      auto const sum = health == HealthState::healthy ? healthy : degraded;
      return sum > 0 ? weight_of(life) / sum * part / 100 : 0;
    }
  };

  // -- names -------------------------------------------------------------------------------------

  void begin(std::shared_ptr<Life> const& life) {
    life->account = std::make_unique<Account>();
    if (life->latencies() != nullptr) life->account->taken_latencies.resize(Scale::buckets);
    followed_.push_back(life);
  }
  void list(Series& series) {
    if (options_.histograms && !series.buckets) series.buckets.emplace();
    series.listed = true;
    series.listed_at = ++sequence_;
    ++listed_;
  }
  void give_name(Life& life) {
    if (life.account->counted) {  // so far it was among the others
      take_requests(life);
      settle_latencies(life);
    }
    auto& series = series_[life.id];
    if (!series) series = std::make_unique<Series>();
    series->id = life.id;
    life.account->series = series.get();
    if (series->lives++ == 0) {  // what was recent when the last one left is not recent now
      series->recent = {};
      series->recent_percentiles = {};
      series->recent_share = {};
    }
    list(*series);
  }
  /// From now on it is among the others.
  void take_name(Life& life) {
    take_requests(life);
    settle_latencies(life);
    --life.account->series->lives;
    life.account->series = nullptr;
  }
  void forget_oldest() {
    auto const unlisted = series_.size() - listed_;
    if (unlisted <= options_.remembered) return;
    std::vector<Series*> gone;
    for (auto const& [id, series] : series_)
      if (!series->listed && series->lives == 0) gone.push_back(series.get());
    std::ranges::sort(gone, {}, &Series::listed_at);
    gone.resize(std::min(gone.size(), unlisted - options_.remembered));
    for (auto const* series : gone) series_.erase(std::string{series->id});
  }
  [[nodiscard]] Series& series_of(Life& life) noexcept {
    return life.account->series == nullptr ? other_ : *life.account->series;
  }

  // -- what lives counted since the last reading -------------------------------------------------

  void take_requests(Life& life) {
    auto& taken = life.account->taken;
    auto& series = series_of(life);
    auto const [now, admission, health, declared] = life.current();
    life.account->counted = true;
    life.account->admission = admission;
    life.account->health = health;
    life.account->declared = declared;
    // No result ever falls: if their sum is the same, all of them are.
    if (now.total - now.in_flight == taken.total - taken.in_flight) {
      taken = now;
      return;
    }
    for (std::size_t i = 0; i < result_count; ++i) {
      auto const more = now.results[i] - taken.results[i];
      all_.completed[i] += more;
      series.requests.completed[i] += more;
    }
    taken = now;
  }

  /// Calls visit(bucket, count, taken) for all latencies since the last settlement.
  template <class Visit>
  static Amount visit_latencies(Life& life, Visit const& visit) {
    Amount amount;
    auto* const histogram = life.latencies();
    if (histogram == nullptr) return amount;
    auto& taken = life.account->taken_latencies;
    histogram->for_each_bucket([&](std::size_t bucket) {
      auto const more = histogram->count(bucket) - taken[bucket];  // modulo 2^32
      if (more == 0) return;
      amount.count += more;
      amount.sum_ns += more * Scale::middle(bucket);
      visit(bucket, more, taken[bucket]);
    });
    return amount;
  }
  void settle_latencies(Life& life) {
    auto& series = series_of(life);
    auto const amount = visit_latencies(life, [&](auto bucket, auto more, auto& taken) {
      latencies_.add(bucket, more);
      if (series.buckets) series.buckets->add(bucket, more);
      taken += more;
    });
    series.settled.count += amount.count;
    series.settled.sum_ns += amount.sum_ns;
  }

  void read_latencies(Snapshot& into, Duration age, Time now) {
    bool const settles = age >= window_.length;
    into.attempts = latencies_;
    for (auto& [id, series] : series_) series->unsettle();
    other_.unsettle();
    BucketCounts own;
    for (auto const& life : followed_) {
      auto& series = series_of(*life);
      bool const shown = series.listed && life->account->listed;
      if (shown) own.clear();
      auto const amount = visit_latencies(*life, [&](auto bucket, auto more, auto& taken) {
        into.attempts.add(bucket, more);
        if (shown) own.add(bucket, more);
        if (series.all_buckets) series.all_buckets->add(bucket, more);
        if (settles) taken += more;
      });
      series.unsettled.count += amount.count;
      series.unsettled.sum_ns += amount.sum_ns;
      if (shown)
        series.recent = series.recent_percentiles.read(own.percentiles(age), age, window_.length);
    }
    if (settles) latencies_ = into.attempts;
    sum_s_ = std::max(sum_s_, into.attempts.sum_s());
    into.attempts_sum_s = sum_s_;
    into.last_10s = last_10s_.read(into.attempts, now);
    into.last_60s = last_60s_.read(into.attempts, now);
  }

  // -- what is told of a backend -----------------------------------------------------------------

  /// Those of "other" that someone should look at.
  void describe_ill(Snapshot& into, Shares const& shares) const {
    constexpr std::size_t most = 20;
    for (auto const& life : followed_) {
      auto const& account = *life->account;
      bool const is_ill = account.health != HealthState::healthy && !life->drained.load();
      if (!account.listed || account.series != nullptr || !is_ill) continue;
      if (into.unlisted_ill.size() == most) return;
      into.unlisted_ill.push_back(describe(*life, shares));
      auto& requests = into.unlisted_ill.back().requests;
      requests.in_flight = account.taken.in_flight;
      std::ranges::copy(account.taken.results, requests.completed.begin());
    }
  }

  [[nodiscard]] BackendSnapshot describe(Life& life, Shares const& shares, Duration age) {
    auto told = describe(life, shares);
    auto& series = *life.account->series;
    told.requests = series.requests;
    told.latency = series.latency();
    if (options_.histograms) told.attempts = series.all_buckets;
    auto const all = all_.all_completed() - completed_before_;
    auto const own = series.requests.all_completed() - series.completed_before;
    auto const share = all == 0 ? 0 : static_cast<double>(own) / static_cast<double>(all);
    told.observed_share = series.recent_share.read(share, age, window_.length);
    return told;
  }
  /// All but what was counted.
  [[nodiscard]] static BackendSnapshot describe(Life& life, Shares const& shares) {
    BackendSnapshot told{.id = life.id,
                         .health = life.account->health,
                         .declared = life.account->declared,
                         .phase = life.phase.load(),
                         .transition = life.transition(),
                         .drained = life.drained.load(),
                         .held_since = life.account->held_since,
                         .weight = life.weight.load(),
                         .admitted = admitted_part(life),
                         .max_in_flight = life.account->admission.max_in_flight,
                         .intended_share = shares.of(life)};
    life.with_backend([&](Backend const& backend) {
      told.address = backend.address();
      told.zone = backend.zone();
      told.tier = backend.tier();
    });
    return told;
  }

  void restart_window(Time now) {
    completed_before_ = all_.all_completed();
    for (auto& [id, series] : series_) {
      series->completed_before = series->requests.all_completed();
      series->settle();
    }
    other_.settle();
    window_.restart(now);
  }

  ReaderOptions options_{};
  Window window_{options_.window};
  Lives followed_{};
  Lives named_{};  // in configured order
  std::map<std::string, std::unique_ptr<Series>, std::less<>> series_{};
  std::size_t listed_ = 0;
  std::size_t leaving_ = 0;  // of those followed, how many are not in the set
  std::uint64_t sequence_ = 0;
  Series other_{};
  Requests all_{};
  std::uint64_t completed_before_ = 0;
  BucketCounts latencies_{};  // up to the beginning of the window, and of lives that ended
  double sum_s_ = 0;
  PoolWindow last_10s_{std::chrono::seconds{10}};
  PoolWindow last_60s_{std::chrono::seconds{60}};
};

}  // namespace detail

}  // namespace poise::inline v0_1_0::observe
