// SPDX-License-Identifier: MIT
#pragma once

// The last events of a balancer, as lines for people: health transitions and changes of the set.
// A Meter keeps them (Reader::events); Log writes the same lines into a log of yours.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <poise/base/saturating.hpp>
#include <poise/health/journal.hpp>
#include <poise/health/phase.hpp>
#include <poise/observe/escape.hpp>
#include <poise/observer.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::observe {

/// How much a line matters.
enum class Level : std::uint8_t { info, warning, error };

/// A panic is an error; a backend that is taken out, or should have been, a warning.
[[nodiscard]] inline Level level_of(health::Transition const& transition) noexcept {
  using Note = health::Transition::Note;
  if (transition.id.empty()) return transition.cause == "panic ends" ? Level::info : Level::error;
  if (transition.note != Note::none) return Level::warning;
  return is_out(transition.to) && !is_out(transition.from) ? Level::warning : Level::info;
}

/// Backends that are all at their limits are a warning, like wrong use.
[[nodiscard]] inline Level level_of(Event const& event) noexcept {
  bool const warns = event.kind == Event::Kind::full || event.kind == Event::Kind::warning;
  return warns ? Level::warning : Level::info;
}

/// Is it a change of health that a transition tells better? What the operator declares has none.
[[nodiscard]] inline bool is_told_by_transition(Event const& event) noexcept {
  return event.kind == Event::Kind::health && !event.declared && !event.released;
}

/// "10.0.0.1:80: weight 3"
[[nodiscard]] inline std::string message(Event const& event) {
  if (event.kind == Event::Kind::policy) return "another policy";
  if (event.kind == Event::Kind::warning) return event.warning;
  if (event.kind == Event::Kind::full)
    return "no room: every backend in service is at its limit of requests in flight";
  if (event.kind == Event::Kind::room) return "room again: some backend is below its limit";
  if (event.kind == Event::Kind::empty)
    return event.id + ": drained and empty, no request is in flight any more";
  auto line = event.id + ": ";
  if (event.kind == Event::Kind::health)
    return line + (event.declared
                       ? "declared " + std::string{name(event.health)} + " by the operator"
                       : "no longer declared by the operator, " + std::string{name(event.health)} +
                             " as found");
  line += name(event.kind);
  if (event.kind == Event::Kind::weight) line += " " + std::to_string(event.weight);
  return line;
}

/// One event, as a line.
struct LogEntry {
  std::uint64_t number = 0;  ///< Counted from 1.
  Time at{};                 ///< By the balancer's clock; of a change of the set, when it was read.
  Level level = Level::info;
  std::string id{};          ///< The backend's, as shown_id() says; empty for what concerns all.
  std::string line{};        ///< UTF-8 without control characters, at most 500 characters.
  std::uint64_t series = 0;  ///< Not 0: it stands for those of this series before it.
};

/// Keeps the last `max` entries. *Threads* any.
class EventLog {
 public:
  static constexpr std::size_t max = 256;

  void add(health::Transition transition) {
    LogEntry entry{
        .at = transition.at, .level = level_of(transition), .id = shown_id(transition.id)};
    transition.id = shortened(entry.id, longest_id);
    std::scoped_lock const lock{mutex_};
    add(std::move(entry), message(transition), true);
  }
  /// It has no time: the next reading's is taken. Left out are changes of health that a transition
  /// tells better, and of weights, because some change every second.
  void add(Event event) {
    if (is_told_by_transition(event) || event.kind == Event::Kind::weight) return;
    LogEntry entry{.level = level_of(event), .id = shown_id(event.id)};
    event.id = shortened(entry.id, longest_id);
    std::scoped_lock const lock{mutex_};
    entry.series = series_of(event.kind);
    add(std::move(entry), message(event), false);
  }
  /// Those with a higher number, the oldest first.
  [[nodiscard]] std::vector<LogEntry> after(std::uint64_t number, Time now) {
    std::scoped_lock const lock{mutex_};
    std::vector<LogEntry> result;
    for (auto& kept : entries_) {
      if (!kept.dated) date(kept, now);
      if (kept.entry.number > number) result.push_back(kept.entry);
    }
    read_at_ = now;
    return result;
  }

 private:
  struct Kept {
    LogEntry entry;
    bool dated;
    std::uint64_t times = 1;      // that it came in its series
    std::optional<Time> first{};  // of its series
    std::uint64_t episode = 0;    // as of episodes_
  };

  static void date(Kept& kept, Time now) {
    kept.entry.at = now;
    kept.dated = true;
    if (!kept.first) kept.first = now;
    if (kept.times == 1) return;
    auto const took = poise::detail::saturating_sub(now, *kept.first);
    kept.entry.line +=
        " (" + std::to_string(kept.times) + " times in " +
        std::to_string(std::chrono::duration_cast<std::chrono::seconds>(took).count()) + " s)";
  }

  /// What came before something that has a time is not later.
  void date_until(Time then) {
    for (auto kept = entries_.rbegin(); kept != entries_.rend() && !kept->dated; ++kept)
      date(*kept, then);
  }

  /// Limits that are touched again and again are summed up in two lines, unless a minute was quiet:
  /// then they are another episode. Lines of what comes and goes have `max_changes` places.
  [[nodiscard]] std::uint64_t series_of(Event::Kind kind) {
    if (kind == Event::Kind::added || kind == Event::Kind::removed)
      return 1 + changes_++ % max_changes;
    if (kind != Event::Kind::full && kind != Event::Kind::room) return 0;
    constexpr std::chrono::minutes quiet{1};
    if (poise::detail::saturating_sub(read_at_, limit_at_) > quiet) ++episodes_;
    limit_at_ = read_at_;
    auto const first = max_changes + 1 + 2 * (episodes_ % max_episodes);
    return kind == Event::Kind::full ? first : first + 1;
  }

  /// *Requires* the lock.
  void add(LogEntry entry, std::string const& line, bool dated) {
    constexpr std::size_t longest = 500;  // characters
    entry.line = as_cell(line, longest);
    entry.number = ++last_;
    if (dated) date_until(std::max(entry.at, read_at_));
    Kept kept{.entry = std::move(entry), .dated = dated, .episode = episodes_};
    if (kept.entry.series != 0) replace_by(kept);
    entries_.push_back(std::move(kept));
    if (entries_.size() > max) entries_.pop_front();
  }
  void replace_by(Kept& kept) {
    auto const same = [&](Kept const& each) { return each.entry.series == kept.entry.series; };
    auto const found = std::ranges::find_if(entries_, same);
    if (found == entries_.end()) return;
    if (kept.entry.series > max_changes && found->episode == episodes_) {
      kept.times = found->times + 1;
      kept.first = found->first;
    }
    entries_.erase(found);
  }

  static constexpr std::size_t longest_id = 200;  // characters
  static constexpr std::uint64_t max_changes = 40;
  static constexpr std::uint64_t max_episodes = 10;

  std::mutex mutex_;
  std::deque<Kept> entries_{};
  std::uint64_t last_ = 0;
  std::uint64_t changes_ = 0;   // of the set
  std::uint64_t episodes_ = 0;  // of touched limits
  Time read_at_{};              // by the last reading
  Time limit_at_{};             // when a limit was touched last, by the reading before
};

}  // namespace poise::inline v0_1_0::observe
