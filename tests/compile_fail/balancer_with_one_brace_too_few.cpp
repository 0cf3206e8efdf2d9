// expect note: EndpointsHaveOneMorePairOfBraces
// SPDX-License-Identifier: MIT
// One brace too few: the endpoints are not in a list.
#include <poise/poise.hpp>

int main() { poise::Balancer<> balancer{{.id = "a"}, {.id = "b"}}; }
