// SPDX-License-Identifier: MIT
#pragma once

// How a request ended: a closed set, because health, retries and alarms must agree on it.
//
// Only results that the backend is to blame for count as its failures. The caller's own mistake
// (rejected), a caller that gave up (cancelled) and a dropped lease (abandoned) do not.

#include <array>
#include <cerrno>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <initializer_list>
#include <string_view>
#include <system_error>

#include <poise/time.hpp>

namespace poise::inline v0_1_0 {

/// How a request ended.
enum class Result : std::uint8_t {
  success,
  refused,          ///< The connection was refused or the host is unreachable: nothing was sent.
  connect_timeout,  ///< No connection in time: nothing was sent.
  timeout,          ///< Connected, but no answer in time.
  reset,            ///< The connection broke before the answer was complete.
  error,            ///< The backend answered that it failed (HTTP 500, an exception, ...).
  overloaded,       ///< The backend asks for less (HTTP 429 or 503, Retry-After).
  rejected,         ///< The caller's own fault (HTTP 400, a bad query); the backend is fine.
  cancelled,        ///< The caller no longer wants the answer.
  abandoned,        ///< The lease was destroyed without finish(); poise sets this itself.
};

inline constexpr std::size_t result_count = 10;

[[nodiscard]] constexpr std::string_view name(Result result) noexcept {
  constexpr std::array<std::string_view, result_count> names{
      "success", "refused",    "connect timeout", "timeout",   "reset",
      "error",   "overloaded", "rejected",        "cancelled", "abandoned"};
  auto const index = static_cast<std::size_t>(result);
  return index < names.size() ? names[index] : "unknown ending";
}

/// True if the backend is to blame.
[[nodiscard]] constexpr bool is_failure(Result result) noexcept {
  return result >= Result::refused && result <= Result::overloaded;
}

/// True if the result says anything about the backend, good or bad.
[[nodiscard]] constexpr bool is_verdict(Result result) noexcept {
  return result <= Result::overloaded;
}

/// A set of results: `failures.without(Result::error)`, `ResultSet{Result::refused}`.
class ResultSet {
 public:
  constexpr ResultSet() = default;
  constexpr ResultSet(std::initializer_list<Result> results) noexcept {
    for (auto const result : results) *this = with(result);
  }
  [[nodiscard]] constexpr bool contains(Result result) const noexcept {
    return (bits_ & bit(result)) != 0;
  }
  [[nodiscard]] constexpr ResultSet with(Result result) const noexcept {
    return ResultSet{bits_ | bit(result)};
  }
  [[nodiscard]] constexpr ResultSet without(Result result) const noexcept {
    return ResultSet{bits_ & ~bit(result)};
  }
  friend constexpr bool operator==(ResultSet, ResultSet) = default;

 private:
  explicit constexpr ResultSet(std::uint32_t bits) noexcept : bits_{bits} {}
  static constexpr std::uint32_t bit(Result result) noexcept {
    return 1U << static_cast<unsigned>(result);
  }
  std::uint32_t bits_ = 0;
};

/// All results for which is_failure() is true.
inline constexpr ResultSet failures{Result::refused, Result::connect_timeout, Result::timeout,
                                    Result::reset,   Result::error,           Result::overloaded};

/// As an Outcome's retry_after, "do not retry"; any time below 0 says so.
inline constexpr Duration do_not_retry{-1};

/// A result, whether the request may have reached the backend, and how long the backend asked to
/// be spared.
struct Outcome {
  Result result = Result::success;
  bool sent = true;  ///< False if certainly nothing was sent, so that a retry repeats nothing.
  Duration retry_after{};  ///< What the backend asked for; 0: nothing; below 0: not at all.

  constexpr Outcome() = default;
  // Not explicit: in most programs the result is the whole outcome.
  constexpr Outcome(Result how) noexcept
      : result{how}, sent{how != Result::refused && how != Result::connect_timeout} {}
  constexpr Outcome(Result how, bool was_sent, Duration wanted = {}) noexcept
      : result{how}, sent{was_sent}, retry_after{wanted} {}

  friend bool operator==(Outcome const&, Outcome const&) = default;
};

// Every outcome_of below is a default; write one beside your own reply type and it is found by ADL
// (classify.hpp says what happens to replies without one).

/// An outcome stands for itself.
[[nodiscard]] constexpr Outcome outcome_of(Outcome outcome) noexcept { return outcome; }

/// True if this process or machine lacks something: file descriptors, ports, memory. Such a request
/// never left, and says nothing about the backend. Also for probes.
[[nodiscard]] inline bool is_local_failure(std::error_code error) noexcept {
  if (std::string_view{error.category().name()} == "asio.system")
    error = {error.value(), std::generic_category()};
  for (auto const code :
       {std::errc::too_many_files_open, std::errc::too_many_files_open_in_system,
        std::errc::address_not_available, std::errc::no_buffer_space, std::errc::not_enough_memory})
    if (error == code) return true;
  return false;
}

/// The outcome of an error code. Codes that do not concern a connection are Result::error.
/// A local failure is Result::cancelled with nothing sent: no verdict, and not retried.
[[nodiscard]] inline Outcome outcome_of(std::error_code error) noexcept {
  // Asio's own category for system errors compares equal to no std::errc.
  if (std::string_view{error.category().name()} == "asio.system")
    error = {error.value(), std::generic_category()};
  auto const is = [&](std::errc code) { return error == code; };
  if (!error) return Result::success;
  if (is_local_failure(error)) return {Result::cancelled, false};
  if (is(std::errc::connection_refused) || is(std::errc::host_unreachable) ||
      is(std::errc::network_unreachable) || is(std::errc::no_such_file_or_directory))
    return Result::refused;
  if (is(std::errc::timed_out)) return Result::timeout;
  if (is(std::errc::connection_reset) || is(std::errc::broken_pipe) ||
      is(std::errc::connection_aborted))
    return Result::reset;
  if (is(std::errc::operation_canceled)) return Result::cancelled;
  if (is(std::errc::invalid_argument)) return Result::rejected;
  return Result::error;
}

/// The outcome of an exception: of its code if it is a std::system_error, else Result::error.
[[nodiscard]] inline Outcome outcome_of(std::exception_ptr const& thrown) noexcept {
  try {
    std::rethrow_exception(thrown);
  } catch (std::system_error const& failure) {
    auto const outcome = outcome_of(failure.code());
    return outcome.result == Result::success ? Outcome{Result::error} : outcome;
  } catch (...) {
    return Result::error;
  }
}

/// The outcome of an HTTP status: 429 and 503 are overloaded, 504 is a timeout, other 5xx are
/// errors, other 4xx are rejected, the caller's own fault. *Source* RFC 9110.
[[nodiscard]] constexpr Outcome outcome_of_http(int status) noexcept {
  if (status == 429 || status == 503) return Result::overloaded;
  if (status == 504) return Result::timeout;
  if (status >= 500 || status < 100) return Result::error;  // below 100: no answer of HTTP
  if (status >= 400) return Result::rejected;
  return Result::success;
}

namespace detail {

/// Compiles for outcomes only, and says what to write for other arguments.
template <class T>
consteval void require_outcome() {
  static_assert(std::convertible_to<T, Outcome>,
                "this is no poise::Outcome or poise::Result: for a status of HTTP write "
                "poise::outcome_of_http(status), for a std::error_code or a reply of yours "
                "outcome_of(reply)");
}

}  // namespace detail

}  // namespace poise::inline v0_1_0
