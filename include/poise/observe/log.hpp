// SPDX-License-Identifier: MIT
#pragma once

// Writes what happens to a balancer's backends into your log, a few lines a second at most.
//
//   poise::Runtime<poise::CycleClock, poise::health::Standard, poise::observe::Log<>>{
//       .observers = {poise::health::Standard{}, {[](auto level, auto const& line) { ... }}}}
//
// When 300 backends flap, the log gets ten lines a second and how many were left out. With
// LogOptions::json each line is an object of JSON (log_json.hpp), for programs that read logs.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include <poise/base/saturating.hpp>
#include <poise/call.hpp>
#include <poise/health/journal.hpp>
#include <poise/observe/escape.hpp>
#include <poise/observe/event_log.hpp>
#include <poise/observe/log_json.hpp>
#include <poise/observer.hpp>
#include <poise/outcome.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::observe {

/// Which lines are written, and how many.
struct LogOptions {
  std::uint32_t lines_per_second = 10;  ///< Not counting the one that says what was left out.
  Level least = Level::info;            ///< Lines below it are not written.
  bool calls = false;                   ///< Also calls that failed or needed several attempts.
  bool json = false;                    ///< Objects instead of sentences.
};

/// A handle: copies share the limit. *Threads* any; the sink is called by one at a time, and must
/// not change the balancer.
template <class Clock = SteadyClock>
class Log {
 public:
  using Sink = std::function<void(Level, std::string const& line)>;

  Log() = default;
  // NOLINTNEXTLINE(*-explicit-*): the sink stands for it in a list of observers
  Log(Sink sink, LogOptions options = {}, Clock clock = {})
      : shared_{std::make_shared<Shared>(std::move(sink), options, std::move(clock))} {}

  // -- hooks -------------------------------------------------------------------------------------

  void on_transition(health::Transition const& transition) const {
    write(level_of(transition),
          [&](bool json) { return json ? log_json(transition) : message(transition); });
  }
  void on_event(Event const& event) const {
    if (is_told_by_transition(event)) return;
    write(level_of(event),
          [&](bool json) { return json ? log_json(event, WallClock::now()) : message(event); });
  }
  void on_call(Called const& called) const {
    if (!shared_ || !shared_->options.calls) return;
    auto const& attempts = called.report.attempts;
    bool const failed = attempts.empty() || is_failure(attempts.back().outcome.result);
    auto const level = failed ? Level::warning : Level::info;
    write(level, [&](bool json) {
      return json ? log_json(called.report, level, WallClock::now()) : message(called.report);
    });
  }
  /// Says what was left out, also if nothing happens any more.
  void after_tick() const {
    if (!shared_) return;
    std::scoped_lock const lock{shared_->mutex};
    shared_->begin_second();
  }

 private:
  using WallClock = std::chrono::system_clock;

  struct Shared {
    Shared(Sink with, LogOptions which, Clock from)
        : sink{std::move(with)}, options{which}, clock{std::move(from)} {}

    /// *Requires* the lock.
    void begin_second() {
      auto const now = clock.now();
      if (began && now >= *began &&
          poise::detail::saturating_sub(now, *began) < std::chrono::seconds{1})
        return;
      began = now;
      written = 0;
      if (auto const count = std::exchange(left_out, 0); count != 0)
        sink(Level::warning, options.json ? log_json_left_out(count, WallClock::now())
                                          : std::to_string(count) + " more lines were left out");
    }

    std::mutex mutex{};
    Sink const sink;
    LogOptions const options;
    Clock clock;
    std::optional<Time> began{};
    std::uint32_t written = 0;
    std::uint64_t left_out = 0;
  };

  /// The line is made only if it is written.
  template <class Line>
  void write(Level level, Line const& line) const {
    if (!shared_ || level < shared_->options.least) return;
    std::scoped_lock const lock{shared_->mutex};
    shared_->begin_second();
    if (shared_->written == shared_->options.lines_per_second) {
      ++shared_->left_out;
      return;
    }
    ++shared_->written;
    bool const json = shared_->options.json;
    auto text = line(json);
    shared_->sink(level, json ? std::move(text) : as_cell(text, detail::longest_text));
  }

  std::shared_ptr<Shared> shared_{};
};

}  // namespace poise::inline v0_1_0::observe
