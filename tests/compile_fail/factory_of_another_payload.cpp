// expect: does not return the balancer.s payload
// SPDX-License-Identifier: MIT
// A factory of something else.
#include <poise/poise.hpp>

int main() {
  poise::Balancer<poise::P2C, int> balancer{
      poise::endpoints({"a"}), [](poise::Endpoint const& endpoint) { return endpoint.address; }};
}
