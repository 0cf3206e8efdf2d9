// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstdlib>

namespace poise::test {

/// How long one race test keeps its threads running: POISE_STRESS_SECONDS, or a fifth of a second,
/// which shows that a test works and catches what is plainly wrong; the rare takes the nightly run.
inline std::chrono::duration<double> stress_time() {
  char const* const seconds = std::getenv("POISE_STRESS_SECONDS");
  return std::chrono::duration<double>{seconds != nullptr ? std::strtod(seconds, nullptr) : 0.2};
}

}  // namespace poise::test
