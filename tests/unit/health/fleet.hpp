// SPDX-License-Identifier: MIT
#pragma once

// Servers in virtual time behind a balancer with a health monitor: open-loop requests, a tick each
// second, and the picks of each second counted.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <poise/balancer.hpp>
#include <poise/health/monitor.hpp>
#include <poise/random.hpp>

#include "support/servers.hpp"

namespace tests {

struct Node {
  poise::Duration service = std::chrono::milliseconds{10};
  poise::Result result = poise::Result::success;
  double failing = 0;  // this share of requests ends in an error at once
};

template <class P, class Monitor = poise::health::Standard>
class Fleet {
 public:
  using Runtime = poise::Runtime<poise::VirtualClock, Monitor>;
  using Balancer = poise::Balancer<P, void, Runtime>;

  explicit Fleet(std::size_t count, Monitor with = seeded(), P policy = {})
      : monitor{with},
        balancer{numbered(count),
                 std::move(policy),
                 {.clock = clock, .seed = 1, .observers = {std::move(with)}}},
        nodes(count) {
    clock.advance(std::chrono::hours{1});
    balancer.tick();
  }

  static Monitor seeded() { return Monitor{{.seed = 7}}; }

  /// So many requests a second, evenly, for so long.
  void run(poise::Duration time, double per_second) {
    auto const end = clock.now() + time;
    auto const gap = poise::Duration{static_cast<poise::Duration::rep>(1e9 / per_second)};
    auto next_tick = clock.now() + std::chrono::seconds{1};
    for (auto next = clock.now() + gap; next <= end; next += gap) {
      while (next_tick <= next) {
        finish_until(next_tick);
        clock.set(next_tick);
        balancer.tick();
        next_tick += std::chrono::seconds{1};
      }
      finish_until(next);
      clock.set(next);
      request();
    }
    finish_until(end);
    clock.set(end);
    balancer.tick();
  }

  void request() {
    auto lease = balancer.pick();
    if (!lease) {
      ++refused;
      return;
    }
    auto const number = static_cast<std::size_t>(std::stoul(lease->id()));
    nodes.resize(std::max(nodes.size(), number + 1));
    auto const second =
        static_cast<std::size_t>(clock.now().time_since_epoch() / std::chrono::seconds{1});
    auto& window = picks[second];
    window.resize(nodes.size());
    ++window[number];
    auto const& node = nodes[number];
    if (node.failing > 0 && random.unit() < node.failing)
      return ends.emplace(clock.now(), End{std::move(lease), poise::Result::error}), void();
    ends.emplace(clock.now() + node.service, End{std::move(lease), node.result});
  }

  /// Picks of each server since `from`.
  [[nodiscard]] std::vector<std::uint64_t> since(poise::Time from) const {
    std::vector<std::uint64_t> sums(nodes.size());
    auto const first = static_cast<std::size_t>(from.time_since_epoch() / std::chrono::seconds{1});
    for (auto at = picks.lower_bound(first); at != picks.end(); ++at)
      for (std::size_t i = 0; i < at->second.size(); ++i) sums[i] += at->second[i];
    return sums;
  }
  /// The most that one server got in any second since `from`.
  [[nodiscard]] std::uint64_t worst_second(std::size_t number, poise::Time from) const {
    std::uint64_t most = 0;
    auto const first = static_cast<std::size_t>(from.time_since_epoch() / std::chrono::seconds{1});
    for (auto at = picks.lower_bound(first); at != picks.end(); ++at)
      if (number < at->second.size()) most = std::max(most, at->second[number]);
    return most;
  }
  [[nodiscard]] poise::health::Phase phase(std::string const& id) const {
    return monitor.phase(id).value();
  }
  poise::HealthState health(std::string const& id) { return stats_of(balancer, id).health; }

  poise::VirtualClock clock{};
  Monitor monitor;
  Balancer balancer;
  std::vector<Node> nodes;
  std::map<std::size_t, std::vector<std::uint64_t>> picks{};
  std::uint64_t refused = 0;

 private:
  struct End {
    typename Balancer::Lease lease;
    poise::Result result;
  };

  void finish_until(poise::Time time) {
    while (!ends.empty() && ends.begin()->first <= time) {
      auto first = ends.extract(ends.begin());
      clock.set(std::max(clock.now(), first.key()));
      first.mapped().lease.finish(first.mapped().result);
    }
  }

  std::multimap<poise::Time, End> ends{};
  poise::RandomSource chance{5, &poise::detail::mix};
  poise::Rng random{chance, poise::sync::Lane::shared};
};

}  // namespace tests
