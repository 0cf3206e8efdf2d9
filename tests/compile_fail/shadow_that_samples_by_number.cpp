// expect: sampling is a power
// SPDX-License-Identifier: MIT
// One in 1024 is sampling = 10.
#include <poise/analysis/shadow.hpp>
#include <poise/poise.hpp>

poise::analysis::Shadow<poise::P2C, poise::RoundRobin,
                        poise::analysis::ShadowOptions{.sampling = 1024}> const shadow;

int main() {}
