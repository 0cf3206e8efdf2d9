// expect: a poise policy needs: std::size_t pick\(Candidates
// SPDX-License-Identifier: MIT
// A policy must be able to pick.
#include <poise/poise.hpp>

struct Nothing {};

int main() { poise::Balancer<Nothing> balancer{poise::endpoints({"a"})}; }
