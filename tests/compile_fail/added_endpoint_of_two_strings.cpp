// expect: the members of an Endpoint are named
// SPDX-License-Identifier: MIT
// The same where one is added.
#include <poise/poise.hpp>

int main() {
  poise::Balancer<> balancer{poise::endpoints({"a"})};
  balancer.add({"a:80", "b:80"});
}
