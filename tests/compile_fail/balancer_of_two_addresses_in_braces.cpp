// expect: addresses are no endpoints: poise::endpoints
// SPDX-License-Identifier: MIT
// One brace too few: without the sentence, two strings would be iterators of a vector.
#include <poise/poise.hpp>

int main() { poise::Balancer<> balancer{{"a:80", "b:80"}}; }
