// SPDX-License-Identifier: MIT
// The native ring: strictly minimal movement, even enough shares, flips that build nothing.

#include <poise/policy/hash_ring.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <poise/balancer.hpp>
#include <poise/hash/xxhash.hpp>
#include <poise/hashing/dialect/envoy.hpp>
#include <poise/hashing/dialect/haproxy.hpp>
#include <poise/hashing/dialect/libketama.hpp>
#include <poise/hashing/dialect/memcached.hpp>
#include <poise/hashing/dialect/nginx.hpp>

#include <poise/policy/hash_list.hpp>

#include "support/catch.hpp"
#include "support/keys.hpp"
#include "support/servers.hpp"
#include "support/stage.hpp"
#include "support/text.hpp"

namespace unit_policy_hash_ring {

using poise::HashRing;
using tests::AnyServers;
using tests::mentions;
using tests::owners;
namespace dialect = poise::dialect;

namespace {

template <class P = HashRing<>>
AnyServers balancer_of(std::vector<poise::Endpoint> endpoints, P const& policy = {}) {
  return tests::servers_with(policy, std::move(endpoints));
}

std::vector<poise::Endpoint> addresses(std::size_t count) {
  std::vector<poise::Endpoint> result;
  for (std::size_t i = 0; i < count; ++i)
    result.push_back({.id = "10.0.0.1:" + std::to_string(1000 + i)});
  return result;
}

/// The policy, and the exact shares of its last plan.
template <class P>
struct WithShares : P {
  std::shared_ptr<std::vector<double>> last = std::make_shared<std::vector<double>>();
  using Plan = typename P::Plan;
  Plan plan(poise::Candidates const& candidates, Plan const* before) const {
    auto plan = P::plan(candidates, before);
    *last = P::shares(plan, candidates);
    return plan;
  }
};

template <class P = HashRing<>>
std::vector<double> shares_of(std::vector<poise::Endpoint> endpoints,
                              std::vector<std::string> const& down = {}, P policy = {}) {
  WithShares<P> watched{policy};
  auto const shares = watched.last;
  auto balancer = balancer_of(std::move(endpoints), std::move(watched));
  for (auto const& id : down) balancer.drain(id);
  return *shares;
}

}  // namespace

TEST_CASE("the native ring gives equal backends shares at most 10 percent above the mean") {
  for (std::size_t const backends : {100U, 1000U}) {
    auto const shares = shares_of(addresses(backends));
    CAPTURE(backends);
    CHECK(*std::max_element(shares.begin(), shares.end()) * static_cast<double>(backends) <= 1.1);
  }
}

TEST_CASE("the native ring gives shares in proportion to weight") {
  // 1024 points a unit: a standard deviation of 2.2 % at weight 1; tolerance 4 of them.
  auto const shares = shares_of({{.id = "a", .weight = 1}, {.id = "b", .weight = 10}});
  CHECK(std::abs(shares[0] * 11 - 1) < 0.09);
}

TEST_CASE("on the native ring a backend that leaves or joins moves only its own keys") {
  for (std::size_t const backends : {10U, 100U, 500U, 1000U}) {
    CAPTURE(backends);
    auto balancer = balancer_of(addresses(backends));
    auto const before = owners(balancer, 20'000);
    auto const gone = addresses(backends)[backends / 2].id;
    balancer.remove(gone);
    auto const during = owners(balancer, 20'000);
    std::size_t moved = 0;
    for (std::size_t i = 0; i < before.size(); ++i) {
      if (before[i] == gone) ++moved;
      else REQUIRE(during[i] == before[i]);
    }
    CHECK(moved > 0);
    balancer.add({.id = gone});
    CHECK(owners(balancer, 20'000) == before);
  }
}

TEST_CASE("a heavier backend takes keys from the others and gives none away") {
  auto balancer = balancer_of(addresses(20));
  auto const before = owners(balancer);
  auto const heavy = addresses(20)[3].id;
  balancer.set_weight(heavy, 3);
  auto const after = owners(balancer);
  for (std::size_t i = 0; i < before.size(); ++i)
    if (after[i] != before[i]) REQUIRE(after[i] == heavy);
  CHECK(after != before);
}

TEST_CASE("the native ring is the same whatever the order of the backends") {
  auto endpoints = addresses(50);
  auto straight = balancer_of(endpoints);
  std::reverse(endpoints.begin(), endpoints.end());
  auto backward = balancer_of(endpoints);
  CHECK(owners(straight) == owners(backward));
}

TEST_CASE("the native ring is the same in every release") {
  // Recorded once: a change here would send every user's keys elsewhere.
  auto balancer = balancer_of({{.id = "10.0.0.1:80"}, {.id = "10.0.0.2:80"}, {.id = "[::1]:80"}});
  std::string text;
  for (auto const& id : owners(balancer, 40)) text += id[id.size() - 4];
  CHECK(text == "22]1]12]21]12]]]2]]]2]]222]]21]]11121121");
  for (auto const& id : owners(balancer, 20'000)) text += id[id.size() - 4];
  CHECK(poise::hash::xxh64(text) == 0x3fa9d5092d9ac621);
}

namespace {

template <class Dialect>
void check_flip() {
  auto balancer = balancer_of(addresses(100), HashRing<Dialect>{});
  auto const before = owners(balancer);
  auto const& gone = before[0];
  balancer.drain(gone);
  auto const during = owners(balancer);
  for (std::size_t i = 0; i < before.size(); ++i) {
    if (before[i] == gone) REQUIRE(during[i] != gone);
    else REQUIRE(during[i] == before[i]);
  }
  balancer.undrain(gone);
  CHECK(owners(balancer) == before);

  tests::Stage<HashRing<Dialect>> stage{std::vector<std::uint32_t>(10, 1)};
  auto const* const table = stage.plan->get();
  stage.backends.set_eligible(3, false);
  stage.rebuild();
  CHECK(stage.plan->get() == table);
}

}  // namespace

TEST_CASE("a flip makes no ring, moves only the keys of the one that went, and is undone") {
  check_flip<dialect::Native>();
  check_flip<dialect::Nginx>();
  check_flip<dialect::Haproxy>();
  check_flip<dialect::GrpcRing>();
}

TEST_CASE("one that is out is as good as gone, where a system takes its points away") {
  std::vector<poise::Endpoint> endpoints;
  for (auto const* id : {"1", "2", "3", "4", "5", "6"})
    endpoints.push_back({.id = id, .labels = {{"id", id}}});
  auto const check = [&](auto const& policy) {
    auto drained = balancer_of(endpoints, policy);
    auto removed = balancer_of(endpoints, policy);
    for (auto const* id : {"2", "5", "4"}) {
      drained.drain(id);
      removed.remove(id);
      CHECK(owners(drained) == owners(removed));
    }
  };
  check(HashRing<>{});
  check(HashRing<dialect::Haproxy>{});
  check(HashRing<dialect::EnvoyRing>{});
}

TEST_CASE("keys follow the exact shares, also with backends out") {
  // n = 20 000 keys over 5 backends: standard deviation below 60; tolerance 5 of them.
  auto endpoints = tests::numbered(6);
  auto const check = [&](auto policy) {
    auto const shares = shares_of(endpoints, {"2"}, policy);
    auto balancer = balancer_of(endpoints, policy);
    balancer.drain("2");
    std::map<std::string, int> counts;
    for (auto const& id : owners(balancer, 20'000)) ++counts[id];
    for (std::size_t i = 0; i < 6; ++i)
      CHECK(std::abs(shares[i] * 20'000 - counts[std::to_string(i)]) < 300);
    CHECK(shares[2] == 0);
  };
  check(HashRing<>{});
  check(HashRing<dialect::Nginx>{});
  check(HashRing<dialect::Haproxy>{});
  check(HashRing<dialect::EnvoyRing>{});
}

TEST_CASE("nginx gives up after 21 points and then takes turns") {
  // One that is up beside a thousand that are down: most keys find it by its turn alone.
  std::vector<std::string> const up{"7", "8"};
  auto balancer = balancer_of(tests::numbered(1000), HashRing<dialect::Nginx>{});
  for (int i = 0; i < 1000; ++i)
    if (i != 7 && i != 8) balancer.drain(std::to_string(i));
  std::map<std::string, int> counts;
  std::string last;
  int alternations = 0;
  for (auto const& id : owners(balancer, 1000)) {
    ++counts[id];
    alternations += id == last ? 0 : 1;
    last = id;
  }
  CHECK(counts["7"] + counts["8"] == 1000);
  CHECK(alternations > 900);  // 4 % find one of the two on the ring
}

TEST_CASE("requests without a key take turns as nginx and HAProxy give them") {
  auto nginx =
      balancer_of({{.id = "a", .weight = 5}, {.id = "b"}, {.id = "c"}}, HashRing<dialect::Nginx>{});
  CHECK(tests::picks(nginx, 7) == "aabacaa");
  auto haproxy = balancer_of({{.id = "a"}, {.id = "b"}, {.id = "c"}}, HashRing<dialect::Haproxy>{});
  auto const lap = tests::picks(haproxy, 48);
  CHECK(tests::picks(haproxy, 48) == lap);
  for (char const id : {'a', 'b', 'c'}) CHECK(std::count(lap.begin(), lap.end(), id) == 16);
  auto native = balancer_of({{.id = "a"}, {.id = "b"}, {.id = "c"}});
  for (char const id : {'a', 'b', 'c'}) CHECK(mentions(tests::picks(native, 60), {&id, 1}));
}

TEST_CASE("a key that was tried in vain goes on along the ring") {
  auto balancer = balancer_of(tests::numbered(10));
  tests::check_tries_of_a_key(balancer);
}

TEST_CASE("weights a million apart make a ring that fits, and the lightest keeps a point") {
  std::vector<std::uint32_t> weights{1, 1'000'000, 1};
  tests::Stage<HashRing<>> stage{weights, {.dialect = {.max_points = 1U << 20U}}};
  auto const& ring = (*stage.plan)->ring;
  CHECK(ring.size() <= (1U << 20U) + 3);
  CHECK(ring.size() > 1U << 19U);
  std::vector<int> counts(3);
  for (std::size_t at = 0; at < ring.size(); ++at) ++counts[ring[at].owner];
  CHECK(counts[0] >= 1);
  CHECK(counts[2] == counts[0]);
}

TEST_CASE("large weights make no larger ring, and points stay in proportion to weight") {
  constexpr std::size_t count = 1000;
  std::vector<std::uint32_t> weights(count);
  for (std::size_t i = 0; i < count; ++i) weights[i] = static_cast<std::uint32_t>(1 + i % 10);
  tests::Stage<HashRing<>> stage{weights};
  auto const& ring = (*stage.plan)->ring;
  CHECK(ring.size() <= 1U << 20U);
  CHECK(ring.bytes() <= 32'000'000);
  std::vector<std::uint32_t> points(count);
  for (std::size_t at = 0; at < ring.size(); ++at) ++points[ring[at].owner];
  for (std::size_t i = 0; i < count; ++i) {
    auto const due = static_cast<double>(ring.size()) * weights[i] / 5500;
    REQUIRE(std::abs(points[i] - due) <= 2);
  }
}

TEST_CASE("a backend of weight 1 has its 1024 points in a set of any size") {
  tests::Stage<HashRing<>> const stage{std::vector<std::uint32_t>(1100, 1)};
  CHECK((*stage.plan)->ring.size() == 1100 * 1024);
}

TEST_CASE("a change of one weight moves few keys of others where weights are large") {
  HashRing<> const policy{.dialect = {.max_points = 2'048'000}};  // would fit before, not after
  std::vector<std::uint32_t> weights(200, 10);
  tests::Stage<HashRing<>> before{weights, policy};
  weights[7] = 11;
  tests::Stage<HashRing<>> after{weights, policy};
  auto const& old_ring = (*before.plan)->ring;
  auto const& new_ring = (*after.plan)->ring;
  constexpr int keys = 100'000;
  int moved = 0;
  for (std::uint64_t key = 0; key < keys; ++key) {
    auto const hash = poise::detail::mix(key);
    auto const owner = new_ring[new_ring.nearest(hash)].owner;
    if (owner != old_ring[old_ring.nearest(hash)].owner && owner != 7) ++moved;
  }
  // A backend loses 1 point in 2001 of its own: 50 keys of 100,000. Halving would move 50,000.
  CHECK(moved <= 150);
}

TEST_CASE("few points a backend are a warning, not an error") {
  std::vector<std::string> heard;
  auto const hear = [&](std::string const& text) { heard.push_back(text); };
  (void)balancer_of(addresses(3), HashRing<dialect::Haproxy>{.dialect = {}, .warn = hear});
  REQUIRE(heard.size() == 1);
  CHECK(mentions(heard[0], "the hash ring has 48 slots for 3 backends, fewer than 100 each"));
  (void)balancer_of(addresses(3), HashRing<>{.dialect = {}, .warn = hear});
  CHECK(heard.size() == 1);
}

TEST_CASE("a ring without points is refused") {
  CHECK(mentions(tests::thrown<poise::ConfigError>(
                     [] { (void)balancer_of(addresses(2), HashRing<>{.dialect = {.points = 0}}); }),
                 "points = 0"));
}

TEST_CASE("hosts that gRPC's cap leaves without points get nothing, and the rest still picks") {
  auto balancer = balancer_of(
      addresses(10), HashRing<dialect::GrpcRing>{{.min_size = 1, .max_size = 4, .cap = 4}});
  std::set<std::string> met;
  for (auto const& id : owners(balancer)) met.insert(id);
  CHECK(met.size() <= 4);
  for (auto const& id : met) balancer.drain(id);
  CHECK(balancer.pick({.route_key = "k"}));  // the ring is empty: any backend
}

TEST_CASE("a part of the set without weight has no ring and no list") {
  // Wrappers that divide a set may ask for one.
  tests::check_no_weight(HashRing<>{});
  tests::check_no_weight(HashRing<dialect::Haproxy>{});
  tests::check_no_weight(HashRing<dialect::EnvoyRing>{});
  tests::check_no_weight(HashRing<dialect::Libketama>{});
  tests::check_no_weight(HashRing<dialect::Twemproxy>{});
  tests::check_no_weight(poise::HashList<dialect::HaproxyMap>{});
  tests::check_no_weight(poise::HashList<dialect::NginxHash>{});
}

TEST_CASE("rings are named after their dialect") {
  CHECK(poise::hooks::name(HashRing<>{}) == "ring");
  CHECK(poise::hooks::name(HashRing<dialect::Nginx>{}) == "nginx");
  CHECK(poise::hooks::name(HashRing<dialect::Haproxy>{{.unfixed_3_0 = true}}) ==
        "haproxy-3.0-unfixed");
}

}  // namespace unit_policy_hash_ring
