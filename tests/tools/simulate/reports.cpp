// SPDX-License-Identifier: MIT
// What servers say about their load, and what clients make of it.

#include <cstddef>
#include <string>

#include "simulate/server.hpp"
#include "support.hpp"
#include "support/catch.hpp"

namespace tools_simulate_reports {

namespace {

/// The share of the three strong servers in the last half: 9 of 12 would fit their speed.
double strong_share(std::string const& more, bool with_reports) {
  auto const scenario = simulate::read_scenario(R"(
clients     3
servers     3 cores=1 discipline=ps speed=3
servers     3 cores=1 discipline=ps speed=1
work        exponential mean=10ms
utilisation 0.6
timeout     1s
warmup      8s
window      20s
)" + more);
  auto const reports = with_reports ? simulate::reports_of(scenario) : simulate::Reports{};
  auto const result = tests::run(scenario, "smooth_weighted", 1, reports);
  double share = 0;
  for (std::size_t host = 0; host < 3; ++host)
    share += tests::share(result, host, simulate::slices / 2);
  return share;
}

}  // namespace

TEST_CASE("a server says how many requests it serves, and how busy it is") {
  simulate::Server server{{.cores = 2, .speed = 1}};
  server.measure_every(1e9);
  CHECK(server.load(5e8) == poise::LoadReport{});
  for (int i = 0; i < 30; ++i) {
    server.arrive(1e8 * i, 0, 5e7);  // ten a second of 50 ms: a quarter of two cores
    (void)server.depart();
  }
  if (server.load(3e9).rps == 0) FAIL("it says nothing");
  CHECK(server.load(3e9).rps == Approx(10).margin(1));
  CHECK(server.load(3e9).cpu_utilization == Approx(0.25).margin(0.03));
  CHECK(server.load(3e9).eps == 0);
  for (int i = 0; i < 12; ++i) server.note_failure(3e9 + 1e8 * i);
  CHECK(server.load(4.2e9).eps == Approx(10).margin(1.5));
}

TEST_CASE("load reports make a rotation fit servers of unequal speed") {
  CHECK(strong_share("", false) == Approx(0.5).margin(0.01));
  CHECK(strong_share("", true) == Approx(0.75).margin(0.03));
}

TEST_CASE("load reports follow a server whose speed changes") {
  auto const slowed = strong_share("at 4s servers 0-2 speed=1\n", true);
  CHECK(slowed == Approx(0.5).margin(0.04));
}

}  // namespace tools_simulate_reports
