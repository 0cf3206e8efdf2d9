// expect: poise has no hook of this name
// SPDX-License-Identifier: MIT
// A hook of another name would never be called.
#include <poise/poise.hpp>

struct Deaf {
  void on_pick(poise::Picked const&) {}
  void on_finished(poise::Finished const&) {}
};

int main() {
  poise::Balancer<poise::P2C, void, poise::Runtime<poise::SteadyClock, Deaf>> balancer{
      poise::endpoints({"a"})};
}
