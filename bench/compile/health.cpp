// SPDX-License-Identifier: MIT
#include <poise/balancer.hpp>
#include <poise/health/monitor.hpp>
#include <poise/policy/power_of_two.hpp>
#include <poise/ticker.hpp>

int main() {
  poise::Balancer<poise::P2C, void, poise::health::Monitored> servers{
      poise::endpoints({"10.0.0.1:80", "10.0.0.2:80"})};
  poise::Ticker ticker;
  auto const handle = ticker.watch(servers);
  return servers.pick() ? 0 : 1;
}
