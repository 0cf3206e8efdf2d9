// expect: this reply may report a failure.*outcome_of.*classified_by.*every_return_succeeds
// SPDX-License-Identifier: MIT
// A null pointer may be a failure.
#include <memory>

#include <poise/poise.hpp>

int main() {
  poise::Balancer<> balancer{poise::endpoints({"a"})};
  balancer.call([](auto&) { return std::unique_ptr<int>{}; });
}
