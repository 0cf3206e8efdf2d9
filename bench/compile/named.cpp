// SPDX-License-Identifier: MIT
#include <poise/balancer.hpp>
#include <poise/compose/named.hpp>

int main(int, char** argv) {
  poise::Balancer<poise::AnyPolicy> servers{poise::endpoints({"10.0.0.1:80", "10.0.0.2:80"}),
                                            poise::policy_named(argv[1])};
  return servers.pick() ? 0 : 1;
}
