// expect: this reply may report a failure.*outcome_of.*classified_by.*every_return_succeeds
// SPDX-License-Identifier: MIT
// A C library's code may be a failure.
#include <poise/poise.hpp>

enum Code { ok, failed };

int main() {
  poise::Balancer<> balancer{poise::endpoints({"a"})};
  balancer.call([](auto&) { return Code{}; });
}
