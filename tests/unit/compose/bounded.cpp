// SPDX-License-Identifier: MIT
// Bounded loads: HAProxy's slots, at every admission, whatever the interleaving.

#include <poise/compose/bounded.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <poise/balancer.hpp>
#include <poise/compose/failover.hpp>
#include <poise/compose/priority_router.hpp>
#include <poise/compose/retry.hpp>
#include <poise/hashing/dialect/haproxy.hpp>
#include <poise/hashing/dialect/nginx.hpp>
#include <poise/policy/hash_ring.hpp>
#include <poise/policy/maglev.hpp>
#include <poise/policy/rendezvous.hpp>
#include <poise/policy/round_robin.hpp>

#include "support/catch.hpp"
#include "support/servers.hpp"
#include "support/stage.hpp"
#include "support/stress.hpp"
#include "support/text.hpp"

namespace unit_compose_bounded {

using poise::Bounded;
using tests::AnyServers;

namespace {

template <class P>
AnyServers balancer_of(std::vector<poise::Endpoint> endpoints) {
  return tests::servers_with(P{}, std::move(endpoints));
}

/// HAProxy's rule in its own words, with 16 weight units to one of the configuration.
std::uint64_t haproxy_slots(std::vector<std::uint32_t> const& weights, std::size_t server,
                            std::uint64_t served, std::uint64_t factor) {
  std::uint64_t total = 0;
  std::uint64_t before = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    total += 16 * weights[i];
    if (i < server) before += 16 * weights[i];
  }
  auto const own = 16 * std::uint64_t{weights[server]};
  auto const slots_total = ((served + 1) * factor + 99) / 100;
  auto const rest = slots_total % total;
  auto const slots =
      own * (slots_total / total) + ((before + own) * rest) / total - (before * rest) / total;
  return slots == 0 ? 1 : slots;
}

}  // namespace

TEST_CASE("slots are HAProxy's for every weight, load and factor") {
  std::vector<std::vector<std::uint32_t>> const sets{
      {1, 1, 1, 1}, {1, 2, 3}, {256, 1, 100}, {7}, {5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 1}};
  for (auto const& weights : sets) {
    tests::Backends backends{weights};
    auto const roster = backends.roster();
    poise::detail::Slots const slots{poise::Candidates{roster}};
    for (std::uint32_t const factor : {101U, 125U, 150U, 1000U})
      for (std::uint64_t served = 0; served < 3000; served += 1 + served / 20) {
        std::uint64_t sum = 0;
        for (std::size_t i = 0; i < weights.size(); ++i) {
          auto const each = slots.of(i, served, factor);
          REQUIRE(each == haproxy_slots(weights, i, served, factor));
          sum += each;
        }
        REQUIRE(sum > served);  // so some backend has room
      }
  }
}

TEST_CASE("slots of weights that sum up to more than 32 bits do not overflow") {
  tests::Backends backends{{4'000'000'000, 4'000'000'000, 1}};
  auto const roster = backends.roster();
  poise::detail::Slots const slots{poise::Candidates{roster}};
  CHECK(slots.of(0, 999, 200) == 999);
  CHECK(slots.of(1, 999, 200) == 1000);
  CHECK(slots.of(2, 999, 200) == 1);
}

namespace {

void check_hot_key(AnyServers balancer) {
  auto const name = balancer.name();
  CAPTURE(name);
  poise::Request const hot{.route_key = "hot"};
  auto const home = balancer.pick(hot)->id();
  std::vector<AnyServers::Lease> leases;
  std::vector<std::uint32_t> const weights(10, 1);
  for (std::uint64_t served = 0; served < 200; ++served) {
    leases.push_back(balancer.pick(hot));
    auto const position = std::stoul(leases.back()->id());
    REQUIRE(leases.back()->in_flight() <= haproxy_slots(weights, position, served, 125));
  }
  std::map<std::string, int> held;
  for (auto const& lease : leases) ++held[lease->id()];
  CHECK(held[home] == 25);  // 1.25 times 200 / 10
  leases.clear();
  CHECK(balancer.pick(hot)->id() == home);
}

}  // namespace

TEST_CASE("one hot key fills its backend to the bound, then the next ones, and returns") {
  auto const ten = tests::numbered(10);
  check_hot_key(balancer_of<Bounded<poise::HashRing<>>>(ten));
  check_hot_key(balancer_of<Bounded<poise::HashRing<poise::dialect::Nginx>>>(ten));
  check_hot_key(balancer_of<Bounded<poise::HashRing<poise::dialect::Haproxy>>>(ten));
  check_hot_key(balancer_of<Bounded<poise::Maglev>>(ten));
  check_hot_key(balancer_of<Bounded<poise::Rendezvous>>(ten));
}

TEST_CASE("a request that a full backend refuses goes to the key's next backend") {
  using Ring = poise::HashRing<poise::dialect::Nginx>;
  auto bounded = balancer_of<Bounded<Ring>>(tests::numbered(20));
  auto plain = balancer_of<Ring>(tests::numbered(20));
  auto const home = plain.pick({.route_key = "hot"})->id();
  auto const first = bounded.pick({.route_key = "hot"});
  auto const second = bounded.pick({.route_key = "hot"});  // 2 * 1.25 / 20: one slot each
  CHECK(first->id() == home);
  plain.drain(home);
  CHECK(second->id() == plain.pick({.route_key = "hot"})->id());
}

TEST_CASE("sixty full backends are passed over, not only the eight that a context remembers") {
  auto balancer = balancer_of<Bounded<poise::HashRing<>>>(tests::numbered(100));
  std::vector<AnyServers::Lease> leases;
  std::vector<std::string> order;
  for (int i = 0; i < 60; ++i) {  // one slot each, so each one is the next on the ring
    leases.push_back(balancer.pick({.route_key = "hot"}));
    order.push_back(leases.back()->id());
  }
  leases.clear();
  for (int i = 0; i < 60; ++i) {
    leases.push_back(balancer.pick({.route_key = "hot"}));
    REQUIRE(leases.back()->id() == order[static_cast<std::size_t>(i)]);
  }
}

TEST_CASE("a single backend takes everything") {
  auto balancer = balancer_of<Bounded<poise::Maglev>>(tests::numbered(1));
  std::vector<AnyServers::Lease> leases;
  for (int i = 0; i < 1000; ++i) {
    leases.push_back(balancer.pick({.route_key = "hot"}));
    REQUIRE(leases.back());
  }
}

TEST_CASE("policies that map no keys can be bounded too") {
  auto balancer =
      balancer_of<Bounded<poise::RoundRobin>>({{.id = "a", .weight = 9}, {.id = "b", .weight = 1}});
  std::vector<AnyServers::Lease> leases;
  for (int i = 0; i < 100; ++i) leases.push_back(balancer.pick());
  std::map<std::string, int> held;
  for (auto const& lease : leases) ++held[lease->id()];
  CHECK(held["a"] + held["b"] == 100);
  CHECK(held["b"] <= 13);  // (100 * 125 + 99) / 100 / 10
}

TEST_CASE("requests that a former policy let in count until they end") {
  using P = Bounded<poise::HashRing<>>;
  auto balancer = balancer_of<P>(tests::numbered(4));
  std::vector<AnyServers::Lease> leases;
  for (int i = 0; i < 40; ++i) leases.push_back(balancer.pick({.route_key = "hot"}));
  balancer.set_policy(poise::AnyPolicy{P{}});
  for (int i = 0; i < 40;
       ++i) {  // S starts at 40, otherwise all backends would be far above the bound
    leases.push_back(balancer.pick({.route_key = "hot"}));
    REQUIRE(leases.back()->in_flight() <= 25);
  }
  leases.clear();
  std::map<std::string, int> held;
  for (int i = 0; i < 8; ++i) {
    leases.push_back(balancer.pick({.route_key = "hot"}));
    ++held[leases.back()->id()];
  }
  for (auto const& [id, count] : held) CHECK(count <= 3);  // S is 8 again, not 8 and some old ones
}

TEST_CASE("requests recorded out of band are not taken off the total") {
  auto balancer = balancer_of<Bounded<poise::HashRing<>>>(tests::numbered(4));
  std::vector<AnyServers::Lease> leases;
  for (int i = 0; i < 20; ++i) leases.push_back(balancer.pick({.route_key = "hot"}));
  for (int i = 0; i < 50; ++i) balancer.record("0", poise::Result::success);
  std::map<std::string, int> held;
  for (auto const& lease : leases) ++held[lease->id()];
  auto const before = held;
  leases.push_back(balancer.pick({.route_key = "hot"}));
  CHECK(leases.back());
  CHECK(leases.back()->in_flight() <= 7);  // (21 * 125 + 99) / 100 / 4
}

namespace {

/// Takes `count` leases of one key, and checks that each one keeps to the bound.
void check_bound(AnyServers& balancer, std::size_t count, std::uint64_t others = 0) {
  std::vector<AnyServers::Lease> leases;
  std::map<std::string, std::uint64_t> held;
  auto const backends = balancer.stats().backends.size();
  for (std::uint64_t i = 0; i < count; ++i) {
    leases.push_back(balancer.pick({.route_key = "hot"}));
    REQUIRE(leases.back());
    CAPTURE(i, leases.back()->id());
    REQUIRE(++held[leases.back()->id()] <= ((i + others + 1) * 125 + 99) / 100 / backends + 1);
  }
}

}  // namespace

TEST_CASE("the bound holds after all backends were removed with requests in flight") {
  auto balancer = balancer_of<Bounded<poise::HashRing<>>>(tests::numbered(4));
  std::vector<AnyServers::Lease> leases;
  for (int i = 0; i < 200; ++i) leases.push_back(balancer.pick({.route_key = "hot"}));
  balancer.clear();
  balancer.update(tests::numbered(4));
  check_bound(balancer, 40);
  leases.clear();
  check_bound(balancer, 40);
}

TEST_CASE("the bound counts requests that other priorities sent") {
  using Router =
      poise::PriorityRouter<Bounded<poise::Maglev>, poise::RoundRobin, poise::RoundRobin>;
  auto balancer = balancer_of<Router>(tests::numbered(4));
  std::vector<AnyServers::Lease> leases;
  for (int i = 0; i < 40; ++i) leases.push_back(balancer.pick());
  for (int i = 0; i < 8; ++i) {
    leases.push_back(balancer.pick({.route_key = "hot", .priority = poise::Priority::high}));
    CAPTURE(i);
    REQUIRE(leases.back());
    REQUIRE(leases.back()->in_flight() <= 16);  // (48 * 125 + 99) / 100 / 4, rounded up
  }
}

TEST_CASE("the bound holds however often the policy changes under load") {
  using P = Bounded<poise::HashRing<>>;
  auto balancer = balancer_of<P>(tests::numbered(4));
  std::vector<AnyServers::Lease> leases;
  for (int round = 0; round < 5; ++round) {
    for (int i = 0; i < 40; ++i) leases.push_back(balancer.pick({.route_key = "hot"}));
    if (round % 2 == 0) balancer.set_policy(poise::AnyPolicy{poise::RoundRobin{}});
    leases.erase(leases.begin(), leases.begin() + 15);
    balancer.set_policy(poise::AnyPolicy{P{}});
    for (int i = 0; i < 25; ++i) balancer.record("0", poise::Result::success);
  }
  auto const before = leases.size();
  auto const next = balancer.pick({.route_key = "hot"});
  REQUIRE(next);
  CHECK(next->in_flight() <= ((before + 1) * 125 + 99) / 100 / 4 + 1);
  leases.clear();
  check_bound(balancer, 40, 1);
}

TEST_CASE("each tier has a bound of its own") {
  using P = poise::Failover<Bounded<poise::HashRing<>>>;
  auto endpoints = tests::numbered(8);
  for (std::size_t i = 4; i < 8; ++i) endpoints[i].tier = 1;
  auto balancer = balancer_of<P>(endpoints);
  std::vector<AnyServers::Lease> leases;
  for (std::size_t i = 0; i < 4; ++i)
    balancer.set_health(std::to_string(i), poise::HealthState::unhealthy);
  for (int i = 0; i < 200; ++i) leases.push_back(balancer.pick({.route_key = "hot"}));
  for (std::size_t i = 0; i < 4; ++i)
    balancer.set_health(std::to_string(i), poise::HealthState::healthy);
  for (std::uint64_t i = 0; i < 8; ++i) {
    leases.push_back(balancer.pick({.route_key = "hot"}));
    CAPTURE(i, leases.back()->id());
    REQUIRE(std::stoul(leases.back()->id()) < 4);
    REQUIRE(leases.back()->in_flight() <= ((i + 1) * 125 + 99) / 100 / 4 + 1);
  }
}

namespace {

/// A keyed policy with a state per backend, so that it is not notified about removed backends.
struct WithState : poise::HashRing<> {
  struct State {
    int unused = 0;
  };
};

}  // namespace

TEST_CASE("requests of a removed backend leave the total with it") {
  auto balancer = balancer_of<Bounded<WithState>>(tests::numbered(5));
  std::vector<AnyServers::Lease> gone;
  std::vector<AnyServers::Lease> leases;
  auto const home = balancer.pick({.route_key = "hot"})->id();
  for (int i = 0; i < 50; ++i) leases.push_back(balancer.pick({.route_key = "hot"}));
  balancer.remove(home);
  leases.clear();
  std::map<std::string, int> held;
  for (int i = 0; i < 8; ++i) {
    leases.push_back(balancer.pick({.route_key = "hot"}));
    ++held[leases.back()->id()];
  }
  for (auto const& [id, count] : held) CHECK(count <= 3);
}

TEST_CASE("the bound holds after backends with state come and go under load") {
  auto balancer = balancer_of<Bounded<WithState>>(tests::numbered(5));
  std::vector<AnyServers::Lease> leases;
  for (int round = 0; round < 20; ++round) {
    for (int i = 0; i < 20; ++i) leases.push_back(balancer.pick({.route_key = "hot"}));
    auto const id = std::to_string(round % 5);
    balancer.remove(id);
    leases.erase(leases.begin(), leases.begin() + 10);
    balancer.add({.id = id, .address = id});
  }
  leases.clear();
  check_bound(balancer, 40);
}

TEST_CASE("two threads never go above the bound at admission") {
  // Each holds at most 8 requests, so S is at most 15 at any admission: 20 slots over 4 backends.
  constexpr std::size_t held_by_each = 8;
  constexpr int most = 5;
  auto balancer = balancer_of<Bounded<poise::HashRing<>>>(tests::numbered(4));
  std::array<std::atomic<int>, 4> admitted{};
  std::atomic<bool> stop{false};
  std::atomic<int> above{0};
  std::atomic<int> refused{0};
  auto const work = [&](std::uint64_t seed) {
    std::vector<AnyServers::Lease> leases;
    auto const end_last = [&] {
      --admitted[std::stoul(leases.back()->id())];  // before the request ends, never after
      leases.pop_back();
    };
    while (!stop.load()) {
      seed = seed * 6364136223846793005U + 1442695040888963407U;
      if (leases.size() < held_by_each && (seed >> 40U) % 3 != 0) {
        auto lease = balancer.pick({.route_key = "hot"});
        if (!lease) {
          ++refused;
          continue;
        }
        auto const position = std::stoul(lease->id());
        if (++admitted[position] > most) ++above;
        leases.push_back(std::move(lease));
      } else if (!leases.empty()) {
        std::swap(leases[(seed >> 33U) % leases.size()], leases.back());
        end_last();
      }
    }
    while (!leases.empty()) end_last();  // the other thread may be picking still
  };
  std::thread one{work, 1};
  std::thread two{work, 2};
  std::this_thread::sleep_for(poise::test::stress_time());
  stop = true;
  one.join();
  two.join();
  CHECK(above == 0);
  CHECK(refused == 0);
  // Nothing was lost or counted twice: the total is 0 again, so 4 requests fill 4 backends.
  std::vector<AnyServers::Lease> leases;
  std::map<std::string, int> held;
  for (int i = 0; i < 3; ++i) {
    leases.push_back(balancer.pick({.route_key = "hot"}));
    ++held[leases.back()->id()];
  }
  CHECK(held.size() == 3);
}

TEST_CASE("a tally adds only to what was read") {
  poise::sync::Tally tally;
  auto const first = tally.read();
  CHECK(tally.add_if_unchanged(first));
  CHECK(tally.read().count() == 1);
  CHECK_FALSE(tally.add_if_unchanged(first));
  auto const second = tally.read();
  CHECK(tally.add_if_unchanged(tally.read()));
  tally.remove();
  CHECK(tally.read().count() == second.count());
  CHECK_FALSE(tally.add_if_unchanged(second));  // the same count, but not the same moment
  CHECK(tally.set_if_unchanged(tally.read(), 7));
  CHECK(tally.read().count() == 7);
}

TEST_CASE("bounded refuses a factor that admits nothing") {
  for (std::uint32_t const percent : {0U, 99U, 100U})
    CHECK(tests::mentions(tests::thrown<poise::ConfigError>(
                              [&] { (void)Bounded<poise::Maglev>{{.percent = percent}}; }),
                          "percent of Bounded is " + std::to_string(percent)));
}

TEST_CASE("bounded composes with retry and dialects, and says so") {
  using P = poise::Retry<Bounded<poise::HashRing<poise::dialect::Nginx>>>;
  auto balancer = balancer_of<P>(tests::numbered(3));
  CHECK(balancer.name() == "retry(bounded(nginx))");
  CHECK(poise::hooks::traits(P{}).keyed);
  CHECK(balancer.pick({.route_key = "k"}));
}

}  // namespace unit_compose_bounded
