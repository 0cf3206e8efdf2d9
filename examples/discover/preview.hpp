// SPDX-License-Identifier: MIT
#pragma once

// What a balancer does with the list: a real one follows it, and real picks give the shares.

#include <algorithm>
#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <utility>

#include <nlohmann/json.hpp>

#include <poise/balancer.hpp>
#include <poise/compose/failover.hpp>
#include <poise/discovery/feed.hpp>
#include <poise/policy/smooth_weighted.hpp>

namespace discover {

class Preview {
 public:
  using Json = nlohmann::ordered_json;

  [[nodiscard]] poise::discovery::Sink sink() { return poise::discovery::into(servers_); }

  /// Weight, tier and share of the picks of each backend, and which ones came or went since the
  /// last call. *Cost* a hundred picks for each backend.
  [[nodiscard]] Json describe() {
    auto const stats = servers_.stats();
    auto const picks = std::clamp<std::size_t>(100 * stats.backends.size(), 1'000, 100'000);
    auto const counts = pick(picks);
    Json backends = Json::array();
    std::set<std::string> ids;
    for (auto const& each : stats.backends) {
      auto const count = counts.find(each.id);
      auto const taken = count == counts.end() ? 0 : count->second;
      backends.push_back({{"id", each.id},
                          {"weight", each.weight},
                          {"tier", each.tier},
                          {"share", static_cast<double>(taken) / static_cast<double>(picks)}});
      ids.insert(each.id);
    }
    auto const old = std::exchange(ids_, std::move(ids));
    return {{"joined", difference(ids_, old)},
            {"left", difference(old, ids_)},
            {"backends", std::move(backends)}};
  }

 private:
  [[nodiscard]] std::map<std::string, std::size_t> pick(std::size_t picks) {
    std::map<std::string, std::size_t> counts;
    for (std::size_t i = 0; i < picks; ++i)
      if (auto const lease = servers_.pick()) ++counts[lease->id()];
    return counts;
  }
  [[nodiscard]] static Json difference(std::set<std::string> const& of,
                                       std::set<std::string> const& without) {
    Json result = Json::array();
    for (auto const& each : of)
      if (!without.contains(each)) result.push_back(each);
    return result;
  }

  poise::Balancer<poise::Failover<poise::SmoothWeighted>> servers_{{}};
  std::set<std::string> ids_{};
};

}  // namespace discover
