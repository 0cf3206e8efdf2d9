// expect: deleted
// SPDX-License-Identifier: MIT
// A copied lease would report twice.
#include <poise/poise.hpp>

int main() {
  poise::Balancer<> balancer{poise::endpoints({"a"})};
  auto lease = balancer.pick();
  auto copy = lease;
}
