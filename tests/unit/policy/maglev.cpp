// SPDX-License-Identifier: MIT
// Maglev: even shares, little movement, the same table for everybody, and no table for a flip.

#include <poise/policy/maglev.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <poise/balancer.hpp>
#include <poise/hash/xxhash.hpp>
#include <poise/hashing/dialect/envoy.hpp>

#include "support/catch.hpp"
#include "support/clock.hpp"
#include "support/keys.hpp"
#include "support/servers.hpp"
#include "support/stage.hpp"
#include "support/text.hpp"

namespace unit_policy_maglev {

using poise::Maglev;
namespace dialect = poise::dialect;
using tests::key;
using tests::mentions;
using tests::owners;

namespace {

using Balancer = poise::Balancer<Maglev, void, poise::Runtime<tests::Clock>>;

Balancer balancer_of(std::vector<poise::Endpoint> endpoints, Maglev policy = {}) {
  return Balancer{std::move(endpoints), std::move(policy), {.clock = {}, .seed = 1}};
}

/// The owners of a table's slots, as numbers of the ids.
std::vector<std::uint32_t> table_of(std::size_t backends, std::uint32_t size,
                                    std::size_t without = ~std::size_t{0}) {
  std::vector<poise::detail::Claimant> claimants;
  std::deque<tests::LoneBackend> all;
  std::vector<poise::dialect::Member> members;
  for (std::uint32_t i = 0; i < backends; ++i) {
    if (i == without) continue;
    auto const id = "10.0.0.1:" + std::to_string(1000 + i);
    all.emplace_back(poise::Endpoint{.id = id}, i + 1);
    members.push_back({&all.back(), 1, i});
  }
  return poise::dialect::NativeTable::fill(members, size);
}

double max_over_average(std::vector<std::uint32_t> const& table, std::size_t backends) {
  std::vector<std::size_t> counts(backends);
  for (auto const owner : table) ++counts[owner];
  return static_cast<double>(*std::max_element(counts.begin(), counts.end())) *
         static_cast<double>(backends) / static_cast<double>(table.size());
}

/// Of the slots of all others, the share that changes hands when backend `gone` leaves or joins.
double moved_beyond(std::size_t backends, std::uint32_t size, std::size_t gone) {
  auto const with = table_of(backends, size);
  auto const without = table_of(backends, size, gone);
  std::size_t others = 0;
  std::size_t moved = 0;
  for (std::size_t slot = 0; slot < size; ++slot) {
    if (with[slot] == gone) continue;
    ++others;
    if (with[slot] != without[slot]) ++moved;
  }
  return static_cast<double>(moved) / static_cast<double>(others);
}

}  // namespace

TEST_CASE("maglev gives equal backends shares that differ by less than 1 percent") {
  CHECK(max_over_average(table_of(100, 65537), 100) <= 1.01);
  CHECK(max_over_average(table_of(1000, 65537), 1000) <= 1.01);
  CHECK(max_over_average(table_of(1000, 1'000'003), 1000) <= 1.01);
}

TEST_CASE("one backend more or less moves less than 1 percent of the others' slots") {
  for (std::size_t const backends : {10U, 100U, 500U, 1000U})
    for (std::size_t const gone : {std::size_t{0}, backends / 2, backends - 1}) {
      CAPTURE(backends, gone);
      CHECK(moved_beyond(backends, 65537, gone) <= 0.01);
    }
}

TEST_CASE("with a million slots one backend more or less moves 0.25 percent of the others'") {
  for (std::size_t const backends : {10U, 100U, 500U, 1000U}) {
    CAPTURE(backends);
    CHECK(moved_beyond(backends, 1'000'003, backends / 2) <= 0.0025);
  }
}

TEST_CASE("maglev is the same whatever the order and the history of the backends") {
  auto straight = balancer_of(tests::numbered(50));
  auto endpoints = tests::numbered(50);
  std::reverse(endpoints.begin(), endpoints.end());
  auto backward = balancer_of(endpoints);
  auto grown = balancer_of(tests::numbered(1));
  for (auto const& endpoint : endpoints)
    if (endpoint.id != "0") grown.add(endpoint);
  CHECK(owners(straight) == owners(backward));
  CHECK(owners(straight) == owners(grown));
}

TEST_CASE("maglev is the same in every release") {
  // Recorded once: a change here would send every user's keys elsewhere.
  auto balancer = balancer_of(
      {{.id = "10.0.0.1:80", .weight = 1}, {.id = "10.0.0.2:80", .weight = 2}, {.id = "[::1]:80"}});
  std::string text;
  for (auto const& id : owners(balancer, 40)) text += id[id.size() - 4];
  CHECK(text == "221]1]2]2222]21]121221122]2]22]2]22]2122");
  for (auto const& id : owners(balancer, 20'000)) text += id[id.size() - 4];
  CHECK(poise::hash::xxh64(text) == 0x1cd9eb3cdb5844b8);
}

TEST_CASE("every slot of a table is the same in every release") {
  tests::Stage<Maglev> stage{{1, 2, 3, 4, 1000, 0, 7}};
  std::string text;
  for (auto const owner : (*stage.plan)->owners) text += static_cast<char>('a' + owner);
  CHECK(poise::hash::xxh64(text) == 0x27283356a1acc6be);
}

TEST_CASE("maglev gives shares in proportion to weight, to one slot") {
  tests::Stage<Maglev> stage{{1, 2, 3, 4, 0}};
  auto const shares = stage.policy.shares(*stage.plan, poise::Candidates{stage.roster});
  for (std::size_t i = 0; i < 5; ++i)
    CHECK(std::abs(shares[i] - static_cast<double>((i + 1) % 5) / 10) <= 1.0 / 65537);
}

TEST_CASE("a backend a million times lighter than another still gets a slot") {
  for (std::uint32_t const weight : {1'000'000U, 4'000'000'000U}) {
    std::vector<std::uint32_t> weights(10'000, 1);
    weights[7777] = weight;
    tests::Stage<Maglev> stage{weights};
    std::vector<std::size_t> counts(weights.size());
    for (auto const owner : (*stage.plan)->owners) ++counts[owner];
    CHECK(*std::min_element(counts.begin(), counts.end()) == 1);
    CHECK(counts[7777] == 65537 - 9999);
  }
}

TEST_CASE("slots that light backends get for nothing come from the heaviest") {
  // 100 slots (101): 60 backends of weight 1 beside two of 1000 and one of 500.
  std::vector<std::uint32_t> weights(60, 1);
  weights.insert(weights.end(), {1000, 1000, 500});
  tests::Stage<Maglev> stage{weights, Maglev{.dialect = {.slots = 101}}};
  std::vector<int> counts(weights.size());
  for (auto const owner : (*stage.plan)->owners) ++counts[owner];
  CHECK(counts[60] + counts[61] + counts[62] == 41);
  CHECK(counts[0] == 1);
  CHECK(counts[59] == 1);
  CHECK(counts[60] >= counts[62]);
  CHECK(std::abs(counts[60] - counts[61]) <= 1);
}

TEST_CASE("a flip makes no table and moves only the keys of the backend that went") {
  auto balancer = balancer_of(tests::numbered(1000));
  auto const before = owners(balancer, 5000);
  auto const gone = before[0];
  balancer.drain(gone);
  auto const during = owners(balancer, 5000);
  std::set<std::string> heirs;
  for (std::size_t i = 0; i < before.size(); ++i) {
    if (before[i] == gone) heirs.insert(during[i]);
    else REQUIRE(during[i] == before[i]);
  }
  CHECK(heirs.count(gone) == 0);
  balancer.undrain(gone);
  CHECK(owners(balancer, 5000) == before);

  tests::Stage<Maglev> stage{std::vector<std::uint32_t>(10, 1)};
  auto const* const table = stage.plan->get();
  stage.backends.set_eligible(3, false);
  stage.rebuild();
  CHECK(stage.plan->get() == table);
}

TEST_CASE("keys of an ineligible backend spread over the others, in the same way for all clients") {
  auto endpoints = tests::numbered(5);
  auto balancer = balancer_of(endpoints);
  std::reverse(endpoints.begin(), endpoints.end());
  auto other = balancer_of(endpoints);
  auto const before = owners(balancer, 10'000);
  for (auto* each : {&balancer, &other}) each->drain("2");
  auto const during = owners(balancer, 10'000);
  CHECK(owners(other, 10'000) == during);
  std::map<std::string, int> heirs;
  for (std::size_t i = 0; i < before.size(); ++i)
    if (before[i] == "2") ++heirs[during[i]];
  // About 2000 keys over 4 heirs: 500 each, standard deviation 19; tolerance 5 of them.
  CHECK(heirs.size() == 4);
  for (auto const& [id, count] : heirs) CHECK(std::abs(count - 500) < 100);
}

TEST_CASE("one of a thousand that is left takes every key") {
  auto balancer = balancer_of(tests::numbered(1000));
  for (int i = 0; i < 1000; ++i)
    if (i != 617) balancer.report_health(std::to_string(i), poise::HealthState::unhealthy);
  CHECK(owners(balancer, 100) == std::vector<std::string>(100, "617"));
  balancer.report_health("617", poise::HealthState::unhealthy);
  CHECK_FALSE(balancer.pick({.route_key = "k"}));
}

TEST_CASE("a key that was tried in vain goes to another backend, always to the same one") {
  auto balancer = balancer_of(tests::numbered(10));
  tests::check_tries_of_a_key(balancer);
}

TEST_CASE("requests without a key spread over all backends") {
  auto balancer = balancer_of(tests::numbered(4));
  std::set<std::string> met;
  for (int i = 0; i < 100; ++i) met.insert(balancer.pick()->id());
  CHECK(met.size() == 4);
}

TEST_CASE("keys may be long, and ids may differ in one bit") {
  std::vector<poise::Endpoint> endpoints;
  for (int bit = 0; bit < 8; ++bit)
    endpoints.push_back({.id = std::string{"id\0\xff", 4} + static_cast<char>(1 << bit)});
  auto balancer = balancer_of(endpoints);
  std::set<std::string> met;
  for (int i = 0; i < 200; ++i) met.insert(balancer.pick({.route_key = key(i)})->id());
  CHECK(met.size() == 8);
  std::string const large(1U << 20U, 'x');
  CHECK(balancer.pick({.route_key = large})->id() == balancer.pick({.route_key = large})->id());
}

TEST_CASE("with a secret keys go elsewhere, and crafted ones can't be known to collide") {
  auto plain = balancer_of(tests::numbered(100));
  auto secret = balancer_of(tests::numbered(100), {.dialect = {.secret = {{1, 2}}}});
  auto other = balancer_of(tests::numbered(100), {.dialect = {.secret = {{1, 3}}}});
  // Keys that all meet the same backend without a secret.
  std::vector<std::string> crafted;
  for (int i = 0; crafted.size() < 200; ++i)
    if (plain.pick({.route_key = key(i)})->id() == "7") crafted.push_back(key(i));
  std::map<std::string, int> counts;
  int same = 0;
  for (auto const& text : crafted) {
    auto const id = secret.pick({.route_key = text})->id();
    ++counts[id];
    if (other.pick({.route_key = text})->id() == id) ++same;
  }
  // 200 keys over 100 backends: 2 each; that one gets 12 has chance 1e-4 in all, seeded.
  for (auto const& [id, count] : counts) CHECK(count < 12);
  CHECK(same < 12);
}

TEST_CASE("a table that is too small is refused with the size to use, and nothing changes") {
  auto const text = tests::thrown<poise::ConfigError>(
      [] { (void)balancer_of(tests::numbered(12), {.dialect = {.slots = 11}}); });
  CHECK(mentions(text, "11 slots is too small for 12 backends: set slots to 1201"));
  CHECK(mentions(tests::thrown<poise::ConfigError>(
                     [] { (void)balancer_of(tests::numbered(2), {.dialect = {.slots = 100}}); }),
                 "a maglev table of 100 slots: a prime"));
  auto balancer = balancer_of(tests::numbered(11), {.dialect = {.slots = 11}});
  CHECK_THROWS_AS(balancer.add({.id = "12"}), poise::ConfigError);
  CHECK(balancer.stats().backends.size() == 11);
}

TEST_CASE("few slots a backend are a warning, not an error") {
  std::vector<std::string> heard;
  auto balancer = balancer_of(tests::numbered(655),
                              {.warn = [&](std::string const& text) { heard.push_back(text); }});
  CHECK(heard.empty());
  balancer.add({.id = "one more"});
  REQUIRE(heard.size() == 1);
  CHECK(heard[0] ==
        "the maglev table has 65537 slots for 656 backends, fewer than 100 each: set max_backends");
  auto deaf = balancer_of(tests::numbered(700),
                          {.warn = [](std::string const&) { throw std::runtime_error{"full"}; }});
  CHECK(deaf.pick({.route_key = "k"}));
}

TEST_CASE("the size of the table follows max_backends, not the backends there are") {
  CHECK(poise::dialect::NativeTable{}.size() == 65537);
  CHECK(poise::dialect::NativeTable{.max_backends = 655}.size() == 65537);
  CHECK(poise::dialect::NativeTable{.max_backends = 656}.size() == 1'000'003);
  CHECK(poise::dialect::NativeTable{.slots = 11}.size() == 11);
  CHECK(mentions(tests::thrown<poise::ConfigError>([] {
                   (void)balancer_of(tests::numbered(2), {.dialect = {.max_backends = 0}});
                 }),
                 "max_backends of a maglev table is 0"));
}

TEST_CASE("a part of the set without weight has no table") {
  // Wrappers that divide a set may ask for one.
  tests::check_no_weight(Maglev{});
  tests::check_no_weight(poise::MaglevOf<dialect::EnvoyMaglev>{});
}

TEST_CASE("one backend takes all keys, and none takes none") {
  auto balancer = balancer_of(tests::numbered(1));
  CHECK(owners(balancer, 10) == std::vector<std::string>(10, "0"));
  balancer.clear();
  CHECK_FALSE(balancer.pick({.route_key = "k"}));
}

}  // namespace unit_policy_maglev
