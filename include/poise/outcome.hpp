// SPDX-License-Identifier: MIT
#pragma once

// How a request ended: a closed set, because health, retries and alarms must agree on it.
//
// Only endings that speak against the backend count as its failures. A caller's own mistake
// (rejected), a caller who went away (cancelled) and a lease that was dropped (abandoned) do not.

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <initializer_list>
#include <string_view>
#include <system_error>

#include <poise/time.hpp>

namespace poise {

enum class Ending : std::uint8_t {
  success,
  refused,          ///< The connection was refused or the host is unreachable: nothing was sent.
  connect_timeout,  ///< No connection in time: nothing was sent.
  timeout,          ///< Connected, but no answer in time.
  reset,            ///< The connection broke before the answer was complete.
  error,            ///< The backend answered that it failed (HTTP 500, an exception, ...).
  overloaded,       ///< The backend asks for less (HTTP 429 or 503, Retry-After).
  rejected,         ///< The caller's own fault (HTTP 400, a bad query); the backend is fine.
  cancelled,        ///< The caller no longer wants the answer.
  abandoned,        ///< The lease was destroyed without a word; poise sets this itself.
};

inline constexpr std::size_t ending_count = 10;

[[nodiscard]] constexpr std::string_view name(Ending ending) noexcept {
  constexpr std::array<std::string_view, ending_count> names{
      "success", "refused",    "connect timeout", "timeout",   "reset",
      "error",   "overloaded", "rejected",        "cancelled", "abandoned"};
  auto const index = static_cast<std::size_t>(ending);
  return index < names.size() ? names[index] : "unknown ending";
}

/// Does this ending speak against the backend?
[[nodiscard]] constexpr bool is_failure(Ending ending) noexcept {
  return ending >= Ending::refused && ending <= Ending::overloaded;
}

/// Does it say anything about the backend at all, good or bad?
[[nodiscard]] constexpr bool is_verdict(Ending ending) noexcept {
  return ending <= Ending::overloaded;
}

/// Some of the endings: `failures.without(Ending::error)`, `EndingSet{Ending::refused}`.
class EndingSet {
 public:
  constexpr EndingSet() = default;
  constexpr EndingSet(std::initializer_list<Ending> endings) noexcept {
    for (auto const ending : endings) *this = with(ending);
  }
  [[nodiscard]] constexpr bool contains(Ending ending) const noexcept {
    return (bits_ & bit(ending)) != 0;
  }
  [[nodiscard]] constexpr EndingSet with(Ending ending) const noexcept {
    return EndingSet{bits_ | bit(ending)};
  }
  [[nodiscard]] constexpr EndingSet without(Ending ending) const noexcept {
    return EndingSet{bits_ & ~bit(ending)};
  }
  friend constexpr bool operator==(EndingSet, EndingSet) = default;

 private:
  explicit constexpr EndingSet(std::uint32_t bits) noexcept : bits_{bits} {}
  static constexpr std::uint32_t bit(Ending ending) noexcept {
    return 1U << static_cast<unsigned>(ending);
  }
  std::uint32_t bits_ = 0;
};

/// What speaks against the backend: is_failure, as a set.
inline constexpr EndingSet failures{Ending::refused, Ending::connect_timeout, Ending::timeout,
                                    Ending::reset,   Ending::error,           Ending::overloaded};

/// As an Outcome's retry_after, "do not retry"; any time below 0 says so.
inline constexpr Duration do_not_retry{-1};

/// An ending, whether the request may have reached the backend, and when it wants the next one.
struct Outcome {
  Ending ending = Ending::success;
  bool sent = true;  ///< False if certainly nothing was sent, so that a retry repeats nothing.
  Duration retry_after{};  ///< What the backend asked for; 0: nothing; below 0: not at all.

  constexpr Outcome() = default;
  // Not explicit: an ending is the whole outcome in most programs.
  constexpr Outcome(Ending how) noexcept
      : ending{how}, sent{how != Ending::refused && how != Ending::connect_timeout} {}
  constexpr Outcome(Ending how, bool was_sent, Duration wanted = {}) noexcept
      : ending{how}, sent{was_sent}, retry_after{wanted} {}

  friend bool operator==(Outcome const&, Outcome const&) = default;
};

// Every outcome_of below is a default; write one beside your own reply type and it is found by ADL.

[[nodiscard]] constexpr Outcome outcome_of(Outcome outcome) noexcept { return outcome; }

[[nodiscard]] inline Outcome outcome_of(std::error_code error) noexcept {
  // Asio's own category for what the system says, which by itself equals no std::errc.
  if (std::string_view{error.category().name()} == "asio.system")
    error = {error.value(), std::generic_category()};
  auto const is = [&](std::errc code) { return error == code; };
  if (!error) return Ending::success;
  if (is(std::errc::connection_refused) || is(std::errc::host_unreachable) ||
      is(std::errc::network_unreachable) || is(std::errc::no_such_file_or_directory))
    return Ending::refused;
  if (is(std::errc::timed_out)) return Ending::timeout;
  if (is(std::errc::connection_reset) || is(std::errc::broken_pipe) ||
      is(std::errc::connection_aborted))
    return Ending::reset;
  if (is(std::errc::operation_canceled)) return Ending::cancelled;
  if (is(std::errc::invalid_argument)) return Ending::rejected;
  return Ending::error;
}

/// What an exception says: a std::system_error its code, any other an error.
[[nodiscard]] inline Outcome outcome_of(std::exception_ptr const& thrown) noexcept {
  try {
    std::rethrow_exception(thrown);
  } catch (std::system_error const& failure) {
    auto const outcome = outcome_of(failure.code());
    return outcome.ending == Ending::success ? Outcome{Ending::error} : outcome;
  } catch (...) {
    return Ending::error;
  }
}

/// What an HTTP status says: 429 and 503 ask for less, other 5xx are failures, other 4xx are the
/// caller's own fault. *Source* RFC 9110.
[[nodiscard]] constexpr Outcome outcome_of_http(int status) noexcept {
  if (status == 429 || status == 503) return Ending::overloaded;
  if (status == 504) return Ending::timeout;
  if (status >= 500) return Ending::error;
  if (status >= 400) return Ending::rejected;
  return Ending::success;
}

namespace detail {

template <class T>
concept HasOutcome = requires(T const& reply) {
  { outcome_of(reply) } -> std::convertible_to<Outcome>;
};

/// The outcome of any reply: its own outcome_of, else "is there a value", else success.
template <class T>
[[nodiscard]] Outcome classify(T const& reply) {
  if constexpr (std::is_same_v<T, bool>) {
    return reply ? Ending::success : Ending::error;
  } else if constexpr (HasOutcome<T>) {
    return outcome_of(reply);
  } else if constexpr (requires {
                         { reply.has_value() } -> std::convertible_to<bool>;
                       }) {
    return reply.has_value() ? Ending::success : Ending::error;
  } else {
    return Ending::success;
  }
}

}  // namespace detail

}  // namespace poise
