// expect: this payload can.t be made from an Endpoint, so the second argument is a factory
// SPDX-License-Identifier: MIT
// A payload is made from its endpoint, or by a factory.
#include <poise/poise.hpp>

struct Pool {
  explicit Pool(int size);
};

int main() { poise::Balancer<poise::P2C, Pool> balancer{poise::endpoints({"a"})}; }
