// SPDX-License-Identifier: MIT
// A hundred clients lose all of ten servers and get half of them back.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <string_view>
#include <vector>

#include <poise/health/monitor.hpp>
#include <poise/poise.hpp>

#include "support/catch.hpp"
#include "support/policies.hpp"
#include "support/servers.hpp"

namespace unit_health_outage {

using namespace std::chrono_literals;
using poise::Result;
using poise::health::Standard;

namespace {

constexpr std::size_t servers = 10;
constexpr std::size_t clients = 100;
constexpr std::size_t per_second = 2000;

class PoolLoad {
 public:
  explicit PoolLoad(std::string_view policy) {
    clock_.advance(1h);
    for (std::size_t i = 0; i < clients; ++i)
      balancers_.push_back(std::make_unique<Balancer>(
          tests::numbered(servers), tests::policy(policy),
          Runtime{.clock = clock_, .seed = i + 1, .observers = {Standard{{.seed = i + 1}}}}));
  }

  /// The most requests that a server which is up got in any second.
  std::uint64_t run(int seconds, std::size_t up, Result otherwise) {
    std::uint64_t most = 0;
    for (int second = 0; second < seconds; ++second) {
      std::vector<std::uint64_t> got(servers);
      for (std::size_t request = 0; request < per_second; ++request) {
        clock_.advance(poise::Duration{1s} / per_second);
        auto lease = balancers_[dice_() % clients]->pick();
        if (!lease) {
          ++refused;
          continue;
        }
        auto const number = static_cast<std::size_t>(std::stoul(lease->id()));
        ++got[number];
        lease.finish(number < up ? Result::success : otherwise);
        if (number < up) ++served;
      }
      for (auto& each : balancers_) each->tick();
      for (std::size_t i = 0; i < up; ++i) most = std::max(most, got[i]);
    }
    return most;
  }

  std::uint64_t refused = 0;
  std::uint64_t served = 0;

 private:
  using Runtime = poise::Runtime<poise::VirtualClock, Standard>;
  using Balancer = poise::Balancer<poise::AnyPolicy, void, Runtime>;
  poise::VirtualClock clock_{};
  std::vector<std::unique_ptr<Balancer>> balancers_{};
  std::mt19937_64 dice_{1};
};

}  // namespace

// A test for each, since each takes long.
TEMPLATE_TEST_CASE_SIG("after a total outage no server that is back gets more than twice its part",
                       "", ((std::size_t Number), Number), 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11) {
  static_assert(Number < tests::all_policies.size());
  if (!tests::in_long_tests(Number)) return;
  auto const policy = tests::all_policies[Number];
  CAPTURE(policy);
  for (auto const how : {Result::error, Result::refused}) {
    PoolLoad crowd{policy};
    CHECK(crowd.run(20, servers, how) <= 2 * per_second / servers);
    crowd.run(60, 0, how);
    CHECK(crowd.run(200, servers / 2, how) <= 2 * per_second / (servers / 2));
    auto const before = crowd.served;
    crowd.run(10, servers / 2, how);
    CHECK(crowd.served - before > 10 * per_second * 99 / 100);
    CHECK(crowd.run(200, servers, how) <= 2 * per_second / (servers / 2));
    CHECK(crowd.refused == 0);
  }
}

}  // namespace unit_health_outage
