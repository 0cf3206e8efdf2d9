// SPDX-License-Identifier: MIT
#pragma once

// Open-loop traffic through a real balancer in virtual time: requests arrive at random, servers
// take their time, and everything happens in the order of the clock. Seeded; the same on every
// machine.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <poise/balancer.hpp>

#include "clock.hpp"
#include "servers.hpp"

namespace tests {

/// How a server answers, from now on.
struct Server {
  poise::Duration service = std::chrono::milliseconds{10};
  poise::Result result = poise::Result::success;
  double scatter = 0;       // 0: always the same; 1: exponential; between: a mixture of both
  std::size_t workers = 1;  // so many at once, the others wait in line
};

/// Servers "0", "1", ... behind a balancer of policy P.
template <class P>
class Traffic {
 public:
  using Balancer = poise::Balancer<P, void, poise::Runtime<Clock>>;

  explicit Traffic(std::size_t count, Server const& server = {}, std::uint64_t seed = 1,
                   P policy = P{})
      : balancer{numbered(count), std::move(policy), {.clock = clock, .seed = seed}},
        servers(count, server),
        chance_{seed, &poise::detail::mix} {}

  /// A server that was not there before; returns its number.
  std::size_t join(Server const& server = {}) {
    servers.push_back(server);
    balancer.add(numbered(1, servers.size() - 1)[0]);
    return servers.size() - 1;
  }

  /// So many requests a second, for so long.
  void run(poise::Duration time, double per_second) {
    auto const end = clock.now() + time;
    auto const gap = 1e9 / per_second;
    for (auto next = clock.now() + exponential(gap); next < end; next += exponential(gap)) {
      finish_until(next);
      clock.set(next);
      request();
    }
    finish_until(end);
    clock.set(end);
  }

  /// What part of the requests since `from` each server got.
  [[nodiscard]] std::vector<double> shares(poise::Time from, poise::Time until) const {
    std::vector<double> result(servers.size());
    double total = 0;
    auto const first = std::ranges::lower_bound(picks, from, {}, &Pick::at);
    for (auto pick = first; pick != picks.end() && pick->at < until; ++pick) {
      ++result[pick->number];
      ++total;
    }
    for (auto& each : result) each /= std::max(total, 1.0);
    return result;
  }
  /// ... of a period, run now.
  std::vector<double> shares_of(poise::Duration time, double per_second) {
    auto const from = clock.now();
    run(time, per_second);
    return shares(from, clock.now());
  }

  Clock clock{};
  Balancer balancer;
  std::vector<Server> servers;
  struct Pick {
    poise::Time at;
    std::size_t number;
  };
  std::size_t rejects_one_in = 0;  // every such request is the client's fault; 0: none is
  std::vector<Pick> picks{};       // in order of time, unless the clock was set back

 private:
  struct End {
    typename Balancer::Lease lease;
    poise::Result result;
  };

  void request() {
    auto lease = balancer.pick();
    auto const number = static_cast<std::size_t>(std::stoul(lease->id()));
    picks.push_back({clock.now(), number});
    auto const& server = servers[number];
    busy_.resize(servers.size());
    auto& workers = busy_[number];
    workers.resize(server.workers, clock.now());
    auto const free = std::min_element(workers.begin(), workers.end());
    auto const mean = static_cast<double>(server.service.count());
    auto const service =
        poise::Duration{static_cast<poise::Duration::rep>(mean * (1 - server.scatter))} +
        exponential(mean * server.scatter);
    *free = std::max(*free, clock.now()) + service;
    bool const rejected = rejects_one_in != 0 && picks.size() % rejects_one_in == 0;
    auto const ends = rejected ? clock.now() : *free;
    ends_.emplace(ends, End{std::move(lease), rejected ? poise::Result::rejected : server.result});
  }

  void finish_until(poise::Time time) {
    while (!ends_.empty() && ends_.begin()->first <= time) {
      auto first = ends_.extract(ends_.begin());
      clock.set(first.key());
      first.mapped().lease.finish(first.mapped().result);
    }
  }

  poise::Duration exponential(double mean) {
    poise::Rng random{chance_, poise::sync::Lane::shared};
    return poise::Duration{static_cast<poise::Duration::rep>(-mean * std::log1p(-random.unit()))};
  }

  poise::RandomSource chance_;
  std::multimap<poise::Time, End> ends_{};        // in order of arrival where times are equal
  std::vector<std::vector<poise::Time>> busy_{};  // when each worker is free
};

}  // namespace tests
