// SPDX-License-Identifier: MIT
#pragma once

// When which backend is probed, and what its answers add up to. Pure: it reads no clock, opens no
// socket and starts no thread; whoever drives it does (asio/prober.hpp, health/probe_threads.hpp).
//
//   all is well      every `interval`, counted from start to start
//   one probe fails  every `doubt_interval`, until `fall` in a row say down, or one says up
//   down             doubt_interval, then twice that, and so on up to `down_interval`
//   up again         after `rise` in a row, doubt_interval apart
//
// Each wait is stretched by up to `jitter`, so that clients that started together drift apart. The
// first probes come in random order within `spread` for every hundred backends: soon, but no storm.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/error.hpp>
#include <poise/health/options.hpp>
#include <poise/health/phase.hpp>
#include <poise/random.hpp>
#include <poise/time.hpp>

namespace poise::health {

struct ProbeOptions {
  Duration interval = std::chrono::seconds{5};
  Duration timeout = std::chrono::seconds{1};
  std::uint32_t rise = 2;  ///< So many good answers in a row end a down.
  std::uint32_t fall = 3;  ///< So many bad ones make one.
  Duration doubt_interval = std::chrono::seconds{1};
  Duration down_interval = std::chrono::seconds{30};  ///< The longest wait while it is down.
  double jitter = 0.2;
  Duration spread = std::chrono::seconds{1};
};

/// What a probe found: `cause` is for people.
struct Probed {
  bool passed = false;
  std::string cause{};
};

/// Whom to probe, and where.
struct Target {
  std::string id{};
  std::string address{};
  bool in_doubt = false;  ///< Somebody else doubts it: it is asked soon.
};

/// *Threads* one at a time. *Errors* ConfigError: durations not above 0, a timeout that is not
/// below the interval, rise or fall 0, a jitter outside 0 to 1. *Cost* O(log n) per probe.
class Schedule {
 public:
  explicit Schedule(ProbeOptions const& options, std::uint64_t seed = fresh_seed())
      : options_{options}, chance_{seed} {
    check(options);
  }

  /// The set as it is now. Who stays keeps his place, unless his address is new.
  void update(std::span<Target const> targets, Time now) {
    std::set<std::string_view> wanted;
    for (auto const& target : targets) wanted.insert(target.id);
    for (auto each = entries_.begin(); each != entries_.end();)
      each = wanted.contains(each->first) ? std::next(each) : erase(each);
    auto const spread = options_.spread * static_cast<std::int64_t>(1 + targets.size() / 100);
    for (auto const& target : targets) {
      auto found = entries_.find(target.id);
      if (found != entries_.end() && found->second.address != target.address) {
        erase(found);
        found = entries_.end();
      }
      if (found == entries_.end()) {
        auto& entry = entries_[target.id];
        entry.address = target.address;
        plan(entry, target.id, now + part(spread));
      } else if (target.in_doubt && !found->second.running) {
        hurry(found->second, target.id, now + options_.doubt_interval);
      }
    }
  }

  /// When start() or expire() has something to do; nothing if there is nobody to probe.
  [[nodiscard]] std::optional<Time> next() const {
    if (queue_.empty()) return std::nullopt;
    return queue_.begin()->first;
  }

  /// A probe to be made now: answer it with finish(), with its ticket.
  struct Probe {
    std::string id;
    std::string address;
    std::uint64_t ticket;
    Time deadline;
    bool hung_before;  ///< The last one took longer than the timeout.
  };
  /// The next one that is due and pleases. Call it until it gives nothing.
  template <class Pleases>
  [[nodiscard]] std::optional<Probe> start(Time now, Pleases const& pleases) {
    for (auto each = queue_.begin(); each != queue_.end() && each->first <= now; ++each) {
      auto& entry = entries_.find(each->second)->second;
      if (entry.running || !pleases(entry.hung)) continue;
      auto const id = std::string{each->second};
      entry.running = true;
      entry.started = now;
      entry.ticket = next_ticket_++;
      plan(entry, id, now + options_.timeout);
      return Probe{id, entry.address, entry.ticket, entry.due, entry.hung};
    }
    return std::nullopt;
  }
  [[nodiscard]] std::optional<Probe> start(Time now) {
    return start(now, [](bool) { return true; });
  }

  /// What is to be reported of a backend; nothing if its answers change nothing.
  struct Report {
    std::string id;
    Signal signal;
    std::string cause;
  };

  /// Takes an answer. One that is late, or of a backend that is gone, is not for anybody.
  [[nodiscard]] std::optional<Report> finish(std::string_view id, std::uint64_t ticket,
                                             Probed const& result, Time now) {
    auto const found = entries_.find(id);
    if (found == entries_.end()) return std::nullopt;
    auto& entry = found->second;
    if (!entry.running || entry.ticket != ticket) return std::nullopt;
    entry.running = false;
    entry.hung = false;
    return conclude(found->first, entry, result, now);
  }

  /// The next probe that took too long: it failed; whoever makes it may stop.
  struct Expired {
    std::string id;
    std::uint64_t ticket;
    std::optional<Report> report;
  };
  [[nodiscard]] std::optional<Expired> expire(Time now) {
    for (auto each = queue_.begin(); each != queue_.end() && each->first <= now; ++each) {
      auto const found = entries_.find(each->second);
      auto& entry = found->second;
      if (!entry.running) continue;
      entry.running = false;
      entry.hung = true;
      return Expired{found->first, entry.ticket,
                     conclude(found->first, entry, {false, "no answer in time"}, now)};
    }
    return std::nullopt;
  }

 private:
  struct Entry {
    std::string address{};
    Time due{};  // of the next probe, or of the answer
    Time started{};
    std::uint64_t ticket = 0;
    bool running = false;
    bool hung = false;
    bool down = false;
    std::uint32_t streak = 0;  // answers in a row that speak for a change
    std::uint32_t backoff = 0;
  };
  using Entries = std::map<std::string, Entry, std::less<>>;

  std::optional<Report> conclude(std::string const& id, Entry& entry, Probed const& result,
                                 Time now) {
    auto const signal = result.passed ? pass(entry) : fail(entry);
    // Counted from the start, so that slow answers don't make probes rare.
    plan(entry, id, std::max(now, entry.started + stretched(wait(entry))));
    if (!signal) return std::nullopt;
    return Report{id, *signal, result.cause};
  }

  std::optional<Signal> pass(Entry& entry) const {
    if (!entry.down) {
      bool const was_in_doubt = std::exchange(entry.streak, 0U) != 0;
      return was_in_doubt ? std::optional{Signal::up} : std::nullopt;
    }
    if (++entry.streak < options_.rise) return std::nullopt;
    entry = {.address = std::move(entry.address), .due = entry.due, .started = entry.started};
    return Signal::up;
  }

  std::optional<Signal> fail(Entry& entry) const {
    if (entry.down) {
      entry.streak = 0;
      ++entry.backoff;
      return Signal::down;  // again: who said it must not seem silent
    }
    if (++entry.streak < options_.fall) return Signal::doubt;
    entry.down = true;
    entry.streak = 0;
    return Signal::down;
  }

  [[nodiscard]] Duration wait(Entry const& entry) const {
    if (!entry.down) return entry.streak == 0 ? options_.interval : options_.doubt_interval;
    if (entry.streak != 0) return options_.doubt_interval;
    constexpr std::uint32_t enough = 20;  // a million times
    auto const factor = std::int64_t{1} << std::min(entry.backoff, enough);
    return options_.down_interval / factor < options_.doubt_interval
               ? options_.down_interval
               : options_.doubt_interval * factor;
  }

  Duration stretched(Duration time) {
    return time + part(Duration{static_cast<Duration::rep>(static_cast<double>(time.count()) *
                                                           options_.jitter)});
  }
  /// Uniform in [0, whole).
  Duration part(Duration whole) {
    chance_ += poise::detail::wyrand_step;
    auto const unit = static_cast<double>(poise::detail::wyrand(chance_) >> 11U) * 0x1p-53;
    return Duration{static_cast<Duration::rep>(static_cast<double>(whole.count()) * unit)};
  }

  void plan(Entry& entry, std::string_view id, Time due) {
    auto const node = entries_.find(id);
    queue_.erase({entry.due, node->first});
    entry.due = due;
    queue_.insert({due, node->first});
  }
  void hurry(Entry& entry, std::string_view id, Time due) {
    if (due < entry.due) plan(entry, id, due);
  }
  Entries::iterator erase(Entries::iterator each) {
    queue_.erase({each->second.due, each->first});
    return entries_.erase(each);
  }

  static void check(ProbeOptions const& options) {
    detail::check_positive("interval of health::ProbeOptions", options.interval);
    detail::check_positive("timeout of health::ProbeOptions", options.timeout);
    if (options.timeout >= options.interval)
      detail::refuse("timeout of health::ProbeOptions", detail::text(options.timeout),
                     "it must be shorter than the interval of " + detail::text(options.interval));
    detail::check_at_least_one("rise of health::ProbeOptions", options.rise);
    detail::check_at_least_one("fall of health::ProbeOptions", options.fall);
    detail::check_positive("doubt_interval of health::ProbeOptions", options.doubt_interval);
    if (options.down_interval < options.doubt_interval)
      detail::refuse("down_interval of health::ProbeOptions", detail::text(options.down_interval),
                     "less than doubt_interval, with which it begins");
    detail::check_share("jitter of health::ProbeOptions", options.jitter);
    if (options.spread < Duration::zero())
      detail::refuse("spread of health::ProbeOptions", detail::text(options.spread),
                     "it can't be negative");
  }

  ProbeOptions options_;
  std::uint64_t chance_;
  std::uint64_t next_ticket_ = 1;
  Entries entries_;
  std::set<std::pair<Time, std::string_view>> queue_;  // views into entries_' keys
};

/// Where a driver takes its targets from and brings its reports to: a balancer with a monitor.
template <class Balancer, class Monitor>
struct Probing {
  Balancer& balancer;
  Monitor monitor;

  [[nodiscard]] std::vector<Target> targets() const {
    std::vector<Target> result;
    for (auto const& each : balancer.stats().backends)
      result.push_back({each.id, each.address, monitor.phase(each.id) == Phase::suspect});
    return result;
  }
  /// Tells the monitor. True if that should not wait for the next tick: then call tick() soon,
  /// once for all reports until then, since a thousand backends may go down together.
  [[nodiscard]] bool report(Schedule::Report const& report) const {
    monitor.report(report.id, report.signal, report.cause);
    auto const out = monitor.phase(report.id) == Phase::ejected;
    return report.signal == Signal::down ? !out : report.signal == Signal::up && out;
  }
  void tick() const { balancer.tick(); }

  /// *Errors* ConfigError: who is down would be asked so seldom that the monitor takes the prober
  /// for dead, and lets him in between two probes.
  void check(ProbeOptions const& options) const {
    using Seconds = std::chrono::duration<double>;
    auto const longest =
        Seconds{options.down_interval} * (1 + options.jitter) + Seconds{options.timeout};
    if (longest >= Seconds{monitor.probe_silence()})
      detail::refuse(
          "down_interval of health::ProbeOptions", detail::text(options.down_interval),
          "with jitter and timeout that is no less than the monitor's probe_silence of " +
              detail::text(monitor.probe_silence()) + ", after which it takes the prober for dead");
  }
};

template <class Balancer, class Monitor>
Probing(Balancer&, Monitor) -> Probing<Balancer, Monitor>;

/// The same for drivers that don't know the balancer's type.
struct AnyProbing {
  /// *Errors* ConfigError: see Probing::check.
  template <class Balancer, class Monitor>
  AnyProbing(Probing<Balancer, Monitor> const& with, ProbeOptions const& options)
      : targets{[with] { return with.targets(); }},
        report{[with](Schedule::Report const& found) { return with.report(found); }},
        tick{[with] { with.tick(); }} {
    with.check(options);
  }

  std::function<std::vector<Target>()> targets;
  std::function<bool(Schedule::Report const&)> report;
  std::function<void()> tick;
  static constexpr Duration soon = std::chrono::milliseconds{10};  ///< When tick() is due, then.
};

}  // namespace poise::health
