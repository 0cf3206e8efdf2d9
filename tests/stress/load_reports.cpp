// SPDX-License-Identifier: MIT

// Threads report loads while ticks make weights of them and backends are replaced: only reported,
// reports and invalid of WeightedByReports::State are shared; the rest belongs to the balancer's
// changes.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <poise/balancer.hpp>
#include <poise/policy/smooth_weighted.hpp>
#include <poise/weighted_by_reports.hpp>

#include "stress/team.hpp"
#include "support/catch.hpp"

namespace {

using Balancer = poise::Balancer<poise::SmoothWeighted, void,
                                 poise::Runtime<poise::VirtualClock, poise::WeightedByReports>>;

/// Backend "0" says that it has three times the capacity of the others.
struct Reporter {
  explicit Reporter(Balancer& of) : servers{of} {}
  void work() {
    auto lease = servers.pick();
    if (!lease) return;
    ++picks;
    bool const strong = lease->id() == "0";
    lease.report_load({.cpu_utilization = 0.5, .rps = strong ? 300.0 : 100.0});
    lease.finish();
    (void)servers.report_load("3", {.cpu_utilization = 0.5, .rps = 100});
  }
  Balancer& servers;
  std::int64_t picks = 0;
};

std::vector<poise::Endpoint> endpoints(int round) {
  std::vector<poise::Endpoint> result;
  for (int i = 0; i < 4; ++i)
    result.push_back(
        {.id = std::to_string(i), .address = i == 2 ? std::to_string(round) : std::to_string(i)});
  return result;
}

}  // namespace

TEST_CASE("weights follow reports of many threads while backends are replaced") {
  poise::VirtualClock clock;
  Balancer servers{endpoints(0), {}, {.clock = clock, .seed = 1}};
  tests::Team<Reporter> reporters{3, servers};
  for (tests::Rounds rounds{300}; rounds.next();) {
    clock.advance(std::chrono::seconds{1});
    servers.tick();
    if (rounds.made() % 30 == 0) servers.update(endpoints(rounds.made()));
    (void)servers.stats();
  }
  std::int64_t picks = 0;
  for (auto const& each : reporters.stop()) picks += each.picks;
  CHECK(picks > 0);
  // What all the reports made of the weights: 3 : 1 : 1 : 1, or 1 for all that is not known yet.
  int strong = 0;
  for (int second = 0; second < 15; ++second) {
    for (auto const* id : {"0", "1", "3"})
      servers.report_load(id, {.cpu_utilization = 0.5, .rps = id[0] == '0' ? 300.0 : 100.0});
    clock.advance(std::chrono::seconds{1});
    servers.tick();
  }
  for (int i = 0; i < 6'000; ++i) strong += servers.pick()->id() == "0" ? 1 : 0;
  CHECK(strong > 2'500);
  CHECK(strong < 3'200);
}
