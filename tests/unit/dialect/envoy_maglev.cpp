// SPDX-License-Identifier: MIT
// The envoy-maglev dialect makes the tables that Envoy's own tests expect.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <sstream>
#include <string>
#include <vector>

#include <poise/hash/xxhash.hpp>
#include <poise/policy/maglev.hpp>

#include "support/catch.hpp"
#include "support/recording.hpp"

namespace dialect = poise::dialect;

namespace {

struct Case {
  std::string name{};
  std::uint32_t size = 0;
  std::vector<std::string> keys{};
  std::vector<double> weights{};
  std::vector<dialect::detail::Share> hosts{};
  std::vector<std::uint32_t> slots{};
  std::vector<std::uint64_t> least_and_most{};
  std::vector<std::vector<std::uint64_t>> retries{};
};

std::vector<Case> cases() {
  std::vector<Case> all;
  for (auto const& line : tests::recorded_lines("envoy_maglev.txt")) {
    auto const [word, rest] = tests::first_word(line);
    std::istringstream text{rest};
    auto const numbers = [&] {
      std::vector<std::uint64_t> result;
      for (std::uint64_t number = 0; text >> number;) result.push_back(number);
      return result;
    };
    if (word == "case") {
      all.push_back({.name = rest});
    } else if (word == "table") {
      text >> all.back().size;
    } else if (word == "host") {
      text >> all.back().keys.emplace_back() >> all.back().weights.emplace_back();
    } else if (word == "share") {
      std::uint32_t host = 0;
      double locality = 0, localities = 0, weight = 0, weights = 0;
      text >> host >> locality >> localities >> weight >> weights;
      all.back().hosts.push_back({{}, weight * (locality / localities) / weights, host});
    } else if (word == "slots") {
      for (auto const slot : numbers())
        all.back().slots.push_back(static_cast<std::uint32_t>(slot));
    } else if (word == "size") {
      all.back().least_and_most = numbers();
    } else if (word == "retry") {
      all.back().retries.push_back(numbers());
    }
  }
  for (auto& each : all) {
    double sum = 0;
    for (auto const weight : each.weights) sum += weight;
    if (each.hosts.empty())
      for (std::uint32_t i = 0; i < each.keys.size(); ++i)
        each.hosts.push_back({{}, each.weights[i] / sum, i});
    for (auto& host : each.hosts) host.key = each.keys[host.owner];
  }
  return all;
}

}  // namespace

TEST_CASE("the envoy maglev dialect fills the tables that Envoy's own tests expect") {
  auto const all = cases();
  CHECK(all.size() == 7);
  for (auto const& one : all) {
    CAPTURE(one.name);
    auto const table = dialect::EnvoyMaglev::fill(one.hosts, one.size);
    if (!one.slots.empty()) CHECK(table == one.slots);
    for (auto const& retry : one.retries)  // hash, attempt, host
      CHECK(table[(retry[0] ^ (std::uint64_t{0} - retry[1])) % one.size] == retry[2]);
    if (one.least_and_most.empty()) continue;
    std::vector<std::uint64_t> counts;
    for (auto const& host : one.hosts)
      counts.push_back(
          static_cast<std::uint64_t>(std::count(table.begin(), table.end(), host.owner)));
    CHECK(*std::min_element(counts.begin(), counts.end()) == one.least_and_most[0]);
    CHECK(*std::max_element(counts.begin(), counts.end()) == one.least_and_most[1]);
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

TEST_CASE("the envoy maglev dialect picks from the table of those that are eligible") {
  // Envoy's case Weighted: hosts :90 and :91 of weight 1 and 2, 17 slots.
  std::vector<std::size_t> const owners{1, 0, 0, 1, 0, 1, 1, 0, 1, 1, 1, 1, 1, 0, 1, 0, 1};
  poise::Balancer<poise::MaglevOf<dialect::EnvoyMaglev>> balancer{
      {{.id = "127.0.0.1:91", .weight = 2}, {.id = "127.0.0.1:90"}, {.id = "127.0.0.1:89"}},
      {.dialect = {.slots = 17}}};
  balancer.drain("127.0.0.1:89");  // so the table is that of the other two
  for (auto const& key : tests::recorded_keys())
    REQUIRE(balancer.pick({.route_key = key})->id() ==
            (owners[poise::hash::xxh64(key) % 17] == 0 ? "127.0.0.1:90" : "127.0.0.1:91"));
}
