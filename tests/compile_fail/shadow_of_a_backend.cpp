// expect: Shadow needs two policies
// SPDX-License-Identifier: MIT
// A backend's name is no policy.
#include <string>

#include <poise/analysis/shadow.hpp>
#include <poise/poise.hpp>

int main() { poise::analysis::Shadow const shadow{poise::P2C{}, std::string{"a"}}; }
