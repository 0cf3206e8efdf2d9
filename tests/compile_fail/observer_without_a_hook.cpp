// expect: this observer has no hook that poise calls
// SPDX-License-Identifier: MIT
// It would never be called.
#include <poise/poise.hpp>

struct Deaf {
  void finished(poise::Finished const&) {}
};

int main() {
  poise::Balancer<poise::P2C, void, poise::Runtime<poise::SteadyClock, Deaf>> balancer{
      poise::endpoints({"a"})};
}
