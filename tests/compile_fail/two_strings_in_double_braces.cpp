// expect: no matching function for call to .endpoints
// SPDX-License-Identifier: MIT
// Two strings in double braces would be one string made of two iterators.
#include <poise/poise.hpp>

int main() { return static_cast<int>(poise::endpoints({{"a", "b"}}).size()); }
