// SPDX-License-Identifier: MIT
#pragma once

// Arithmetic of times that stops at the ends of the range: Duration::max() stands for "no limit".

#include <algorithm>
#include <limits>

#include <poise/time.hpp>

namespace poise::inline v0_1_0::detail {

[[nodiscard]] constexpr Duration saturating_add(Duration a, Duration b) noexcept {
  if (b > Duration::zero() && a > Duration::max() - b) return Duration::max();
  if (b < Duration::zero() && a < Duration::min() - b) return Duration::min();
  return a + b;
}
[[nodiscard]] constexpr Time saturating_add(Time time, Duration later) noexcept {
  return Time{saturating_add(time.time_since_epoch(), later)};
}
/// From `earlier` to `later`.
[[nodiscard]] constexpr Duration saturating_sub(Time later, Time earlier) noexcept {
  auto const a = later.time_since_epoch();
  auto const b = earlier.time_since_epoch();
  if (b < Duration::zero() && a > Duration::max() + b) return Duration::max();
  if (b > Duration::zero() && a < Duration::min() + b) return Duration::min();
  return a - b;
}
/// *Requires* a time that is not negative.
[[nodiscard]] constexpr Duration saturating_mul(Duration time, Duration::rep times) noexcept {
  if (times > 0 && time > Duration::max() / times) return Duration::max();
  return time * times;
}
/// *Requires* a time and a factor that are not negative.
[[nodiscard]] constexpr Duration saturating_scale(Duration time, double factor) noexcept {
  auto const scaled = static_cast<double>(time.count()) * factor;
  constexpr auto end = static_cast<double>(std::numeric_limits<Duration::rep>::max());
  return scaled < end ? Duration{static_cast<Duration::rep>(scaled)} : Duration::max();
}

}  // namespace poise::inline v0_1_0::detail
