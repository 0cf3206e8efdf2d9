// SPDX-License-Identifier: MIT
#pragma once

// The checks of options: the one place where a bad value becomes a ConfigError.
//
//   check_fraction("jitter of health::Ejection", options.jitter);
//
// throws ConfigError{"jitter of health::Ejection is 1.5: use a fraction from 0 to 1"}. Every
// message names the option, the value that was given, and what to use instead. The last argument of
// a check replaces that advice where a better one is known.

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

#include <poise/error.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::detail {

/// A duration as a whole number of the largest unit that keeps it whole: "250 ms", "1500 us".
[[nodiscard]] inline std::string in_words(Duration time) {
  struct Unit {
    Duration::rep nanoseconds;
    char const* name;
  };
  for (auto const& [nanoseconds, name] :
       {Unit{1'000'000'000, " s"}, Unit{1'000'000, " ms"}, Unit{1000, " us"}})
    if (time.count() % nanoseconds == 0) return std::to_string(time.count() / nanoseconds) + name;
  return std::to_string(time.count()) + " ns";
}
/// A number with six digits at most: "0.06", "1e+09", "nan".
[[nodiscard]] inline std::string in_words(double number) {
  char text[32];
  auto const size = std::snprintf(text, sizeof text, "%.6g", number);
  return {text, static_cast<std::size_t>(size)};
}
[[nodiscard]] inline std::string in_words(std::uint64_t number) { return std::to_string(number); }
[[nodiscard]] inline std::string in_words(std::uint32_t number) { return std::to_string(number); }

/// Throws "`option` is `value`: `advice`".
[[noreturn]] inline void reject_option(std::string_view option, std::string_view value,
                                       std::string_view advice) {
  throw ConfigError{std::string{option}.append(" is ").append(value).append(": ").append(advice)};
}

/// Rejects NaN, as all checks of numbers do.
inline void check_fraction(std::string_view option, double value,
                           std::string_view advice = "use a fraction from 0 to 1") {
  if (!(value >= 0 && value <= 1)) reject_option(option, in_words(value), advice);
}
inline void check_positive(std::string_view option, double value,
                           std::string_view advice = "use a finite number above 0") {
  if (!(value > 0 && std::isfinite(value))) reject_option(option, in_words(value), advice);
}
inline void check_positive(std::string_view option, Duration value,
                           std::string_view advice = "use a duration above 0") {
  if (value <= Duration::zero()) reject_option(option, in_words(value), advice);
}
/// `advice` says what 0 stands for.
inline void check_not_negative(std::string_view option, Duration value, std::string_view advice) {
  if (value < Duration::zero()) reject_option(option, in_words(value), advice);
}
inline void check_not_negative(std::string_view option, double value,
                               std::string_view advice = "use a finite number of 0 or more") {
  if (!(value >= 0 && std::isfinite(value))) reject_option(option, in_words(value), advice);
}
inline void check_at_least_one(std::string_view option, std::uint64_t value,
                               std::string_view advice = "use 1 or more") {
  if (value == 0) reject_option(option, "0", advice);
}
/// `advice` says why not less. Duration, double and unsigned integers.
template <class Number>
void check_at_least(std::string_view option, Number value, Number min, std::string_view advice) {
  if (!(value >= min)) reject_option(option, in_words(value), advice);
}

}  // namespace poise::inline v0_1_0::detail
