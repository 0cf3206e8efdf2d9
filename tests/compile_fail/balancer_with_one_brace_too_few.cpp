// expect note: endpoints_have_one_more_pair_of_braces
// SPDX-License-Identifier: MIT
// One brace too few: the endpoints are not in a list.
#include <poise/poise.hpp>

int main() { poise::Balancer<> balancer{{.id = "a"}, {.id = "b"}}; }
