// expect: write poise::endpoints\(addresses\)
// SPDX-License-Identifier: MIT
// Addresses are no endpoints yet.
#include <poise/poise.hpp>

int main() { poise::Balancer<> balancer{"a:80", "b:80"}; }
