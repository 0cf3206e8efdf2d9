// expect: a poise load needs: an ordered value from operator\(\)
// SPDX-License-Identifier: MIT
// A load must be able to measure.
#include <poise/poise.hpp>

struct Nothing {};

int main() { poise::Balancer<poise::Least<Nothing>> balancer{poise::endpoints({"a"})}; }
