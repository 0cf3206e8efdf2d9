// expect: no observer of this balancer takes load reports: list one in its Runtime
// SPDX-License-Identifier: MIT
// A report that nothing uses would be lost in silence.
#include <poise/poise.hpp>

int main() {
  poise::Balancer<> balancer{poise::endpoints({"a"})};
  balancer.pick().report_load({.rps = 10});
}
