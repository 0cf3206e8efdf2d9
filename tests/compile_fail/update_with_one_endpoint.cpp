// expect: this takes a list of endpoints
// SPDX-License-Identifier: MIT
// One brace too few.
#include <poise/poise.hpp>

int main() {
  poise::Balancer<> balancer{poise::endpoints({"a"})};
  balancer.update({.id = "a"});
}
