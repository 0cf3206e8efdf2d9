// expect: two health monitors in one runtime
// SPDX-License-Identifier: MIT
// Each would undo what the other decides.
#include <poise/health/monitor.hpp>
#include <poise/poise.hpp>

int main() {
  using Other = poise::health::Monitor<poise::health::Consecutive>;
  poise::Balancer<poise::P2C, void,
                  poise::Runtime<poise::SteadyClock, poise::health::Standard, Other>>
      balancer{poise::endpoints({"a"})};
}
