// SPDX-License-Identifier: MIT
#pragma once

// Decides when which backend is probed, and what its answers add up to. A pure value: it reads no
// clock, opens no socket and starts no thread. Its drivers do: asio/prober.hpp, probe/threads.hpp.
//
//   up               every `interval`, counted from start to start
//   one probe fails  every `doubt_interval`, until `fall` in a row say down, or one says up
//   down             doubt_interval, then as long as it is down by now, up to `interval`; after ten
//                    intervals a tenth of the outage, up to `max_down_interval`
//   up again         after `rise` in a row, doubt_interval apart
//
// Each wait is stretched by up to `jitter`, so that clients that started together drift apart. The
// first probes come in random order within `spread` for every hundred backends: soon, but no storm.
//
// An answer that comes after the timeout is a failure, whatever it says. An answer that the client
// could not ask for (Probed::inconclusive) counts neither way; it asks again after doubt_interval,
// and `fall` of them in a row are a warning.

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

#include <poise/base/check.hpp>
#include <poise/error.hpp>
#include <poise/health/phase.hpp>
#include <poise/random.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::health {

/// When backends are probed, and how many answers decide.
/// Duration::max() is "never": an interval of it probes once.
struct ProbeOptions {
  Duration interval = std::chrono::seconds{5};
  Duration timeout = std::chrono::seconds{1};
  std::uint32_t rise = 2;  ///< Good answers in a row that end a down.
  std::uint32_t fall = 3;  ///< Failures in a row that begin one.
  Duration doubt_interval = std::chrono::seconds{1};
  Duration max_down_interval = std::chrono::seconds{30};  ///< The longest wait during a down.
  double jitter = 0.2;                                    ///< A fraction of each wait.
  Duration spread = std::chrono::seconds{1};
};

/// What a probe found; `cause` is for people.
struct Probed {
  bool passed = false;
  std::string cause{};
  bool inconclusive = false;  ///< The client itself failed (no file descriptor ...): no verdict.
};

/// A backend to probe.
struct Target {
  std::string id{};
  std::string address{};
  bool in_doubt = false;  ///< Requests speak against it: it is asked soon.
};

/// What the last answers say about the time that the next one takes.
enum class Pace : std::uint8_t {
  unknown,  ///< Not asked yet.
  answers,  ///< The last one came in time.
  hangs,    ///< The last one took the whole timeout, or longer.
};

/// *Threads* one at a time. *Errors* ConfigError: durations not above 0, a timeout that is not
/// below the interval, rise or fall 0, a jitter outside 0 to 1. *Cost* O(log n) per probe.
class Schedule {
 public:
  explicit Schedule(ProbeOptions const& options, std::uint64_t seed = fresh_seed())
      : options_{options}, chance_{seed} {
    check(options);
  }

  /// Takes the set as it is now. A backend that stays keeps its place, unless its address is new.
  void update(std::span<Target const> targets, Time now) {
    std::set<std::string_view> wanted;
    for (auto const& target : targets) wanted.insert(target.id);
    for (auto each = entries_.begin(); each != entries_.end();)
      each = wanted.contains(each->first) ? std::next(each) : erase(each);
    auto const spread = times(options_.spread, static_cast<std::int64_t>(1 + targets.size() / 100));
    for (auto const& target : targets) {
      auto found = entries_.find(target.id);
      if (found != entries_.end() && found->second.address != target.address) {
        erase(found);
        found = entries_.end();
      }
      if (found == entries_.end()) {
        auto& entry = entries_[target.id];
        entry.address = target.address;
        plan(entry, target.id, after(now, part(spread)));
      } else if (target.in_doubt && !found->second.running) {
        hurry(found->second, target.id, after(now, options_.doubt_interval));
      }
    }
  }

  /// When start() or expire() has something to do; nothing if there is no backend.
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
  };
  /// The next one that is due and whose Pace `takes` accepts. Call it until it gives nothing.
  template <class Takes>
  [[nodiscard]] std::optional<Probe> start(Time now, Takes const& takes) {
    for (auto each = queue_.begin(); each != queue_.end() && each->first <= now; ++each) {
      auto& entry = entries_.find(each->second)->second;
      if (entry.running || !takes(entry.pace)) continue;
      auto const id = std::string{each->second};
      entry.running = true;
      entry.started = now;
      entry.ticket = next_ticket_++;
      plan(entry, id, after(now, options_.timeout));
      return Probe{id, entry.address, entry.ticket, entry.due};
    }
    return std::nullopt;
  }
  [[nodiscard]] std::optional<Probe> start(Time now) {
    return start(now, [](Pace) { return true; });
  }

  /// What is to be reported of a backend; nothing if its answers change nothing.
  struct Report {
    std::string id;
    Signal signal;
    std::string cause;
  };

  /// Takes an answer. A late one is a failure; one of a backend that left is dropped, and so is one
  /// that expire() has already counted.
  [[nodiscard]] std::optional<Report> finish(std::string_view id, std::uint64_t ticket,
                                             Probed const& result, Time now) {
    auto const found = entries_.find(id);
    if (found == entries_.end()) return std::nullopt;
    auto& entry = found->second;
    if (!entry.running || entry.ticket != ticket) return std::nullopt;
    if (now > entry.due) return conclude_late(found->first, entry, now);
    entry.running = false;
    if (result.inconclusive) {
      ++entry.unmade;
      entry.why_unmade = result.cause;
      plan(entry, found->first, after(now, stretched(options_.doubt_interval)));
      return std::nullopt;
    }
    // A function that keeps to its deadline gives up shortly before it.
    bool const hangs = !result.passed && now - entry.started >= options_.timeout / 10 * 9;
    entry.pace = hangs ? Pace::hangs : Pace::answers;
    return conclude(found->first, entry, result, now);
  }

  /// Which backends could not be asked the last `fall` times, and why; empty if all could.
  [[nodiscard]] std::string warning() const {
    std::size_t count = 0;
    Entries::value_type const* last = nullptr;
    for (auto const& each : entries_) {
      if (each.second.unmade < options_.fall) continue;
      ++count;
      last = &each;
    }
    if (last == nullptr) return {};
    return "no probe of " + std::to_string(count) + " of " + std::to_string(entries_.size()) +
           " backends can be made, so that only requests judge them; the last of " +
           poise::detail::in_quotes(last->first) + ": " + last->second.why_unmade;
  }

  /// The next probe that took too long: it failed, and its driver may stop it.
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
      return Expired{found->first, entry.ticket, conclude_late(found->first, entry, now)};
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
    Pace pace = Pace::unknown;
    std::optional<Time> down_since{};
    std::uint32_t streak = 0;  // answers in a row that speak for a change
    std::uint64_t unmade = 0;  // probes in a row that the client could not make
    std::string why_unmade{};
  };
  using Entries = std::map<std::string, Entry, std::less<>>;

  std::optional<Report> conclude_late(std::string const& id, Entry& entry, Time now) {
    entry.running = false;
    entry.pace = Pace::hangs;
    return conclude(id, entry, {.cause = "no answer in time"}, now);
  }

  std::optional<Report> conclude(std::string const& id, Entry& entry, Probed const& result,
                                 Time now) {
    entry.unmade = 0;
    auto const signal = result.passed ? pass(entry) : fail(entry, now);
    // Counted from the start, so that slow answers don't make probes rare.
    plan(entry, id, std::max(now, after(entry.started, stretched(wait(entry, now)))));
    if (!signal) return std::nullopt;
    return Report{id, *signal, result.cause};
  }

  std::optional<Signal> pass(Entry& entry) const {
    if (!entry.down_since) {
      bool const was_in_doubt = std::exchange(entry.streak, 0U) != 0;
      return was_in_doubt ? std::optional{Signal::up} : std::nullopt;
    }
    if (++entry.streak < options_.rise) return std::nullopt;
    entry = {.address = std::move(entry.address),
             .due = entry.due,
             .started = entry.started,
             .pace = entry.pace};
    return Signal::up;
  }

  std::optional<Signal> fail(Entry& entry, Time now) const {
    if (entry.down_since) {
      entry.streak = 0;
      return Signal::down;  // again, since the monitor takes a silent prober for dead
    }
    if (++entry.streak < options_.fall) return Signal::doubt;
    entry.down_since = now;
    entry.streak = 0;
    return Signal::down;
  }

  [[nodiscard]] Duration wait(Entry const& entry, Time now) const {
    if (!entry.down_since) return entry.streak == 0 ? options_.interval : options_.doubt_interval;
    if (entry.streak != 0) return options_.doubt_interval;
    auto const outage = now - *entry.down_since;
    auto const patience = std::max(options_.interval, outage / 10);
    return std::clamp(std::min(outage, patience), options_.doubt_interval,
                      options_.max_down_interval);
  }

  Duration stretched(Duration time) {
    auto const extra = static_cast<double>(time.count()) * options_.jitter;
    return sum(time, part(Duration{static_cast<Duration::rep>(std::min(extra, 0x1p62))}));
  }

  // "Never" is a time that sums and products do not go beyond.
  static Duration sum(Duration a, Duration b) noexcept {
    return b < Duration::max() - a ? a + b : Duration::max();
  }
  static Time after(Time now, Duration wait) noexcept {
    return wait < Time::max() - now ? now + wait : Time::max();
  }
  static Duration times(Duration time, std::int64_t factor) noexcept {
    return time < Duration::max() / factor ? time * factor : Duration::max();
  }

  /// Uniform in [0, whole).
  Duration part(Duration whole) { return poise::detail::next_part(chance_, whole); }

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
    using poise::detail::in_words;
    poise::detail::check_positive("interval of health::ProbeOptions", options.interval);
    poise::detail::check_positive("timeout of health::ProbeOptions", options.timeout);
    if (options.timeout >= options.interval)
      poise::detail::reject_option(
          "timeout of health::ProbeOptions", in_words(options.timeout),
          "it must be shorter than the interval of " + in_words(options.interval));
    poise::detail::check_at_least_one("rise of health::ProbeOptions", options.rise);
    poise::detail::check_at_least_one("fall of health::ProbeOptions", options.fall);
    poise::detail::check_positive("doubt_interval of health::ProbeOptions", options.doubt_interval);
    poise::detail::check_at_least("max_down_interval of health::ProbeOptions",
                                  options.max_down_interval, options.doubt_interval,
                                  "less than doubt_interval, with which it begins");
    poise::detail::check_fraction("jitter of health::ProbeOptions", options.jitter);
    poise::detail::check_not_negative("spread of health::ProbeOptions", options.spread,
                                      "0 probes all backends at once");
  }

  ProbeOptions options_;
  std::uint64_t chance_;
  std::uint64_t next_ticket_ = 1;
  Entries entries_;
  std::set<std::pair<Time, std::string_view>> queue_;  // views into entries_' keys
};

/// A driver's source of targets and receiver of reports: a balancer with a monitor.
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
  /// Reports to the monitor. True if that should not wait for the next tick: then call tick() after
  /// AnyProbing::soon, once for all reports until then: a thousand backends may go down together.
  [[nodiscard]] bool report(Schedule::Report const& report) const {
    monitor.report(report.id, report.signal, report.cause);
    auto const out = monitor.phase(report.id) == Phase::ejected;
    return report.signal == Signal::down ? !out : report.signal == Signal::up && out;
  }
  void tick() const { balancer.tick(); }
  void warn(std::string text) const { balancer.set_warning("probes", std::move(text)); }

  /// *Errors* ConfigError: a backend that is down would be probed so rarely that the monitor takes
  /// the prober for dead, and readmits the backend between two probes.
  void check(ProbeOptions const& options) const {
    using Seconds = std::chrono::duration<double>;
    auto const longest =
        Seconds{options.max_down_interval} * (1 + options.jitter) + Seconds{options.timeout};
    if (longest >= Seconds{monitor.probe_silence()})
      poise::detail::reject_option(
          "max_down_interval of health::ProbeOptions",
          poise::detail::in_words(options.max_down_interval),
          "with jitter and timeout that is no less than the monitor's probe_silence of " +
              poise::detail::in_words(monitor.probe_silence()) +
              ", after which it takes the prober for dead");
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
        tick{[with] { with.tick(); }},
        warn{[with](std::string text) { with.warn(std::move(text)); }} {
    with.check(options);
  }

  std::function<std::vector<Target>()> targets;
  std::function<bool(Schedule::Report const&)> report;
  std::function<void()> tick;
  std::function<void(std::string)> warn;
  static constexpr Duration soon = std::chrono::milliseconds{10};  ///< From report() to tick().
};

}  // namespace poise::inline v0_1_0::health
