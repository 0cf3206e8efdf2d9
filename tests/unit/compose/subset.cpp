// SPDX-License-Identifier: MIT
// Subset: each client uses k of n backends, all backends evenly, and a change moves little.

#include <poise/compose/subset.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <poise/balancer.hpp>
#include <poise/compose/subset_assignment.hpp>
#include <poise/policy/power_of_two.hpp>
#include <poise/policy/round_robin.hpp>

#include "support/catch.hpp"
#include "support/clock.hpp"
#include "support/compositions.hpp"
#include "support/servers.hpp"
#include "support/text.hpp"

namespace unit_compose_subset {

using poise::HealthState;
using poise::Subset;
using poise::SubsetOptions;
using tests::mentions;
using tests::thrown;

namespace {

std::string address(std::uint32_t i) {
  return "10.0." + std::to_string(i / 250) + "." + std::to_string(i % 250) + ":80";
}

std::vector<std::uint64_t> hashes(std::uint32_t count) {
  std::vector<std::uint64_t> result;
  for (std::uint32_t i = 0; i < count; ++i)
    result.push_back(poise::detail::stable_hash(address(i)));
  return result;
}

std::vector<std::uint64_t> keys(std::uint32_t clients) {
  std::vector<std::uint64_t> result;
  for (std::uint32_t i = 0; i < clients; ++i) result.push_back(poise::detail::client_key(i));
  return result;
}

struct Fleet {
  std::uint32_t backends;
  std::uint32_t clients;
  std::uint32_t size;
  [[nodiscard]] double share() const { return double{1} * clients * size / backends; }
};

struct Coverage {
  std::uint32_t least;
  std::uint32_t most;
  bool operator==(Coverage const&) const = default;
};

Coverage coverage(std::vector<std::vector<std::uint32_t>> const& used, std::size_t backends) {
  std::vector<std::uint32_t> counts(backends);
  for (auto const& each : used)
    for (auto const position : each) ++counts[position];
  auto const [least, most] = std::minmax_element(counts.begin(), counts.end());
  return {*least, *most};
}

struct Moves {
  double mean;  // in 1/n of all pairs
  double most;
};

/// How many pairs of client and backend are new when one of `trials` backends leaves, and as many
/// are when it joins again: their number does not change.
Moves moves(Fleet fleet, std::uint32_t trials) {
  auto const all = hashes(fleet.backends);
  auto const before = poise::detail::assign_subsets(all, keys(fleet.clients), fleet.size);
  Moves result{};
  for (std::uint32_t trial = 0; trial < trials; ++trial) {
    auto const gone = static_cast<std::uint32_t>(std::uint64_t{trial} * fleet.backends / trials);
    auto without = all;
    without.erase(without.begin() + gone);
    auto const after = poise::detail::assign_subsets(without, keys(fleet.clients), fleet.size);
    double moved = 0;
    for (std::uint32_t client = 0; client < fleet.clients; ++client)
      for (auto const position : after[client])
        if (!std::binary_search(before[client].begin(), before[client].end(),
                                position + (position >= gone ? 1U : 0U)))
          ++moved;
    result.mean += moved / fleet.share() / trials;
    result.most = std::max(result.most, moved / fleet.share());
  }
  return result;
}

std::vector<poise::Endpoint> backends(std::uint32_t count) {
  std::vector<poise::Endpoint> result;
  for (std::uint32_t i = 0; i < count; ++i) result.push_back({.id = address(i)});
  return result;
}

tests::AnyServers balancer_of(SubsetOptions options, std::vector<poise::Endpoint> endpoints) {
  return tests::servers_with(Subset<poise::RoundRobin>{options}, std::move(endpoints));
}

/// The backends that the next picks go to.
template <class Balancer>
std::set<std::string> used_by(Balancer& balancer, int picks = 100) {
  std::set<std::string> result;
  for (int i = 0; i < picks; ++i)
    if (auto lease = balancer.pick()) result.insert(lease->id());
  return result;
}

}  // namespace

// -- who uses whom -------------------------------------------------------------------------------

TEST_CASE("1000 backends are covered evenly by 300 clients of 20 each") {
  // 300 * 20 / 1000 = 6, give or take one.
  auto const used = poise::detail::assign_subsets(hashes(1000), keys(300), 20);
  auto const [least, most] = coverage(used, 1000);
  CHECK(least >= 5);
  CHECK(most <= 7);
  for (auto const& each : used) {
    REQUIRE(each.size() == 20);
    REQUIRE(std::set<std::uint32_t>(each.begin(), each.end()).size() == 20);
  }
}

TEST_CASE("coverage stays within the slack for fleets of any shape") {
  for (Fleet const fleet :
       {Fleet{1000, 300, 20}, Fleet{999, 300, 20}, Fleet{1001, 300, 20}, Fleet{700, 300, 20},
        Fleet{100, 300, 20}, Fleet{25, 300, 20}, Fleet{300, 50, 10}, Fleet{1000, 30, 20},
        Fleet{7, 100, 3}, Fleet{50, 1, 20}, Fleet{2000, 500, 1}, Fleet{21, 1000, 20}}) {
    CAPTURE(fleet.backends, fleet.clients, fleet.size);
    auto const used =
        poise::detail::assign_subsets(hashes(fleet.backends), keys(fleet.clients), fleet.size);
    auto const share = static_cast<std::uint64_t>(fleet.share() + 0.5);
    auto const slack = poise::detail::assignment_slack(share);
    auto const [least, most] = coverage(used, fleet.backends);
    CHECK(least + slack >= share);
    CHECK(most <= share + slack);
  }
}

TEST_CASE("a backend that joins or leaves moves less than 2 in n of all pairs on average") {
  // The least possible is 1 in n, which is what the backend itself has; the rest are chains.
  for (Fleet const fleet :
       {Fleet{1000, 300, 20}, Fleet{900, 300, 20}, Fleet{700, 300, 20}, Fleet{300, 300, 20},
        Fleet{100, 300, 20}, Fleet{1000, 100, 20}, Fleet{50, 30, 10}}) {
    CAPTURE(fleet.backends, fleet.clients, fleet.size);
    auto const [mean, most] = moves(fleet, 50);
    CAPTURE(mean, most);
    CHECK(mean <= 2);
    CHECK(most <= 3);
  }
}

TEST_CASE("any backend that joins or leaves moves few pairs") {
  // 100 of 1000 backends; 97 of 100 move at most 2 in n, the longest chains nearly 3.
  auto const [mean, most] = moves({1000, 300, 20}, 100);
  CAPTURE(mean, most);
  CHECK(mean <= 1.6);
  CHECK(most <= 3);
}

TEST_CASE("where the rounded share changes a join moves an eighth of all pairs at most") {
  // 6000 / 923 = 6.5005 is 7, 6000 / 924 is 6.
  auto const [mean, most] = moves({924, 300, 20}, 3);
  CAPTURE(mean, most);
  CHECK(most / 924 < 0.125);
}

TEST_CASE("clients agree whatever the order of the backends") {
  auto const all = hashes(100);
  auto reversed = all;
  std::reverse(reversed.begin(), reversed.end());
  auto const left = poise::detail::assign_subsets(all, keys(30), 10);
  auto const right = poise::detail::assign_subsets(reversed, keys(30), 10);
  for (std::size_t client = 0; client < 30; ++client) {
    std::set<std::uint64_t> of_left;
    std::set<std::uint64_t> of_right;
    for (auto const position : left[client]) of_left.insert(all[position]);
    for (auto const position : right[client]) of_right.insert(reversed[position]);
    REQUIRE(of_left == of_right);
  }
}

TEST_CASE("the hash that clients agree on is the same everywhere") {
  // FNV-1a of "" and "a" as published, then splitmix64's finaliser.
  using poise::detail::mix;
  using poise::detail::stable_hash;
  STATIC_REQUIRE(stable_hash("") == mix(0xcbf29ce484222325U));
  STATIC_REQUIRE(stable_hash("a") == mix(0xaf63dc4c8601ec8cU));
  STATIC_REQUIRE(stable_hash("\xff") == mix(0xaf64724c8602eb6eU));
}

// -- with a balancer -----------------------------------------------------------------------------

TEST_CASE("each client picks among its own and all together among all") {
  std::set<std::string> all;
  for (std::uint32_t client = 0; client < 10; ++client) {
    auto balancer = balancer_of({.client = client, .clients = 10, .size = 4}, backends(20));
    auto const used = used_by(balancer);
    CHECK(used.size() == 4);
    all.insert(used.begin(), used.end());
  }
  CHECK(all.size() == 20);
}

TEST_CASE("the order of the endpoints does not matter to a client") {
  auto endpoints = backends(50);
  auto balancer = balancer_of({.client = 3, .clients = 10, .size = 5}, endpoints);
  auto const used = used_by(balancer);
  std::reverse(endpoints.begin(), endpoints.end());
  balancer.update(endpoints);
  CHECK(used_by(balancer) == used);
}

TEST_CASE("of no more backends than asked for all are used") {
  auto many = balancer_of({.client = 1, .clients = 3, .size = 20}, backends(5));
  CHECK(used_by(many).size() == 5);
  auto just = balancer_of({.client = 1, .clients = 3, .size = 5}, backends(5));
  CHECK(used_by(just).size() == 5);
}

TEST_CASE("a backend that is out is stood in for until it is back") {
  auto balancer = balancer_of({.client = 1, .clients = 10, .size = 4}, backends(20));
  auto const own = used_by(balancer);
  auto const out = *own.begin();
  balancer.set_health(out, HealthState::unhealthy);
  auto const meanwhile = used_by(balancer);
  CHECK(meanwhile.size() == 4);
  CHECK(meanwhile.count(out) == 0);
  std::size_t kept = 0;
  for (auto const& each : own) kept += meanwhile.count(each);
  CHECK(kept == 3);
  balancer.set_health(out, HealthState::healthy);
  CHECK(used_by(balancer) == own);
}

TEST_CASE("if all of a client's backends are out the next in its order serve") {
  auto balancer = balancer_of({.client = 1, .clients = 10, .size = 4}, backends(20));
  auto const own = used_by(balancer);
  for (auto const& each : own) balancer.drain(each);
  auto const next = used_by(balancer);
  CHECK(next.size() == 4);
  for (auto const& each : own) CHECK(next.count(each) == 0);
  for (std::uint32_t i = 0; i < 20; ++i) balancer.set_health(address(i), HealthState::unhealthy);
  CHECK(used_by(balancer).empty());
  for (auto const& each : own) balancer.undrain(each);
  CHECK(used_by(balancer).empty());
  balancer.set_health(address(7), std::nullopt);
  CHECK(used_by(balancer) == std::set{address(7)});
}

TEST_CASE("clients whose backends fail do not all turn to the same one") {
  // One backend is out; its clients' stand-ins are different ones.
  std::set<std::string> stand_ins;
  std::size_t bereft = 0;
  for (std::uint32_t client = 0; client < 60; ++client) {
    auto balancer = balancer_of({.client = client, .clients = 60, .size = 4}, backends(20));
    auto const own = used_by(balancer);
    if (own.count(address(5)) == 0) continue;
    ++bereft;
    balancer.drain(address(5));
    for (auto const& each : used_by(balancer))
      if (own.count(each) == 0) stand_ins.insert(each);
  }
  CHECK(bereft >= 10);
  CHECK(stand_ins.size() >= 6);
}

TEST_CASE("a subset is never left") {
  auto balancer = balancer_of({.client = 1, .clients = 10, .size = 2}, backends(10));
  auto const own = used_by(balancer);
  std::vector<std::uint64_t> excluded;
  for (auto const& each : own) excluded.push_back(tests::stats_of(balancer, each).serial);
  auto const lease = balancer.pick({.excluded = excluded});
  REQUIRE(lease);
  CHECK(lease.repeated());
  CHECK(own.count(lease->id()) == 1);
  for (auto const& each : own) balancer.set_admission(each, {.max_in_flight = 0});
  CHECK_FALSE(balancer.pick());
}

TEST_CASE("the policy of a subset keeps its state and is notified of each outcome once") {
  tests::Probe<> const probe;
  auto balancer = tests::servers_with(
      Subset<tests::Probe<>>{{.client = 1, .clients = 5, .size = 4}, probe}, backends(20));
  (void)tests::picks(balancer, 20);
  auto endpoints = backends(22);
  std::rotate(endpoints.begin(), endpoints.begin() + 7, endpoints.end());
  balancer.update(endpoints);
  for (std::uint32_t i = 0; i < 10; ++i) balancer.drain(address(i));
  (void)tests::picks(balancer, 20);
  CHECK(probe.log->ends == 40);
  CHECK(probe.log->mistakes == 0);
}

TEST_CASE("wrong subset options are refused with the offending value") {
  auto const refusal = [](SubsetOptions options) {
    return thrown<poise::ConfigError>([&] { Subset<poise::RoundRobin>{options}; });
  };
  CHECK(mentions(refusal({.client = 0, .clients = 3, .size = 0}), "size of Subset is 0"));
  CHECK(mentions(refusal({.client = 3, .clients = 3, .size = 2}), "client of Subset is 3 of 3"));
  CHECK(mentions(refusal({.client = 0, .clients = 0, .size = 2}), "client of Subset is 0 of 0"));
}

TEST_CASE("a subset is named after its inner policy") {
  CHECK(poise::hooks::name(Subset<poise::P2C>{{.size = 3}}) == "subset(p2c)");
}

}  // namespace unit_compose_subset
