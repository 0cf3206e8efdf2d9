// expect: this policy has no default
// SPDX-License-Identifier: MIT
// Which policy?
#include <poise/poise.hpp>

int main() { poise::Balancer<poise::AnyPolicy> balancer{poise::endpoints({"a"})}; }
