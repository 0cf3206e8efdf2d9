// expect: not the policy that the balancer.s type names
// SPDX-License-Identifier: MIT
// The type names a policy, and so do the arguments.
#include <poise/poise.hpp>

int main() { poise::Balancer<poise::P2C> balancer{poise::endpoints({"a"}), poise::RoundRobin{}}; }
