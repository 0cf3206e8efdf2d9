// expect: AnyPolicy\{policy\}
// SPDX-License-Identifier: MIT
// A type-erased policy is made on purpose.
#include <poise/poise.hpp>

int main() {
  poise::Balancer<poise::AnyPolicy> balancer{poise::endpoints({"a"}), poise::RoundRobin{}};
}
