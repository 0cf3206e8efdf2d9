// expect: (no known conversion|cannot convert|no matching|no non-static data member)
// SPDX-License-Identifier: MIT
// A wrong option.
#include <poise/poise.hpp>

int main() {
  poise::Balancer<poise::Retry<poise::P2C>> balancer{poise::endpoints({"a"}), {{.atempts = 3}}};
}
