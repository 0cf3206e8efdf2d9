// expect: this policy has no default
// SPDX-License-Identifier: MIT
// Which zone is the own one?
#include <poise/poise.hpp>

int main() {
  poise::Balancer<poise::Retry<poise::ZoneAware<poise::P2C>>> balancer{poise::endpoints({"a"})};
}
