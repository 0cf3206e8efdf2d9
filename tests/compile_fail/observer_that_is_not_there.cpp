// expect: the runtime of this balancer has no such observer
// SPDX-License-Identifier: MIT
// The runtime lists its observers.
#include <poise/health/monitor.hpp>
#include <poise/poise.hpp>

int main() {
  poise::Balancer<> balancer{poise::endpoints({"a"})};
  balancer.observer<poise::health::Standard>();
}
