// SPDX-License-Identifier: MIT
#pragma once

// Cases of Envoy's own tests of its rings and tables: tests/vectors/envoy_*.txt.

#include <cstdint>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <poise/hashing/dialect/envoy.hpp>

#include "recording.hpp"

namespace tests {

struct EnvoyCase {
  std::string name{};
  std::vector<std::string> keys{};
  std::vector<double> weights{};
  std::vector<poise::dialect::detail::Share> hosts{};
  std::vector<std::pair<std::string, std::string>> facts{};  // all other lines: first word, rest
};

inline std::vector<std::uint64_t> numbers_in(std::string const& text) {
  std::istringstream stream{text};
  std::vector<std::uint64_t> result;
  for (std::uint64_t number = 0; stream >> number;) result.push_back(number);
  return result;
}

inline std::vector<EnvoyCase> envoy_cases(std::string const& file) {
  std::vector<EnvoyCase> cases;
  for (auto const& line : recorded_lines(file)) {
    auto const [word, rest] = first_word(line);
    std::istringstream text{rest};
    if (word == "#") continue;
    if (word == "case") {
      cases.push_back({.name = rest});
    } else if (word == "host") {
      text >> cases.back().keys.emplace_back() >> cases.back().weights.emplace_back();
    } else if (word == "share") {
      std::uint32_t host = 0;
      double locality = 0, localities = 0, weight = 0, weights = 0;
      text >> host >> locality >> localities >> weight >> weights;
      cases.back().hosts.push_back({{}, weight * (locality / localities) / weights, host});
    } else {
      cases.back().facts.emplace_back(word, rest);
    }
  }
  for (auto& each : cases) {
    double sum = 0;
    for (auto const weight : each.weights) sum += weight;
    if (each.hosts.empty())
      for (std::uint32_t i = 0; i < each.keys.size(); ++i)
        each.hosts.push_back({{}, each.weights[i] / sum, i});
    for (auto& host : each.hosts) host.key = each.keys[host.owner];
  }
  return cases;
}

}  // namespace tests
