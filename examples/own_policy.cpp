// SPDX-License-Identifier: MIT
// A policy of your own: a struct with a const pick() that returns an index. Balancer does the rest.
//
// This one keeps a client on its backend; while that one is out, the next one takes the client.

#include <functional>
#include <iostream>
#include <string>
#include <string_view>

#include <poise/poise.hpp>

struct Sticky {
  static constexpr char const* name = "sticky";
  static constexpr poise::Traits traits{.keyed = true};

  std::size_t pick(poise::Candidates const& all, poise::Context& context) const {
    auto const home = std::hash<std::string_view>{}(context.request.key());
    for (std::size_t step = 0; step < all.members(); ++step) {
      auto const i = all.index_of((home + step) % all.members());  // none: drained, unhealthy, ...
      if (i != all.none && context.usable(all, i)) return i;
    }
    return all.none;
  }
};

int main() {
  poise::Balancer<Sticky> servers{poise::endpoints({"10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"})};
  auto const server_of = [&](std::string_view client) {
    auto lease = servers.pick({.client_id = client});
    auto const address = lease->address();
    lease.finish();
    std::cout << client << " -> " << address << '\n';
    return address;
  };

  auto const home = server_of("alice");
  for (auto const* client : {"bob", "carol", "dave"}) server_of(client);
  bool const stays = server_of("alice") == home;
  servers.drain(home);
  bool const moves = server_of("alice") != home;
  servers.undrain(home);
  bool const returns = server_of("alice") == home;
  return stays && moves && returns ? 0 : 1;
}
