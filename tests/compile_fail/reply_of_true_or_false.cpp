// expect: this reply may report a failure.*outcome_of.*classified_by.*every_return_succeeds
// SPDX-License-Identifier: MIT
// False may be a failure, or a key that is not there.
#include <poise/poise.hpp>

int main() {
  poise::Balancer<> balancer{poise::endpoints({"a"})};
  balancer.call([](auto&) { return false; });
}
