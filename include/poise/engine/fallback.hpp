// SPDX-License-Identifier: MIT
#pragma once

// What stands in for a reply that no backend gave: the last step of call_or(), blocking or awaited.

#include <concepts>
#include <type_traits>
#include <utility>

#include <poise/call.hpp>
#include <poise/outcome.hpp>

namespace poise::inline v0_1_0::detail {

/// True if a fallback is asked after a call that ended so: a backend failed, or this machine did
/// before anything was sent. Not if the caller gave up or was wrong.
[[nodiscard]] constexpr bool is_unanswered(Outcome outcome) noexcept {
  return is_failure(outcome.result) || (outcome.result == Result::cancelled && !outcome.sent);
}

/// The fallback's value, or what it returns as a function of `why` or of nothing.
template <class Fallback>
decltype(auto) ask_fallback(Fallback&& fallback, [[maybe_unused]] Unanswered const& why) {
  if constexpr (std::invocable<Fallback&, Unanswered const&>) return fallback(why);
  else if constexpr (std::invocable<Fallback&>) return fallback();
  else return std::forward<Fallback>(fallback);
}

template <class Fallback>
using FallbackResult =
    decltype(ask_fallback(std::declval<Fallback>(), std::declval<Unanswered const&>()));

/// The same as a reply.
template <class Reply, class Fallback>
Reply fall_back(Fallback&& fallback, Unanswered const& why) {
  constexpr bool fits =
      std::is_void_v<Reply> || std::convertible_to<FallbackResult<Fallback>, Reply>;
  static_assert(fits,
                "a fallback is a value of the type that the call returns, or a function that "
                "returns one and takes nothing or a poise::Unanswered const&");
  if constexpr (std::is_void_v<Reply>) ask_fallback(std::forward<Fallback>(fallback), why);
  else if constexpr (fits) return ask_fallback(std::forward<Fallback>(fallback), why);
}

}  // namespace poise::inline v0_1_0::detail
