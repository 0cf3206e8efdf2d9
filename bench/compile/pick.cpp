// SPDX-License-Identifier: MIT
#include <poise/balancer.hpp>

int main() {
  poise::Balancer<> servers{poise::endpoints({"10.0.0.1:80", "10.0.0.2:80"})};
  return servers.pick() ? 0 : 1;
}
