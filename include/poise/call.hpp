// SPDX-License-Identifier: MIT
#pragma once

// What a caller may ask of Balancer::call, and what a call tells: which backends were tried, how
// that ended, and why it went no further.

#include <array>
#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <poise/outcome.hpp>
#include <poise/policy.hpp>
#include <poise/sync/stop.hpp>
#include <poise/time.hpp>

namespace poise {

[[nodiscard]] constexpr std::string_view name(Stop why) noexcept {
  constexpr std::array<std::string_view, 8> names{"settled",
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

/// One attempt of a call.
struct Try {
  std::string id{};  ///< The backend's.
  Outcome outcome{};
  std::optional<Duration> latency{};  ///< Unless nobody read the clock when it began.
  Duration waited{};                  ///< What was waited before it.
  bool hedge = false;                 ///< It was started beside another.
  bool repeated = false;              ///< No untried backend was left.
};

/// What became of a call: its attempts in the order in which they ended.
struct CallReport {
  std::vector<Try> attempts{};
  Stop why = Stop::settled;  ///< Why there is no further one.
};

/// How one call is to run; what holds for all of them is the policy's (compose/retry.hpp).
struct CallOptions {
  /// Asks to stop: a pause ends at once, and no further attempt is made. An attempt in progress is
  /// asio/'s to end; a blocking one must look for itself.
  sync::StopToken stop{};
  /// Filled when the call ends, however it does; must live until then.
  CallReport* report = nullptr;
};

namespace detail {

inline std::string in_milliseconds(Duration time) {
  auto text = std::to_string(std::chrono::duration<double, std::milli>{time}.count());
  return text.substr(0, text.find('.') + 3) + " ms";
}

}  // namespace detail

/// "a: refused after 0.20 ms; 12.00 ms later b: timeout after 100.01 ms"; empty if there are none.
[[nodiscard]] inline std::string message(std::vector<Try> const& attempts) {
  std::string text;
  for (auto const& each : attempts) {
    if (!text.empty()) text += "; ";
    if (each.waited > Duration::zero()) text += detail::in_milliseconds(each.waited) + " later ";
    if (each.hedge) text += "hedge ";
    text += each.id + (each.repeated ? " again: " : ": ") + std::string{name(each.outcome.ending)};
    if (each.latency) text += " after " + detail::in_milliseconds(*each.latency);
  }
  return text;
}

/// The attempts, and why there is no further one unless that is plain.
[[nodiscard]] inline std::string message(CallReport const& report) {
  auto text = report.attempts.empty() ? "no attempt" : message(report.attempts);
  if (report.why != Stop::settled) text += "; ended by: " + std::string{name(report.why)};
  return text;
}

/// Thrown by a call that ends without a reply or an exception of an attempt: it was too late
/// already (code std::errc::timed_out), its last attempt was cut off by a timeout (the same), or
/// the caller gave up (std::errc::operation_canceled).
class CallStopped : public std::system_error {
 public:
  explicit CallStopped(CallReport const& report)
      : std::system_error{std::make_error_code(code_of(report.why)), message(report)},
        why_{report.why} {}
  [[nodiscard]] Stop why() const noexcept { return why_; }

 private:
  static std::errc code_of(Stop why) noexcept {
    return why == Stop::cancelled ? std::errc::operation_canceled : std::errc::timed_out;
  }

  Stop why_;
};

}  // namespace poise
