// expect: on_transition: void on_transition\(health::Transition const&\)
// SPDX-License-Identifier: MIT
// What a monitor tells is known where it tells it; a hook that can't take it would stay silent.
#include <poise/health/monitor.hpp>
#include <poise/poise.hpp>

struct Deaf {
  void on_transition(poise::health::Transition&) {}
};

int main() {
  poise::Balancer<poise::P2C, void,
                  poise::Runtime<poise::SteadyClock, poise::health::Standard, Deaf>>
      balancer{poise::endpoints({"a"})};
  balancer.tick();
}
