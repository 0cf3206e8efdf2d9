// SPDX-License-Identifier: MIT
// The smallest whole program: while one server is busy, the others get the requests.
#include <iostream>
#include <poise/poise.hpp>

int main() {
  poise::Balancer<> servers{poise::endpoints({"10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"})};
  auto slow = servers.pick();  // in flight until slow.finish(); if (!slow), slow.error() says why
  for (int i = 0; i < 4; ++i) {
    auto const reply = servers.call([](auto& server) { return server.address(); });
    std::cout << reply << " answers, " << slow->address() << " is busy\n";
    if (reply == slow->address()) return 1;
  }
}
