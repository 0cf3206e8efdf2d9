// expect: on_load_report: void on_load_report\(Reported const&, State&\)
// SPDX-License-Identifier: MIT
// A hook of a wrong signature would never be called.
#include <poise/poise.hpp>

struct Curious {
  void on_load_report(poise::LoadReport const&) {}
};

int main() {
  poise::Balancer<poise::P2C, void, poise::Runtime<poise::CycleClock, Curious>> balancer{
      poise::endpoints({"a"})};
}
