// SPDX-License-Identifier: MIT

// One balancer, used from two shared libraries and the program: they must see each other's readers,
// or a change made in one frees what the other still reads.

#include "stress/team.hpp"
#include "stress/two_libraries/library.hpp"
#include "support/catch.hpp"

namespace {

struct Client {
  explicit Client(Servers& balancer) : servers{balancer} {}
  void work() {
    if (!left::pick(servers) || !right::pick(servers) || !servers.pick()) ++failures;
    ++picks;
  }
  Servers& servers;
  std::uint64_t picks = 0;
  int failures = 0;
};

}  // namespace

TEST_CASE("a balancer made in one shared library may be used from another") {
  CHECK(left::domain() == right::domain());
  CHECK(left::domain() == &poise::sync::detail::domain);
  CHECK(left::thread_index() == right::thread_index());
  tests::Census census;
  {
    auto const servers = left::make(census);
    tests::Team<Client> clients{2, *servers};
    for (tests::Rounds rounds{100}; rounds.next();) {
      left::change(*servers);
      right::change(*servers);
    }
    for (auto const& client : clients.stop()) {
      CHECK(client.picks > 0);
      CHECK(client.failures == 0);
    }
    servers->tick();
    CHECK(servers->stats().retired_snapshots == 0);
    CHECK(census.alive() == 2);
  }
  CHECK(census.alive() == 0);
}
