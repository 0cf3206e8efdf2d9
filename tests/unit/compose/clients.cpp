// SPDX-License-Identifier: MIT
// The clients of a service as they come and go: who they are, and what Subset and ZoneAware make of
// it.

#include <poise/compose/clients.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <poise/compose/subset.hpp>
#include <poise/compose/zone_aware.hpp>
#include <poise/discovery/feed.hpp>
#include <poise/poise.hpp>

#include "support/catch.hpp"
#include "support/text.hpp"

namespace unit_compose_clients {

using poise::Clients;
using poise::Endpoint;
using tests::mentions;
using tests::thrown;

namespace {

using Ids = std::vector<std::string>;
using Subset = poise::Subset<poise::RoundRobin>;
using Zoned = poise::ZoneAware<poise::RoundRobin>;

std::vector<Endpoint> named(std::string const& prefix, std::size_t count) {
  std::vector<Endpoint> result;
  for (std::size_t i = 0; i < count; ++i) result.push_back({.id = prefix + std::to_string(i)});
  return result;
}

std::vector<std::uint64_t> hashes(std::vector<Endpoint> const& endpoints) {
  std::vector<std::uint64_t> result;
  for (auto const& each : endpoints) result.push_back(poise::detail::stable_hash(each.id));
  return result;
}

template <class Balancer>
std::set<std::string> used_by(Balancer& balancer) {
  std::set<std::string> result;
  for (std::size_t i = 0; i < 2 * balancer.stats().backends.size(); ++i)
    result.insert(balancer.pick()->id());
  return result;
}

std::size_t common(std::vector<std::uint32_t> const& a, std::vector<std::uint32_t> const& b) {
  std::vector<std::uint32_t> both;
  std::set_intersection(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(both));
  return both.size();
}

}  // namespace

TEST_CASE("clients: each is counted once, this one in any case") {
  Clients clients{"b"};
  CHECK(clients.view() == nullptr);
  CHECK(clients.set({}));
  CHECK(clients.view()->ids == Ids{"b"});
  CHECK(clients.set({{.id = "c", .zone = "z"}, {.id = "a"}, {.id = "c", .zone = "z"}}));
  CHECK(clients.view()->ids == Ids{"a", "b", "c"});
  CHECK(clients.view()->self == 1);
  CHECK(clients.set({{.address = "10.0.0.1:80", .zone = "z"}, {.id = "b", .zone = "y"}}));
  CHECK(clients.view()->ids == Ids{"10.0.0.1:80", "b"});
  CHECK(clients.view()->zones == std::map<std::string, double>{{"y", 1}, {"z", 1}});
}

TEST_CASE("clients: an order or a weight is no change, and copies share one list") {
  Clients clients{"a"};
  auto const copy = clients;
  CHECK(clients.set({{.id = "a"}, {.id = "b"}}));
  CHECK_FALSE(clients.set({{.id = "b", .weight = 7}, {.id = "a"}}));
  CHECK(copy.view() == clients.view());
}

TEST_CASE("clients without a name have no list") {
  CHECK(
      mentions(thrown<poise::ConfigError>([] { (void)Clients{}.set({}); }), "Clients{\"web-17\"}"));
  CHECK(mentions(thrown<poise::ConfigError>([] { Clients{""}; }), "the id of this client is \"\""));
  CHECK(Clients{}.view() == nullptr);
}

TEST_CASE("live clients: all together use each backend about equally, whoever they are") {
  std::size_t const size = 4;
  auto const fleet = named("client-", 30);
  std::map<std::string, std::size_t> users;
  for (auto const& each : fleet) {
    Clients clients{each.id};
    REQUIRE(clients.set(fleet));
    poise::Balancer<Subset> balancer{named("backend-", 40),
                                     Subset{{.size = size, .live = clients}}};
    auto const used = used_by(balancer);
    CHECK(used.size() == size);
    for (auto const& id : used) ++users[id];
  }
  CHECK(users.size() == 40);  // 30 clients of 4 among 40: 3 each, give or take 1
  for (auto const& [id, count] : users) CHECK((count >= 2 && count <= 4));
}

TEST_CASE("live clients: a list takes effect at replan(), and before it numbers count") {
  Clients clients{"client-7"};
  Subset const numbered{{.client = 7, .clients = 30, .size = 4}};
  poise::Balancer<Subset> fixed{named("backend-", 40), numbered};
  poise::Balancer<Subset> live{named("backend-", 40),
                               Subset{{.client = 7, .clients = 30, .size = 4, .live = clients}}};
  CHECK(used_by(live) == used_by(fixed));
  REQUIRE(clients.set(named("client-", 25)));
  live.replan();
  CHECK(used_by(live).size() == 4);
  CHECK(used_by(live) != used_by(fixed));
}

TEST_CASE("live clients: one that comes or goes moves few backends of the others") {
  // n = 20 leaves of one among 300 clients that use 20 of 1000 backends, and as many joins.
  auto const backends = hashes(named("10.0.0.", 1000));
  auto const all = hashes(named("client-", 300));
  auto const before = poise::detail::assign_subsets(backends, all, 20);
  double moved = 0;
  std::size_t most = 0;
  for (std::size_t trial = 0; trial < 20; ++trial) {
    auto const gone = trial * 15;
    auto without = all;
    without.erase(without.begin() + static_cast<std::ptrdiff_t>(gone));
    auto const after = poise::detail::assign_subsets(backends, without, 20);
    std::size_t pairs = 0;
    for (std::size_t client = 0; client < without.size(); ++client)
      pairs += 20 - common(before[client < gone ? client : client + 1], after[client]);
    moved += static_cast<double>(pairs) / 20;
    most = std::max(most, pairs);
  }
  INFO("mean " << moved << ", most " << most);
  CHECK(moved <= 30);  // of 5980 pairs; the leaving one had 20
  CHECK(most <= 60);
}

TEST_CASE("live clients: the spread over zones follows them") {
  Clients clients{"a0"};
  std::vector<Endpoint> const backends{{.id = "1", .zone = "a"}, {.id = "2", .zone = "b"}};
  poise::Balancer<Zoned> balancer{backends, Zoned{{.local = "a", .live = clients}}};
  auto const share_of_a = [&] {
    int local = 0;
    for (int i = 0; i < 3000; ++i) local += balancer.pick()->zone() == "a" ? 1 : 0;
    return local / 3000.0;
  };
  CHECK(share_of_a() == 1);
  REQUIRE(clients.set({{.id = "a0", .zone = "a"},
                       {.id = "a1", .zone = "a"},
                       {.id = "a2", .zone = "a"},
                       {.id = "b0", .zone = "b"}}));
  balancer.replan();
  // a has half of the capacity and three quarters of the clients: two thirds stay. Standard
  // deviation 0.009.
  CHECK(std::abs(share_of_a() - 2.0 / 3) < 0.05);
  REQUIRE(clients.set({{.id = "b0", .zone = "b"}}));  // this one is not registered yet
  balancer.replan();
  CHECK(share_of_a() == 1);
}

TEST_CASE("live clients: a sink replans all balancers, again if one of them threw") {
  Clients clients{"client-1"};
  Subset const policy{{.size = 2, .live = clients}};
  poise::Balancer<Subset> one{named("x", 20), policy};
  poise::Balancer<Subset> other{named("y", 20), policy};
  struct Failing {
    int left = 1;
    int replans = 0;
    void replan() {
      if (left-- > 0) throw std::runtime_error{"not now"};
      ++replans;
    }
  } failing;
  auto const sink = poise::discovery::clients_into(clients, one, failing, other);
  auto const before = used_by(other);
  CHECK_THROWS(sink(named("client-", 12)));
  CHECK(used_by(other) == before);
  sink(named("client-", 12));
  CHECK(failing.replans == 1);
  CHECK(used_by(other) != before);
  sink(named("client-", 12));
  CHECK(failing.replans == 1);
}

TEST_CASE("replan() keeps what is counted, drained and in flight") {
  poise::Balancer<poise::LeastConnections> balancer{named("x", 3)};
  auto const lease = balancer.pick();
  balancer.drain("x2");
  balancer.replan();
  auto const stats = balancer.stats();
  CHECK(stats.backends[2].drained);
  CHECK(lease->in_flight() == 1);
}

}  // namespace unit_compose_clients
