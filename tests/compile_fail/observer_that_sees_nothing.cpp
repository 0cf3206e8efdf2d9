// expect: on_event: void on_event\(Event const&\)
// SPDX-License-Identifier: MIT
// A hook with the wrong parameters would be ignored in silence.
#include <poise/poise.hpp>

struct Blind {
  void on_event(poise::Event&) {}
};

int main() {
  poise::Balancer<poise::P2C, void, poise::Runtime<poise::SteadyClock, Blind>> balancer{
      poise::endpoints({"a"})};
}
