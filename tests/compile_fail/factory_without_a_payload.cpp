// expect: a factory needs a payload.s type
// SPDX-License-Identifier: MIT
// The payload's type was left out.
#include <poise/poise.hpp>

int main() {
  poise::Balancer<> balancer{poise::endpoints({"a"}),
                             [](poise::Endpoint const& endpoint) { return endpoint.address; }};
}
