// expect: deleted
// SPDX-License-Identifier: MIT
// A balancer is moved, not copied: its leases belong to one.
#include <poise/poise.hpp>

int main() {
  poise::Balancer<> balancer{poise::endpoints({"a"})};
  auto copy = balancer;
}
