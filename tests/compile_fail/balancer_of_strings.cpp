// expect: write poise::endpoints\(addresses\)
// SPDX-License-Identifier: MIT
// Addresses are no endpoints yet.
#include <string>
#include <vector>

#include <poise/poise.hpp>

int main() {
  std::vector<std::string> const addresses{"a:80", "b:80"};
  poise::Balancer<> balancer{addresses};
}
