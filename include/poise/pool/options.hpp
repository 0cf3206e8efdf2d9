// SPDX-License-Identifier: MIT
#pragma once

// The options of a pool, its numbers, and the error when it has no connection to give.

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <ctime>

#include <poise/base/check.hpp>
#include <poise/error.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::pool {

/// The system's monotonic clock as of its last tick: 1 to 10 ms old. *Cost* 5 ns a read, where a
/// precise one costs 20 to 60. A pool reads it twice per use of a connection.
struct CoarseClock {
  [[nodiscard]] Time now() const noexcept {
    timespec time{};
    static_cast<void>(::clock_gettime(CLOCK_MONOTONIC_COARSE, &time));
    return Time{std::chrono::seconds{time.tv_sec} + std::chrono::nanoseconds{time.tv_nsec}};
  }
};

/// How many connections a pool has, and for how long.
struct Options {
  /// At most so many connections to the backend at once: idle, in use, and being opened.
  std::size_t max = 10;
  /// tick() opens connections until so many are open, and closes idle ones that are more.
  std::size_t idle = 0;
  /// A connection that is idle for so long is closed by tick(), unless `idle` keeps it.
  Duration idle_timeout = std::chrono::minutes{10};
  /// A connection is closed at this age, once it is not in use.
  Duration lifetime = std::chrono::minutes{30};
  /// Each connection's lifetime is shorter by a random part of this fraction, so that connections
  /// that were opened together are not closed together.
  double jitter = 0.2;
  /// A connection that was idle for so long is checked before it is handed out; 0: each time.
  Duration check_after = std::chrono::seconds{1};
  /// How long acquire() waits for a connection, unless the call says otherwise.
  Duration wait = std::chrono::seconds{1};
  /// At most so many callers wait at once; a further one fails.
  std::size_t max_waiting = 1024;
  /// After a failed attempt to connect there is none for so long, and twice as long after each
  /// further failure, up to `max_backoff`. Half of each pause is random.
  Duration backoff = std::chrono::milliseconds{100};
  Duration max_backoff = std::chrono::seconds{10};
  /// leaks() reports a connection that is in use for so long.
  Duration leak_after = std::chrono::minutes{1};
};

/// Why a pool gave no connection.
enum class Refusal : std::uint8_t {
  none,
  timeout,      ///< None became free in time.
  stopped,      ///< The caller's stop token said so.
  unreachable,  ///< The backend refuses connections, and the next attempt is not due yet.
  queue_full,   ///< Too many callers wait already.
  ejected,      ///< The backend was ejected meanwhile.
};

[[nodiscard]] constexpr std::string_view name(Refusal refusal) noexcept {
  constexpr std::array<std::string_view, 6> names{"none",
                                                  "no connection became free in time",
                                                  "the caller gave up",
                                                  "the backend refuses connections",
                                                  "too many callers wait for a connection already",
                                                  "the backend was ejected"};
  auto const index = static_cast<std::size_t>(refusal);
  return index < names.size() ? names[index] : "unknown reason";
}

/// Thrown by acquire(). Its code makes it an Outcome that says nothing about the backend
/// (Result::cancelled), except for `unreachable` (Result::refused). What opening a connection
/// throws is thrown as it is.
class NoConnection : public std::system_error {
 public:
  explicit NoConnection(Refusal why, std::string const& detail = {})
      : std::system_error{std::make_error_code(why == Refusal::unreachable
                                                   ? std::errc::connection_refused
                                                   : std::errc::operation_canceled),
                          std::string{name(why)} + detail},
        why_{why} {}
  [[nodiscard]] Refusal why() const noexcept { return why_; }

 private:
  Refusal why_;
};

/// Why a connection was closed.
enum class Closing : std::uint8_t {
  lifetime,   ///< It was as old as Options::lifetime allows.
  unused,     ///< It was idle for Options::idle_timeout.
  dead,       ///< A check found it dead before a caller got it.
  discarded,  ///< Its caller had it closed: an error, or an answer that was not read.
  unclean,    ///< Driver::reset failed.
  ejected,    ///< Its backend was ejected.
  drained,    ///< Its backend was drained or removed.
};
inline constexpr std::size_t closing_count = 7;

[[nodiscard]] constexpr std::string_view name(Closing closing) noexcept {
  constexpr std::array<std::string_view, closing_count> names{
      "lifetime", "unused", "dead", "discarded", "unclean", "ejected", "drained"};
  auto const index = static_cast<std::size_t>(closing);
  return index < names.size() ? names[index] : "unknown";
}

/// The numbers of a pool, all of one moment. The second part only grows.
struct Numbers {
  std::size_t idle = 0;
  std::size_t in_use = 0;  ///< Handed out, or about to be closed.
  std::size_t opening = 0;
  std::size_t waiting = 0;

  std::uint64_t acquired = 0;
  std::uint64_t waited = 0;   ///< Callers that had to wait, with or without success.
  Duration wait_time{};       ///< What those waited that wait no longer, together. Real time.
  std::uint64_t refused = 0;  ///< Callers that got a Refusal.
  std::uint64_t opened = 0;
  std::uint64_t not_opened = 0;                       ///< Attempts to connect that failed.
  std::array<std::uint64_t, closing_count> closed{};  ///< By Closing.

  [[nodiscard]] std::size_t size() const noexcept { return idle + in_use + opening; }
  [[nodiscard]] std::uint64_t closed_by(Closing why) const noexcept {
    return closed[static_cast<std::size_t>(why)];
  }
  [[nodiscard]] std::uint64_t all_closed() const noexcept {
    return std::accumulate(closed.begin(), closed.end(), std::uint64_t{0});
  }
  /// The numbers of two pools together.
  Numbers& operator+=(Numbers const& other) noexcept {
    idle += other.idle;
    in_use += other.in_use;
    opening += other.opening;
    waiting += other.waiting;
    acquired += other.acquired;
    waited += other.waited;
    wait_time += other.wait_time;
    refused += other.refused;
    opened += other.opened;
    not_opened += other.not_opened;
    for (std::size_t i = 0; i < closing_count; ++i) closed[i] += other.closed[i];
    return *this;
  }
};

/// Where acquire() was called.
struct Place {
  char const* file = "";
  int line = 0;
  /// Of a default argument: where the function is called. (clang 14 has no std::source_location.)
  static constexpr Place here(char const* file = __builtin_FILE(),
                              int line = __builtin_LINE()) noexcept {
    return {file, line};
  }
};

/// A connection that is in use for longer than Options::leak_after.
struct Leak {
  Duration held{};
  Place where{};
};

/// The report for people: "held for 75 s, acquired at main.cpp:12".
[[nodiscard]] inline std::string message(Leak const& leak) {
  return "held for " + detail::in_words(leak.held) + ", acquired at " +
         std::string{leak.where.file} + ':' + std::to_string(leak.where.line);
}

}  // namespace poise::inline v0_1_0::pool

namespace poise::inline v0_1_0::detail {

inline void check(pool::Options const& options) {
  check_at_least_one("max of pool::Options", options.max);
  if (options.idle > options.max)
    reject_option("idle of pool::Options", in_words(std::uint64_t{options.idle}),
                  "use at most max, which is " + in_words(std::uint64_t{options.max}));
  check_positive("idle_timeout of pool::Options", options.idle_timeout);
  check_positive("lifetime of pool::Options", options.lifetime);
  check_fraction("jitter of pool::Options", options.jitter);
  check_not_negative("check_after of pool::Options", options.check_after,
                     "use 0 to check each time, or a duration");
  check_positive("wait of pool::Options", options.wait);
  check_positive("backoff of pool::Options", options.backoff);
  check_at_least("max_backoff of pool::Options", options.max_backoff, options.backoff,
                 "use at least backoff");
  check_positive("leak_after of pool::Options", options.leak_after);
}

}  // namespace poise::inline v0_1_0::detail
