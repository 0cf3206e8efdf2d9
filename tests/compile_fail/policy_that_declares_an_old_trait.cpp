// expect: in its traits: static constexpr poise::Traits traits
// SPDX-License-Identifier: MIT
// Ignored in silence, the policy would read a clock that stands still.
#include <poise/poise.hpp>

struct Old : poise::RoundRobin {
  static constexpr bool uses_time = true;
};

int main() { poise::Balancer<poise::Retry<Old>> balancer{poise::endpoints({"a"})}; }
