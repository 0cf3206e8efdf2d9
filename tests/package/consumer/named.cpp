#include <poise/balancer.hpp>
#include <poise/compose/policy_named.hpp>

int main() {
  poise::Balancer<poise::AnyPolicy> balancer{poise::endpoints({"10.0.0.1:80", "10.0.0.2:80"}),
                                             poise::policy_named("retry(p2c)")};
  return balancer.pick() ? 0 : 1;
}
