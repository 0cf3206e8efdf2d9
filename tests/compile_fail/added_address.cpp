// expect: addresses are no endpoints: poise::endpoints
// SPDX-License-Identifier: MIT
// An address is no endpoint yet.
#include <poise/poise.hpp>

int main() {
  poise::Balancer<> balancer{poise::endpoints({"a"})};
  balancer.add("a:80");
}
