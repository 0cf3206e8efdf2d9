// expect: a future or an awaitable.*poise::asio::call
// SPDX-License-Identifier: MIT
// A future's request would end before its reply comes.
#include <future>

#include <poise/poise.hpp>

int main() {
  poise::Balancer<> balancer{poise::endpoints({"a"})};
  balancer.call([](auto&) { return std::async([] { return 200; }); });
}
