// expect: a classifier .* returns a poise::Outcome or a poise::Result
// SPDX-License-Identifier: MIT
// True could mean success, or failure.
#include <poise/poise.hpp>

int main() {
  poise::Balancer<> balancer{poise::endpoints({"a"})};
  balancer.call(
      poise::classified_by([](int status) { return status == 200; }, [](auto&) { return 500; }));
}
