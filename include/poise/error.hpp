// SPDX-License-Identifier: MIT
#pragma once

// The errors of picks and of configuration, and their messages.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace poise::inline v0_1_0 {

/// Why a pick gave no backend.
enum class PickError : std::uint32_t {
  none,
  empty,        ///< No backends are configured.
  unavailable,  ///< Backends exist, but none may be picked; the counts say why.
  closed,       ///< The balancer was destroyed or moved from.
  queue_full,   ///< Too many requests wait for a backend already (Balancer::set_max_waiting).
};

/// Why a pick failed. Every backend is counted once, under the first reason that holds.
struct Error {
  PickError reason = PickError::none;
  std::uint32_t drained = 0;     ///< Taken out by an operator.
  std::uint32_t unhealthy = 0;   ///< Found or declared unhealthy.
  std::uint32_t weightless = 0;  ///< Weight 0.
  std::uint32_t refused = 0;     ///< Eligible, but at a limit of their own.
  std::uint32_t unsuitable = 0;  ///< Eligible, but not for this request: its condition or position.
  /// When a rate limit (compose/rate_limited.hpp) takes the request, at the earliest; rounded up,
  /// at most 4 hours. 0: not known.
  std::chrono::milliseconds retry_after{};

  [[nodiscard]] constexpr std::uint32_t backends() const noexcept {
    return drained + unhealthy + weightless + refused + unsuitable;
  }
  friend bool operator==(Error const&, Error const&) = default;
};

/// The error for people: "5 backends: 2 drained, 3 unhealthy".
[[nodiscard]] inline std::string message(Error const& error) {
  switch (error.reason) {
    case PickError::none: return "no error (the lease was finished, released or moved from)";
    case PickError::empty: return "no backends are configured: add some with add() or update()";
    case PickError::closed: return "the balancer is gone: it was destroyed or moved from";
    case PickError::queue_full:
      return "too many requests wait for a backend already: see set_max_waiting()";
    case PickError::unavailable: break;
  }
  auto const count = error.backends();
  auto text = std::to_string(count) + (count == 1 ? " backend: " : " backends: ");
  bool first = true;
  for (auto const& [number, what] :
       {std::pair{error.drained, " drained"}, std::pair{error.unhealthy, " unhealthy"},
        std::pair{error.weightless, " with weight 0"},
        std::pair{error.refused, " at a limit or filtered out"},
        std::pair{error.unsuitable, " not suitable for this request"}}) {
    if (number == 0) continue;
    text += (first ? "" : ", ") + std::to_string(number) + what;
    first = false;
  }
  if (error.retry_after.count() != 0)
    text += "; a rate limit has room again in " + std::to_string(error.retry_after.count()) + " ms";
  return text;
}

/// Thrown by Balancer::call when there is no backend to call, and by a lease without a backend that
/// is asked for it.
class NoBackend : public std::runtime_error {
 public:
  /// `tried` lists earlier attempts; empty if there were none.
  explicit NoBackend(Error const& error, std::string const& tried = {})
      : std::runtime_error{message(error) + tried}, error_{error} {}
  [[nodiscard]] Error const& error() const noexcept { return error_; }

 private:
  Error error_;
};

/// Thrown by constructors and changes of a balancer. Nothing was changed.
class ConfigError : public std::invalid_argument {
 public:
  using std::invalid_argument::invalid_argument;
};

/// Thrown by a change that is called where it would deadlock. Nothing was changed.
class UpdateRefused : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

namespace detail {

/// How many bytes the character at the front has that changes the direction of the text around it:
/// U+061C, U+200E, U+200F, U+202A to U+202E, U+2066 to U+2069. 0 if it is another one.
[[nodiscard]] constexpr std::size_t bidi_control_length(std::string_view text) noexcept {
  if (text.starts_with("\xd8\x9c")) return 2;
  if (text.size() < 3 || text[0] != '\xe2') return 0;
  auto const last = static_cast<unsigned char>(text[2]);
  bool const mark_or_embedding =
      text[1] == '\x80' && (last == 0x8e || last == 0x8f || (last >= 0xaa && last <= 0xae));
  bool const isolate = text[1] == '\x81' && last >= 0xa6 && last <= 0xa9;
  return mark_or_embedding || isolate ? 3 : 0;
}

/// Such a character as "\u202e".
[[nodiscard]] inline std::string bidi_escape(std::string_view control) {
  if (control.size() == 2) return "\\u061c";
  constexpr std::string_view digits = "0123456789abcdef";
  auto const code = (static_cast<unsigned char>(control[1]) & 0x3fU) << 6U |
                    (static_cast<unsigned char>(control[2]) & 0x3fU);
  return std::string{"\\u20"} + digits[code >> 4U & 15U] + digits[code & 15U];
}

/// Makes foreign text fit for a log line: escapes quotes, backslashes, control characters and those
/// that turn the direction of text, and cuts it off after 80 bytes.
inline std::string escaped(std::string_view text) {
  constexpr std::size_t max_size = 80;
  constexpr std::string_view digits = "0123456789abcdef";
  std::string result;
  auto const kept = text.substr(0, max_size);
  for (std::size_t i = 0; i < kept.size(); ++i) {
    if (auto const length = bidi_control_length(kept.substr(i)); length != 0) {
      result += bidi_escape(kept.substr(i, length));
      i += length - 1;
      continue;
    }
    char const letter = kept[i];
    auto const byte = static_cast<unsigned char>(letter);
    if (byte >= 0x20U && byte != 0x7fU) {
      if (letter == '"' || letter == '\\') result += '\\';
      result += letter;
    } else {
      result += "\\x";
      result += digits[byte >> 4U];
      result += digits[byte & 15U];
    }
  }
  return result + (text.size() > max_size ? "..." : "");
}

/// The same in quotes.
inline std::string in_quotes(std::string_view text) { return '"' + escaped(text) + '"'; }

}  // namespace detail

}  // namespace poise::inline v0_1_0
