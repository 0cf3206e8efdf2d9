// expect: this reply may report a failure.*outcome_of.*classified_by.*every_return_succeeds
// SPDX-License-Identifier: MIT
// An error code counts also inside a pair.
#include <system_error>
#include <utility>

#include <poise/poise.hpp>

int main() {
  poise::Balancer<> balancer{poise::endpoints({"a"})};
  balancer.call([](auto&) { return std::pair{std::error_code{}, 7}; });
}
