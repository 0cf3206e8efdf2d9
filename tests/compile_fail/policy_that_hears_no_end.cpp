// expect: on_finish: void on_finish\(Finish&\) const
// SPDX-License-Identifier: MIT
// A hook with the wrong parameters would be ignored in silence.
#include <poise/poise.hpp>

struct Deaf : poise::RoundRobin {
  void on_finish(poise::Finished const&) const {}
};

int main() { poise::Balancer<Deaf> balancer{poise::endpoints({"a"})}; }
