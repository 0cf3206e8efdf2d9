// expect: a fallback is a value of the type that the call returns
// SPDX-License-Identifier: MIT
// A fallback must be what the call returns.
#include <string>

#include <poise/poise.hpp>

int main() {
  poise::Balancer<> balancer{poise::endpoints({"a"})};
  balancer.call_or([](auto& backend) { return backend.id(); }, 7.5);
}
