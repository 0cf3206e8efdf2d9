// expect: (no matching (function|constructor)|constraints not satisfied)
// SPDX-License-Identifier: MIT
// A payload is made from its endpoint, or by a factory.
#include <poise/poise.hpp>

struct Pool {
  explicit Pool(int size);
};

int main() { poise::Balancer<poise::P2C, Pool> balancer{poise::endpoints({"a"})}; }
