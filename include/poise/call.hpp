// SPDX-License-Identifier: MIT
#pragma once

// The options of Balancer::call and its report: which backends were tried, how each attempt ended,
// and why no further attempt was made.

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <poise/error.hpp>
#include <poise/outcome.hpp>
#include <poise/request.hpp>
#include <poise/sync/stop.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0 {

/// Why a call makes no further attempt.
enum class StopReason : std::uint8_t {
  settled,     ///< It succeeded, or failed in a way that no retry can mend.
  attempts,    ///< The allowed number of attempts was made.
  budget,      ///< Too many requests are being retried.
  deadline,    ///< The next attempt would begin after the deadline.
  sent,        ///< The request is not idempotent, and the backend may have seen it.
  pushback,    ///< The backend asked for no retry, or for a later one.
  no_backend,  ///< There is no backend to try.
  cancelled,   ///< The caller gave up.
};

inline constexpr std::size_t stop_reason_count = 8;

[[nodiscard]] constexpr std::string_view name(StopReason why) noexcept {
  constexpr std::array<std::string_view, stop_reason_count> names{"settled",
                                                                  "no attempt is left",
                                                                  "the budget is spent",
                                                                  "the deadline",
                                                                  "it can't be repeated",
                                                                  "the backend's wish",
                                                                  "no backend is left",
                                                                  "cancelled"};
  auto const index = static_cast<std::size_t>(why);
  return index < names.size() ? names[index] : "unknown reason";
}

/// One attempt of a request, finished or still running, as a policy's decide() sees it.
struct Attempt {
  Request const& request;  ///< request.attempt is the number of this attempt, from 1.
  Outcome outcome;
  Time now;
  std::uint64_t random;  ///< Uniform: a pure function can decide at random.
  bool running = false;  ///< It has no outcome yet: may a hedge be started beside it?
  bool alone = false;    ///< No untried backend is left: the next attempt repeats one.
};

/// Whether a call makes another attempt.
struct Decision {
  bool retry = false;
  Duration after{};
  StopReason why = StopReason::settled;  ///< Why not, if `retry` is false.
};

/// The timeouts of a call, fixed before its first attempt; 0: no limit.
struct CallTimeouts {
  Duration timeout{};          ///< Of the whole call, pauses included.
  Duration attempt_timeout{};  ///< Of each attempt.
  Duration hedge_after{};      ///< A second attempt is started beside the first; 0: never.

  friend bool operator==(CallTimeouts const&, CallTimeouts const&) = default;
};

/// One attempt of a call.
struct AttemptReport {
  std::string id{};  ///< The backend's.
  Outcome outcome{};
  std::optional<Duration> latency{};  ///< Empty if the clock was not read when it began.
  Duration waited{};                  ///< The pause before it.
  bool hedge = false;                 ///< It was started beside a running attempt.
  bool repeated = false;              ///< No untried backend was left.
};

/// The report of a call: its attempts in the order in which they ended.
struct CallReport {
  std::vector<AttemptReport> attempts{};
  StopReason why = StopReason::settled;  ///< Why there is no further one.
};

namespace detail {
inline sync::StopToken const no_stop{};
}  // namespace detail

/// The options of one call. Options of all calls belong to the policy (compose/retry.hpp).
struct CallOptions {
  /// Asks to stop: a pause ends at once, and no further attempt is made. Awaited calls (asio/) also
  /// cancel an attempt in progress; a blocking function must check the token itself.
  ///
  /// A reference, because g++ 12 destroys twice what a braced list inside an awaited expression
  /// owns. A token made in the list lives as long as the list. Options that are copied or returned
  /// need a token that outlives them.
  sync::StopToken const& stop = detail::no_stop;
  /// Filled when the call ends, however it does; must live until then.
  CallReport* report = nullptr;
};

/// Why call_or() asks its fallback.
struct Unanswered {
  /// NoBackend, CallStopped, or the last attempt's exception; null if its reply was a failure.
  std::exception_ptr thrown{};
  /// Of the last attempt; if there was none, that of `thrown`.
  Outcome outcome{};
};

namespace detail {

inline std::string in_milliseconds(Duration time) {
  auto text = std::to_string(std::chrono::duration<double, std::milli>{time}.count());
  return text.substr(0, text.find('.') + 3) + " ms";
}

}  // namespace detail

/// "a: refused after 0.20 ms; 12.00 ms later b: timeout after 100.01 ms"; empty if there are none.
[[nodiscard]] inline std::string message(std::vector<AttemptReport> const& attempts) {
  std::string text;
  for (auto const& each : attempts) {
    if (!text.empty()) text += "; ";
    if (each.waited > Duration::zero()) text += detail::in_milliseconds(each.waited) + " later ";
    if (each.hedge) text += "hedge ";
    text += detail::escaped(each.id) + (each.repeated ? " again: " : ": ") +
            std::string{name(each.outcome.result)};
    if (each.latency) text += " after " + detail::in_milliseconds(*each.latency);
  }
  return text;
}

/// The attempts, and why there is no further one unless that is plain.
[[nodiscard]] inline std::string message(CallReport const& report) {
  auto text = report.attempts.empty() ? "no attempt" : message(report.attempts);
  if (report.why != StopReason::settled) text += "; ended by: " + std::string{name(report.why)};
  return text;
}

/// Thrown by a call that ends without a reply or an exception of an attempt. Its code is
/// std::errc::timed_out if the deadline was in the past or a timeout cut off the last attempt, and
/// std::errc::operation_canceled if the caller gave up.
class CallStopped : public std::system_error {
 public:
  explicit CallStopped(CallReport const& report)
      : std::system_error{std::make_error_code(code_of(report.why)), message(report)},
        why_{report.why} {}
  [[nodiscard]] StopReason why() const noexcept { return why_; }

 private:
  static std::errc code_of(StopReason why) noexcept {
    return why == StopReason::cancelled ? std::errc::operation_canceled : std::errc::timed_out;
  }

  StopReason why_;
};

}  // namespace poise::inline v0_1_0
