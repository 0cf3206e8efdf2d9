// expect: the members of an Endpoint are named
// SPDX-License-Identifier: MIT
// Two strings would be one backend, with an id and an address.
#include <poise/poise.hpp>

int main() { poise::Balancer<> balancer{{{"a:80", "b:80"}}}; }
