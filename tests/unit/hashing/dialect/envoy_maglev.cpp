// SPDX-License-Identifier: MIT
// The envoy-maglev dialect makes the tables that Envoy's own tests expect.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <poise/hash/xxhash.hpp>
#include <poise/hashing/dialect/envoy.hpp>
#include <poise/policy/maglev.hpp>

#include "support/catch.hpp"
#include "support/envoy.hpp"
#include "support/recording.hpp"
#include "support/servers.hpp"

namespace unit_hashing_dialect_envoy_maglev {

namespace dialect = poise::dialect;

TEST_CASE("the envoy maglev dialect fills the tables that Envoy's own tests expect") {
  auto const cases = tests::envoy_cases("envoy_maglev.txt");
  CHECK(cases.size() == 7);
  for (auto const& one : cases) {
    CAPTURE(one.name);
    std::vector<std::uint32_t> table;
    for (auto const& [what, rest] : one.facts) {
      auto const numbers = tests::numbers_in(rest);
      if (what == "table") {
        table = dialect::EnvoyMaglev::fill(one.hosts, static_cast<std::uint32_t>(numbers[0]));
      } else if (what == "slots") {
        CHECK(std::equal(table.begin(), table.end(), numbers.begin(), numbers.end()));
      } else if (what == "retry") {  // hash, attempt, host
        CHECK(table[(numbers[0] ^ (std::uint64_t{0} - numbers[1])) % table.size()] == numbers[2]);
      } else if (what == "size") {
        std::vector<std::uint64_t> counts;
        for (auto const& host : one.hosts)
          counts.push_back(
              static_cast<std::uint64_t>(std::count(table.begin(), table.end(), host.owner)));
        CHECK(*std::min_element(counts.begin(), counts.end()) == numbers[0]);
        CHECK(*std::max_element(counts.begin(), counts.end()) == numbers[1]);
      } else {
        FAIL("unknown fact: " << what);
      }
    }
  }
}

TEST_CASE("the envoy maglev dialect takes turns as Envoy's plain loop does") {
  // The loop as Envoy has it, for weights that share no divisor and many hosts.
  std::vector<std::string> keys;
  for (int i = 0; i < 60; ++i) keys.push_back("10.0.0." + std::to_string(100 + i) + ":80");
  std::vector<dialect::detail::Share> hosts;
  double weights = 0;
  for (std::uint32_t i = 0; i < keys.size(); ++i) weights += 1 + i * i % 37;
  for (std::uint32_t i = 0; i < keys.size(); ++i)
    hosts.push_back({keys[i], (1 + i * i % 37) / weights, i});
  constexpr std::uint32_t size = 4099;
  std::vector<std::uint32_t> table(size, ~0U);
  std::vector<double> targets(hosts.size());
  std::vector<std::uint64_t> tried(hosts.size());
  std::size_t filled = 0;
  for (std::uint64_t round = 1; filled < size; ++round)
    for (std::size_t i = 0; i < hosts.size() && filled < size; ++i) {
      if (static_cast<double>(round) * hosts[i].share < targets[i]) continue;
      targets[i] += 37 / weights;
      auto const slot = [&] {
        return (poise::hash::xxh64(keys[i]) % size +
                (poise::hash::xxh64(keys[i], 1) % (size - 1) + 1) * tried[i]++) %
               size;
      };
      auto at = slot();
      while (table[at] != ~0U) at = slot();
      table[at] = hosts[i].owner;
      ++filled;
    }
  CHECK(dialect::EnvoyMaglev::fill(hosts, size) == table);
}

TEST_CASE("the envoy maglev dialect picks from the table of the eligible backends") {
  // Envoy's case Weighted: hosts :90 and :91 of weight 1 and 2, 17 slots.
  std::vector<std::size_t> const owners{1, 0, 0, 1, 0, 1, 1, 0, 1, 1, 1, 1, 1, 0, 1, 0, 1};
  auto balancer = tests::servers_with(
      poise::MaglevOf<dialect::EnvoyMaglev>{.dialect = {.slots = 17}},
      {{.id = "127.0.0.1:91", .weight = 2}, {.id = "127.0.0.1:90"}, {.id = "127.0.0.1:89"}});
  balancer.drain("127.0.0.1:89");  // so the table is that of the other two
  for (auto const& key : tests::recorded_keys())
    REQUIRE(balancer.pick({.route_key = key})->id() ==
            (owners[poise::hash::xxh64(key) % 17] == 0 ? "127.0.0.1:90" : "127.0.0.1:91"));
}

}  // namespace unit_hashing_dialect_envoy_maglev
