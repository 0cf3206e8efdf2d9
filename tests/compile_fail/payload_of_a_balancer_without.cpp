// expect: (no member named .payload|has no member named .payload)
// SPDX-License-Identifier: MIT
// Without a payload type there is no payload.
#include <poise/poise.hpp>

int main() {
  poise::Balancer<> balancer{poise::endpoints({"a"})};
  balancer.pick()->payload();
}
