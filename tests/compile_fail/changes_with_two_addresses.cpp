// expect: addresses are no endpoints: poise::endpoints
// SPDX-License-Identifier: MIT
// The same in a list of changes.
#include <poise/poise.hpp>

int main() { return static_cast<int>(poise::Changes{}.update({"a:80", "b:80"}).size()); }
