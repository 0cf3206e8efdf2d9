// SPDX-License-Identifier: MIT
#pragma once

// The last events of a balancer, as lines for people: health transitions and changes of the set.
// A Meter keeps them (Reader::events); Log writes the same lines into a log of yours.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

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

/// "10.0.0.1:80: weight 3"
[[nodiscard]] inline std::string message(Event const& event) {
  if (event.kind == Event::Kind::policy) return "another policy";
  if (event.kind == Event::Kind::warning) return event.warning;
  if (event.kind == Event::Kind::full)
    return "no room: every backend in service is at its limit of requests in flight";
  if (event.kind == Event::Kind::room) return "room again: some backend is below its limit";
  if (event.kind == Event::Kind::empty)
    return event.id + ": drained and empty, no request is in flight any more";
  auto line = event.id + ": " + std::string{name(event.kind)};
  if (event.kind == Event::Kind::weight) line += " " + std::to_string(event.weight);
  return line;
}

/// One event, as a line.
struct LogEntry {
  std::uint64_t number = 0;  ///< Counted from 1.
  Time at{};                 ///< By the balancer's clock; of a change of the set, when it was read.
  Level level = Level::info;
  std::string id{};    ///< The backend's; empty for what concerns all.
  std::string line{};  ///< UTF-8 without control characters, at most 500 characters.
};

/// Keeps the last `max` entries. *Threads* any.
class EventLog {
 public:
  static constexpr std::size_t max = 256;

  void add(health::Transition const& transition) {
    add({.at = transition.at, .level = level_of(transition), .id = transition.id},
        message(transition), true);
  }
  /// It has no time: the next reading's is taken. Left out are changes of health, because their
  /// transition says more, and of weights, because some change every second.
  void add(Event const& event) {
    if (event.kind == Event::Kind::health || event.kind == Event::Kind::weight) return;
    add({.level = level_of(event), .id = event.id}, message(event), false);
  }
  /// Those with a higher number, the oldest first.
  [[nodiscard]] std::vector<LogEntry> after(std::uint64_t number, Time now) {
    std::scoped_lock const lock{mutex_};
    std::vector<LogEntry> result;
    for (auto& [entry, dated] : entries_) {
      if (!std::exchange(dated, true)) entry.at = now;
      if (entry.number > number) result.push_back(entry);
    }
    return result;
  }

 private:
  struct Kept {
    LogEntry entry;
    bool dated;
  };

  void add(LogEntry entry, std::string const& line, bool dated) {
    constexpr std::size_t longest = 500;  // characters; ids may be anything
    entry.line = as_cell(line, longest);
    std::scoped_lock const lock{mutex_};
    entry.number = ++last_;
    entries_.push_back({std::move(entry), dated});
    if (entries_.size() > max) entries_.pop_front();
  }

  std::mutex mutex_;
  std::deque<Kept> entries_{};
  std::uint64_t last_ = 0;
};

}  // namespace poise::inline v0_1_0::observe
