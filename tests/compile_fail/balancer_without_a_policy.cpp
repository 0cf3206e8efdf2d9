// expect: the runtime comes after the policy
// SPDX-License-Identifier: MIT
// The policy was left out.
#include <poise/poise.hpp>

int main() {
  using Runtime = poise::Runtime<poise::VirtualClock>;
  poise::Balancer<poise::P2C, void, Runtime> balancer{poise::endpoints({"a"}), Runtime{}};
}
