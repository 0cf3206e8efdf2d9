// SPDX-License-Identifier: MIT
#pragma once

// What the live page (page.hpp) is told: server-sent events, first all there is, then what changed.
//
//   auto const feed = std::make_shared<poise::observe::Feed>(metrics);
//   handler.every(poise::observe::Feed::period, [feed] { feed->advance(); });
//   handler.add("/events", [feed](auto const&) { return poise::observe::event_stream(feed); });
//
// One reading a second serves all viewers: they get the same text. A viewer that missed one, since
// it reads slowly, gets all there is again, so nothing is queued for it. Of the last 15 minutes the
// numbers of the balancer are kept in steps of 3 s, and of each backend its rate, p50 and p99.
//
// Events: `full` has everything, `set` everything but the past, `tick` only what changed. The data
// is JSON in one line; a row of a backend is an array, see Row::encode(). Times are seconds by the
// balancer's clock, latencies microseconds, rates per second.

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/backend.hpp>
#include <poise/base/saturating.hpp>
#include <poise/health/phase.hpp>
#include <poise/observe/escape.hpp>
#include <poise/observe/event_log.hpp>
#include <poise/observe/handler.hpp>
#include <poise/observe/json.hpp>
#include <poise/observe/prometheus.hpp>
#include <poise/observe/reader.hpp>
#include <poise/observe/snapshot.hpp>
#include <poise/outcome.hpp>
#include <poise/random.hpp>
#include <poise/sync/in_flight.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::observe {

/// Something that the page shows above all else, such as an alert that fires.
struct Notice {
  Level level = Level::warning;
  std::string text{};
  std::string balancer{};       ///< Which one it is about; empty: the process.
  std::optional<Time> since{};  ///< By that balancer's clock.
  bool operator==(Notice const&) const = default;
};

/// What a feed tells beside the readers' numbers.
struct FeedOptions {
  /// Called once a second, by the thread that advances the feed, with what it has just read of each
  /// balancer. analysis::alert_notices() is one that has the default alerts.
  std::function<std::vector<Notice>(std::span<Snapshot const>)> notices{};
};

namespace detail {

/// Three digits that matter, so that noise does not count as a change.
[[nodiscard]] inline double rounded(double value) noexcept {
  double const step = value < 1 ? 1000 : value < 10 ? 100 : value < 100 ? 10 : 1;
  return std::round(value * step) / step;
}

/// Events per second, of about the last three seconds; 0 if there was none in five.
class Rate {
 public:
  void update(std::uint64_t count, double seconds) noexcept {
    if (counted_ && seconds > 0) {
      auto const current = static_cast<double>(count - before_) / seconds;
      per_second_ +=
          started_ ? (current - per_second_) * (1 - std::exp(-seconds / memory_s)) : current;
      started_ = true;
      quiet_s_ = count == before_ ? quiet_s_ + seconds : 0;
      if (quiet_s_ >= forgotten_after_s) per_second_ = 0;  // else many fade away for a minute
    }
    counted_ = true;
    before_ = count;
  }
  [[nodiscard]] double value() const noexcept { return per_second_ < 0.0005 ? 0 : per_second_; }

 private:
  static constexpr double memory_s = 3;
  static constexpr double forgotten_after_s = 5;
  std::uint64_t before_ = 0;
  double per_second_ = 0;
  double quiet_s_ = 0;
  bool counted_ = false;
  bool started_ = false;
};

/// Rates of requests by result.
class RequestRates {
 public:
  void update(Requests const& requests, double seconds) noexcept {
    for (std::size_t i = 0; i < result_count; ++i) rates_[i].update(requests.completed[i], seconds);
  }
  [[nodiscard]] double all() const noexcept {
    double sum = 0;
    for (auto const& rate : rates_) sum += rate.value();
    return sum;
  }
  [[nodiscard]] double failures() const noexcept {
    double sum = 0;
    for (std::size_t i = 0; i < result_count; ++i)
      if (is_failure(static_cast<Result>(i))) sum += rates_[i].value();
    return sum;
  }
  /// {"timeout": 1.2}: those that are not 0.
  void encode_causes(JsonWriter& json, std::string_view key) const {
    json.object(key, [&] {
      for (std::size_t i = 0; i < result_count; ++i)
        if (is_failure(static_cast<Result>(i)) && rates_[i].value() > 0)
          json.number(name(static_cast<Result>(i)), rounded(rates_[i].value()));
    });
  }

 private:
  std::array<Rate, result_count> rates_{};
};

[[nodiscard]] inline double in_us(std::optional<Duration> time) noexcept {
  if (!time) return std::numeric_limits<double>::quiet_NaN();
  return rounded(static_cast<double>(time->count()) / 1e3);
}

/// One backend of the page.
class Row {
 public:
  explicit Row(std::uint64_t slot) : slot_{slot} {}

  /// Takes a reading. True if it was moved, or was given another address, zone or tier.
  bool update(BackendSnapshot const& now, std::size_t place, double seconds, bool is_gone) {
    note_outage(now);
    if (is_gone) rates_ = {};
    else rates_.update(now.requests, seconds);
    recent_ = {in_us(now.latency.recent.p50), in_us(now.latency.recent.p99)};
    auto const state = is_gone ? State::gone : state_code(now);
    if (state != state_ || now.transition != transition_) urgent_ = true;
    state_ = state;
    transition_ = now.transition;
    encode(now);
    JsonWriter json;
    json.array("", [&] {
      json.count("", slot_);
      auto const id = shown_id(now.id);
      json.text("", id);
      json.text("", shown_id(now.address));
      json.text("", shown_id(now.zone));
      json.count("", now.tier);
      if (id != now.id) json.text("", percent_encoded(now.id));
    });
    auto name = json.take();
    bool const moved = place != place_ || name != name_;
    place_ = place;
    name_ = std::move(name);
    return moved;
  }

  [[nodiscard]] std::string const& name() const noexcept { return name_; }
  [[nodiscard]] std::string const& text() const noexcept { return text_; }
  [[nodiscard]] bool changed() const noexcept { return text_ != sent_; }
  [[nodiscard]] bool urgent() const noexcept { return urgent_; }
  void sent() {
    sent_ = text_;
    urgent_ = false;
  }

  void keep(std::size_t max) {
    past_.push_back({static_cast<float>(rates_.all()), static_cast<float>(recent_[0]),
                     static_cast<float>(recent_[1])});
    if (past_.size() > max) past_.pop_front();
  }
  /// [slot, [rates], [p50s], [p99s]]: every stride-th, the last one too.
  void encode_past(JsonWriter& json, std::size_t stride) const {
    auto const series = [&](std::size_t which) {
      json.array("", [&] {
        if (past_.empty()) return;
        for (std::size_t i = (past_.size() - 1) % stride; i < past_.size(); i += stride)
          json.number("", rounded(past_[i][which]));
      });
    };
    json.array("", [&] {
      json.count("", slot_);
      for (std::size_t which = 0; which < 3; ++which) series(which);
    });
  }

 private:
  /// The phase, or one of these. Unhealthy: without a phase that says so.
  struct State {
    static constexpr std::uint64_t drained = 6;
    static constexpr std::uint64_t unhealthy = 7;
    static constexpr std::uint64_t is_new = 8;
    static constexpr std::uint64_t gone = 9;
    static constexpr std::uint64_t declared = 10;  // healthy; 11 degraded, 12 unhealthy
  };
  static std::uint64_t state_code(BackendSnapshot const& now) noexcept {
    if (now.drained) return State::drained;
    if (now.declared)
      return State::declared + (now.health == HealthState::unhealthy  ? 2U
                                : now.health == HealthState::degraded ? 1U
                                                                      : 0U);
    bool const is_new = now.phase == health::Phase::slow_start && now.transition &&
                        now.transition->from == health::Phase::healthy;
    if (is_new) return State::is_new;
    if (now.phase != health::Phase::healthy) return static_cast<std::uint64_t>(now.phase);
    if (now.health == HealthState::unhealthy) return State::unhealthy;
    return static_cast<std::uint64_t>(now.health == HealthState::degraded ? health::Phase::degraded
                                                                          : health::Phase::healthy);
  }

  /// [slot, state, in flight, rate, failures, p50, p99, share, intended, weight, admitted, limit of
  /// requests in flight (0: none), why, causes]. Shares are in 1/1000 of all, `admitted` in 1/1000.
  /// The last two may be missing; why is [since, until, cause, value, limit, out since], or 0. The
  /// last one is of the first ejection, if trial requests failed since then. What the operator
  /// drained or declared has his act as its cause.
  void encode(BackendSnapshot const& now) {
    JsonWriter json;
    json.array("", [&] {
      json.count("", slot_);
      json.count("", state_);
      json.count("", now.requests.in_flight);
      json.number("", rounded(rates_.all()));
      json.number("", rounded(rates_.failures()));
      for (auto const each : recent_) json.number("", each);
      json.number("", std::round(now.observed_share * 10'000) / 10);
      json.number("", std::round(now.intended_share * 10'000) / 10);
      json.count("", now.weight);
      json.number("", std::round(now.admitted * 1000));
      json.count("", now.max_in_flight < sync::InFlight::limit ? now.max_in_flight : 0);
      bool const fails = rates_.failures() > 0;
      if (now.held_since) encode_hold(json, now.held_since->time_since_epoch());
      else if (is_explained(now)) encode_why(json);
      else if (fails) json.count("", 0);
      if (fails) rates_.encode_causes(json, "");
    });
    text_ = json.take();
  }
  [[nodiscard]] bool is_explained(BackendSnapshot const& now) const noexcept {
    return transition_ && transition_->to == now.phase && now.phase != health::Phase::healthy;
  }
  static void encode_hold(JsonWriter& json, Duration since) {
    json.array("", [&] {
      json.time("", since);
      json.time("", std::nullopt);
      json.text("", "by the operator");
      json.count("", 0);
      json.count("", 0);
      json.time("", since);
    });
  }
  void encode_why(JsonWriter& json) const {
    auto const& why = *transition_;
    auto const since = why.at.time_since_epoch();
    json.array("", [&] {
      json.time("", since);
      json.time("", why.lasts ? std::optional{poise::detail::saturating_add(since, *why.lasts)}
                              : std::nullopt);
      json.text("", as_cell(why.cause, 200));
      json.number("", why.value);
      json.number("", why.limit);
      json.time("", out_since_ ? out_since_->time_since_epoch() : since);
    });
  }
  /// An outage lasts from the first ejection until a trial request succeeds.
  void note_outage(BackendSnapshot const& now) {
    if (!is_in_outage(now.phase)) out_since_.reset();
    else if (now.transition && !(out_since_ && is_in_outage(now.transition->from)))
      out_since_ = now.transition->at;
  }
  static bool is_in_outage(health::Phase phase) noexcept {
    return health::is_out(phase) || phase == health::Phase::probation;
  }

  std::uint64_t slot_;
  std::size_t place_ = 0;
  std::uint64_t state_ = 0;
  std::shared_ptr<health::Transition const> transition_{};
  std::optional<Time> out_since_{};
  RequestRates rates_{};
  std::array<double, 2> recent_{};  // p50 and p99
  std::deque<std::array<float, 3>> past_{};
  std::string name_{};
  std::string text_{};
  std::string sent_{};
  bool urgent_ = false;
};

/// One balancer of the page.
class BalancerFeed {
 public:
  explicit BalancerFeed(std::shared_ptr<Reader const> reader) : reader_{std::move(reader)} {}

  [[nodiscard]] Snapshot read() const { return reader_->read(); }
  /// Takes a reading. True if there are other backends than before, or in another order.
  bool advance(Snapshot const& now) {
    auto const seconds =
        at_ ? static_cast<double>(poise::detail::saturating_sub(now.at, *at_).count()) / 1e9 : 0;
    at_ = now.at;
    if (now.facts.gone) rates_ = {};
    else rates_.update(now, seconds);
    bool const moved = update_rows(now, seconds);
    encode_figures(now);
    keep(now);
    return moved;
  }

  void encode_full(JsonWriter& json, bool with_past) const {
    json.raw("now", figures_);
    json.array("names", [&] { for_each_row([&](Row const& row) { json.raw("", row.name()); }); });
    json.array("rows", [&] { for_each_row([&](Row const& row) { json.raw("", row.text()); }); });
    constexpr std::size_t entries = 100;
    auto const all = reader_->events();
    encode_log(json,
               {all.end() - static_cast<std::ptrdiff_t>(std::min(all.size(), entries)), all.end()});
    if (with_past) encode_past(json);
    else encode_point(json);
  }

  /// What changed, at most about so many bytes; the rest is told by the next calls.
  void encode_changes(JsonWriter& json, std::size_t max_log) {
    json.raw("now", figures_);
    encode_point(json);
    auto entries = reader_->events(told_);
    if (entries.empty()) return;
    std::size_t size = 0;
    auto const end = std::find_if(entries.begin() + 1, entries.end(), [&](LogEntry const& each) {
      return (size += each.line.size() + 60) > max_log;
    });
    entries.erase(end, entries.end());
    told_ = entries.back().number;
    encode_log(json, entries);
  }
  /// Rows that changed, those with another state first, until the text has so many bytes.
  void encode_rows(JsonWriter& json, std::size_t max_size) {
    std::vector<Row*> changed;
    for (std::size_t i = 0; i < order_.size(); ++i) {
      auto* const row = order_[(next_ + i) % order_.size()];
      if (row->changed()) changed.push_back(row);
    }
    std::ranges::stable_sort(changed, std::greater{}, &Row::urgent);
    json.array("rows", [&] {
      for (auto* const row : changed) {
        if (json.size() + row->text().size() > max_size) {
          next_ = static_cast<std::size_t>(std::ranges::find(order_, row) - order_.begin());
          return;
        }
        json.raw("", row->text());
        row->sent();
      }
    });
  }
  void mark_sent() {
    for (auto* const row : order_) row->sent();
  }
  [[nodiscard]] std::string const& name() const noexcept { return reader_->name(); }

 private:
  struct Rates {
    RequestRates requests{};
    std::array<Rate, refusal_count> refusals{};
    Rate retries{};
    Rate hedges{};

    void update(Snapshot const& now, double seconds) noexcept {
      requests.update(now.requests, seconds);
      for (std::size_t i = 0; i < refusal_count; ++i) refusals[i].update(now.refusals[i], seconds);
      retries.update(now.retries, seconds);
      hedges.update(now.hedges, seconds);
    }
  };

  static constexpr std::size_t max_rows = 1000;
  static constexpr std::size_t max_points = 300;
  static constexpr std::chrono::seconds step{3};

  template <class Visit>
  void for_each_row(Visit const& visit) const {
    for (auto const* const row : order_) visit(*row);
  }

  bool update_rows(Snapshot const& now, double seconds) {
    bool moved = false;
    order_.clear();
    auto const listed = std::span{now.backends}.first(std::min(now.backends.size(), max_rows));
    auto const add = [&](BackendSnapshot const& backend) {
      auto& row = rows_[backend.id];
      if (!row) row = std::make_unique<Row>(++last_slot_);
      bool const is_gone = now.facts.gone.has_value();
      moved = row->update(backend, order_.size(), seconds, is_gone) || moved;
      order_.push_back(row.get());
    };
    std::ranges::for_each(listed, add);
    std::ranges::for_each(now.unlisted_ill, add);  // so that the page names them
    without_row_ = all_but(all_but(now.set, listed), now.unlisted_ill);
    if (rows_.size() == order_.size()) return moved;
    std::vector<Row const*> staying{order_.begin(), order_.end()};
    std::ranges::sort(staying);
    std::erase_if(rows_, [&](auto const& each) {
      return !std::ranges::binary_search(staying, each.second.get());
    });
    return true;
  }

  void encode_figures(Snapshot const& now) {
    JsonWriter json;
    json.object("", [&] {
      json.time("at", now.at.time_since_epoch());
      json.text("policy", now.facts.policy);
      json.time("gone", now.facts.gone ? std::optional{now.facts.gone->since.time_since_epoch()}
                                       : std::nullopt);
      json.count("requests", now.requests.all_completed());
      json.count("in_flight", now.requests.in_flight);
      json.number("rate", rounded(rates_.requests.all()));
      json.number("failures", rounded(rates_.requests.failures()));
      rates_.requests.encode_causes(json, "causes");
      json.object("refusals", [&] {
        for (std::size_t i = 0; i < refusal_count; ++i)
          if (rates_.refusals[i].value() > 0)
            json.number(observe::name(static_cast<Refusal>(i)),
                        rounded(rates_.refusals[i].value()));
      });
      json.number("retries", rounded(rates_.retries.value()));
      json.number("hedges", rounded(rates_.hedges.value()));
      json.number("p50", in_us(now.last_10s.p50));
      json.number("p90", in_us(now.last_10s.p90));
      json.number("p99", in_us(now.last_10s.p99));
      json.count("healthy", now.set.healthy);
      json.count("degraded", now.set.degraded);
      json.count("unhealthy", now.set.unhealthy);
      json.count("drained", now.set.drained);
      json.count("unlisted", now.set.all() - std::min(now.set.all(), std::uint64_t{order_.size()}));
      json.count("unlisted_unhealthy", without_row_.unhealthy);
      json.count("unlisted_degraded", without_row_.degraded);
      json.flag("panic", now.facts.panicking);
      json.flag("panic_opens", now.facts.panic_opens);
      json.flag("ticks_missing", now.facts.ticks_missing);
      json.count("observer_failures", now.facts.observer_failures);
    });
    figures_ = json.take();
  }

  /// A point of the past is [at, rate, failures, refusals, p50, p99, in flight, p90].
  void keep(Snapshot const& now) {
    point_is_new_ = !kept_at_ || now.at < *kept_at_ || now.at - *kept_at_ >= step;
    if (!point_is_new_) return;
    kept_at_ = now.at;
    double refused = 0;
    for (auto const& rate : rates_.refusals) refused += rate.value();
    JsonWriter json;
    json.array("", [&] {
      json.time("", now.at.time_since_epoch());
      json.number("", rounded(rates_.requests.all()));
      json.number("", rounded(rates_.requests.failures()));
      json.number("", rounded(refused));
      json.number("", in_us(now.last_10s.p50));
      json.number("", in_us(now.last_10s.p99));
      json.count("", now.requests.in_flight);
      json.number("", in_us(now.last_10s.p90));
    });
    points_.push_back(json.take());
    if (points_.size() > max_points) points_.pop_front();
    for (auto* const row : order_) row->keep(max_points);
  }

  void encode_point(JsonWriter& json) const {
    if (point_is_new_) json.raw("point", points_.back());
  }
  void encode_past(JsonWriter& json) const {
    json.array("points", [&] {
      for (auto const& point : points_) json.raw("", point);
    });
    constexpr std::size_t max_values = 5000;  // of each of three kinds: about 75 kB
    auto const stride = 1 + order_.size() * max_points / max_values;
    json.count("stride", stride);
    json.array("past",
               [&] { for_each_row([&](Row const& row) { row.encode_past(json, stride); }); });
  }

  /// An entry is [number, at, level, id, line], and of a series its number: it then stands for
  /// those of the series before it.
  static void encode_log(JsonWriter& json, std::vector<LogEntry> const& entries) {
    json.array("log", [&] {
      for (auto const& each : entries)
        json.array("", [&] {
          json.count("", each.number);
          json.time("", each.at.time_since_epoch());
          json.count("", static_cast<std::uint64_t>(each.level));
          json.text("", each.id);
          json.text("", each.line);
          if (each.series != 0) json.count("", each.series);
        });
    });
  }

  std::shared_ptr<Reader const> reader_;
  std::optional<Time> at_{};
  Rates rates_{};
  std::map<std::string, std::unique_ptr<Row>, std::less<>> rows_{};
  std::vector<Row*> order_{};  // as configured
  std::uint64_t last_slot_ = 0;
  BackendCounts without_row_{};
  std::size_t next_ = 0;  // the row whose turn it is, when not all fit into one event
  std::string figures_{};
  std::deque<std::string> points_{};
  std::optional<Time> kept_at_{};
  bool point_is_new_ = false;
  std::uint64_t told_ = 0;  // the last entry of the log that was told
};

}  // namespace detail

/// *Threads* any. *Cost* of a second: one reading, and about 2 us a backend; of a viewer a copy of
/// the text. Memory: 4 KiB a backend, of the first 1000 by name.
class Feed {
 public:
  static constexpr std::chrono::seconds period{1};  ///< How often to call advance().
  static constexpr std::size_t max_tick = 16'000;   ///< Bytes of a `tick`, about.

  /// *Errors* ConfigError: as Metrics::check().
  explicit Feed(Metrics const& metrics, FeedOptions options = {}) : options_{std::move(options)} {
    metrics.check();
    for (auto const& reader : metrics.readers) balancers_.emplace_back(reader);
    epoch_ = std::to_string(fresh_seed());
  }

  /// Reads the balancers, and makes the next event.
  void advance() {
    std::scoped_lock const lock{mutex_};
    read();
  }

  /// The last event that a viewer was given.
  using Seen = std::optional<std::uint64_t>;

  /// The next event for a viewer, which is brought up to date; empty if it is. Reads the balancers
  /// if advance() was never called.
  [[nodiscard]] std::string next(Seen& seen) {
    std::scoped_lock const lock{mutex_};
    if (number_ == 0) read();
    if (seen == number_) return {};
    bool const misses_one = !seen || *seen + 1 != number_;
    seen = number_;
    return misses_one ? event("full", encode_full(true)) : latest_;
  }

 private:
  void read() {
    ++number_;
    bool moved = false;
    std::vector<Snapshot> readings;
    readings.reserve(balancers_.size());
    for (auto& each : balancers_) moved = each.advance(readings.emplace_back(each.read())) || moved;
    if (options_.notices) notices_ = options_.notices(readings);
    if (moved) {
      latest_ = event("set", encode_full(false));
      for (auto& each : balancers_) each.mark_sent();
    } else {
      latest_ = event("tick", encode_tick());
    }
  }

  [[nodiscard]] std::string event(std::string_view kind, std::string const& data) const {
    return "id: " + epoch_ + '.' + std::to_string(number_) + "\nevent: " + std::string{kind} +
           "\ndata: " + data + "\n\n";
  }

  template <class Each>
  [[nodiscard]] std::string encode(Each const& each) const {
    JsonWriter json;
    json.object("", [&] {
      json.text("epoch", epoch_);
      json.count("number", number_);
      json.array("notices", [&] {
        for (auto const& notice : notices_)
          json.array("", [&] {
            json.count("", static_cast<std::uint64_t>(notice.level));
            json.text("", as_cell(notice.text, 500));
            json.text("", shown_id(notice.balancer));
            json.time(
                "", notice.since ? std::optional{notice.since->time_since_epoch()} : std::nullopt);
          });
      });
      json.array("balancers", [&] { each(json); });
    });
    return json.take();
  }
  [[nodiscard]] std::string encode_full(bool with_past) const {
    return encode([&](JsonWriter& json) {
      for (auto const& balancer : balancers_)
        json.object("", [&] {
          json.text("name", shown_id(balancer.name()));
          balancer.encode_full(json, with_past);
        });
    });
  }
  [[nodiscard]] std::string encode_tick() {
    constexpr std::size_t max_log = 4000;
    return encode([&](JsonWriter& json) {
      for (auto& balancer : balancers_)
        json.object("", [&] {
          balancer.encode_changes(json, max_log / balancers_.size());
          balancer.encode_rows(json, max_tick);
        });
    });
  }

  using JsonWriter = detail::JsonWriter;

  FeedOptions options_;
  mutable std::mutex mutex_;
  std::deque<detail::BalancerFeed> balancers_{};
  std::string epoch_{};
  std::uint64_t number_ = 0;
  std::vector<Notice> notices_{};
  std::string latest_{};
};

/// A response that tells all there is, and then what changes.
[[nodiscard]] inline HttpResponse event_stream(std::shared_ptr<Feed> const& feed) {
  Feed::Seen seen;
  auto first = feed->next(seen);
  constexpr std::chrono::milliseconds pause{250};  // how late an event may be
  return {.type = "text/event-stream; charset=utf-8",
          .body = std::move(first),
          .headers = {{"X-Accel-Buffering", "no"}},
          .stream = Stream{pause, [feed, seen]() mutable -> std::optional<std::string> {
                             return feed->next(seen);
                           }}};
}

}  // namespace poise::inline v0_1_0::observe
