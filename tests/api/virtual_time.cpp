// SPDX-License-Identifier: MIT
// Seam: clock and chance are injected, so a simulation runs in no time and always the same.

#include <cstdint>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <poise/poise.hpp>

#include "support/catch.hpp"

namespace api_virtual_time {

using namespace std::chrono_literals;

namespace {

using Servers =
    poise::Balancer<poise::P2C, void, poise::Runtime<poise::VirtualClock, poise::MeasureLatency>>;

/// A thousand requests, 1 ms apart, to servers of which the last is ten times slower.
std::string simulate(std::uint64_t seed) {
  poise::VirtualClock const clock;
  Servers servers{poise::endpoints({"a", "b", "c", "d"}), {}, {.clock = clock, .seed = seed}};
  struct Running {
    poise::Time end;
    Servers::Lease lease;
  };
  std::vector<Running> running;
  std::string order;
  for (int i = 0; i < 1000; ++i) {
    clock.advance(1ms);
    std::erase_if(running, [&](Running& each) {
      if (each.end > clock.now()) return false;
      each.lease.finish();
      return true;
    });
    auto lease = servers.pick();
    order += lease->id();
    auto const time = lease->id() == "d" ? 30ms : 3ms;
    running.push_back({clock.now() + time, std::move(lease)});
  }
  for (auto const& each : servers.stats().backends)
    order += each.latency ? " " + std::to_string(each.latency->count()) : " none";
  return order;
}

}  // namespace

TEST_CASE("seam virtual time gives the same picks and latencies for the same seed") {
  CHECK(simulate(1) == simulate(1));
  CHECK(simulate(1) != simulate(2));
}

TEST_CASE("seam virtual time measures what the simulation says") {
  auto const result = simulate(1);
  CHECK(result.substr(1000) == " 3000000 3000000 3000000 30000000");
}

TEST_CASE("seam virtual time gives the same picks when threads take turns") {
  auto const picks = [](bool on_threads) {
    Servers servers{poise::endpoints({"a", "b", "c", "d", "e"}), {}, {.seed = 7}};
    std::string order;
    std::vector<Servers::Lease> leases;
    for (int turn = 0; turn < 20; ++turn) {
      auto const take = [&] {
        for (int i = 0; i < 5; ++i) {
          leases.push_back(servers.pick());
          order += leases.back()->id();
        }
      };
      if (on_threads) std::thread{take}.join();
      else take();
    }
    return order;
  };
  CHECK(picks(true) == picks(false));
}

}  // namespace api_virtual_time
