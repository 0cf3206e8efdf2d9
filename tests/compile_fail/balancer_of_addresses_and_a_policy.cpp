// expect: addresses are no endpoints: poise::endpoints
// SPDX-License-Identifier: MIT
// The same with a policy and a runtime behind it.
#include <poise/poise.hpp>

int main() { poise::Balancer<poise::P2C> balancer{{"a:80", "b:80"}, {}, {.seed = 1}}; }
