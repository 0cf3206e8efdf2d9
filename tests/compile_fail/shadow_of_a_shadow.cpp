// expect: put one around the other
// SPDX-License-Identifier: MIT
// The second policy only answers: a shadow of its own would be asked for nothing.
#include <poise/analysis/shadow.hpp>
#include <poise/poise.hpp>

int main() {
  poise::analysis::Shadow const shadow{poise::P2C{},
                                       poise::analysis::Shadow{poise::P2C{}, poise::RoundRobin{}}};
}
