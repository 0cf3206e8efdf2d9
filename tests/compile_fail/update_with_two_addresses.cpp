// expect: addresses are no endpoints: poise::endpoints
// SPDX-License-Identifier: MIT
// Two strings would be iterators of a vector.
#include <poise/poise.hpp>

int main() {
  poise::Balancer<> balancer{poise::endpoints({"a"})};
  balancer.update({"a:80", "b:80"});
}
