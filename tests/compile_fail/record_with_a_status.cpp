// expect: for a status of HTTP write poise::outcome_of_http
// SPDX-License-Identifier: MIT
// A status is no outcome.
#include <poise/poise.hpp>

int main() {
  poise::Balancer<> balancer{poise::endpoints({"a"})};
  balancer.record("a", 500);
}
