// expect: poise has no hook of this name
// SPDX-License-Identifier: MIT
// A hook of another name would never be called.
#include <poise/poise.hpp>

struct Deaf : poise::RoundRobin {
  void on_finished(poise::Finish&) const {}
};

int main() { poise::Balancer<Deaf> balancer{poise::endpoints({"a"})}; }
