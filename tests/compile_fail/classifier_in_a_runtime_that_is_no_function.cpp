// expect: ClassifyBy takes functions
// SPDX-License-Identifier: MIT
// g++ 12 has no lambdas, nor what they convert to, as template arguments inside functions.
#include <poise/poise.hpp>

int main() {
  using Runtime = poise::Runtime<poise::SteadyClock,
                                 poise::ClassifyBy<[](int) { return poise::Result::success; }>>;
  poise::Balancer<poise::P2C, void, Runtime> balancer{poise::endpoints({"a"})};
}
