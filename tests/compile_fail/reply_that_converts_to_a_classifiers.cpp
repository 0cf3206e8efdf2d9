// expect: this reply may report a failure
// SPDX-License-Identifier: MIT
// A bool would convert to a status, 1 or 0: classifiers take exactly their type.
#include <poise/poise.hpp>

int main() {
  using Runtime = poise::Runtime<poise::SteadyClock, poise::ClassifyBy<poise::outcome_of_http>>;
  poise::Balancer<poise::P2C, void, Runtime> balancer{poise::endpoints({"a"})};
  balancer.call([](auto&) { return true; });
}
