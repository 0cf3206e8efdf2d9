// SPDX-License-Identifier: MIT
// What happens to requests and servers in the simulator.

#include <cmath>
#include <cstddef>
#include <numeric>
#include <string>
#include <vector>

#include "support.hpp"
#include "support/catch.hpp"

namespace tools_simulate_engine {

using simulate::GlobalQueue;
using simulate::ShortestDelay;
using tests::mean;
using tests::quantile;
using tests::run;
using tests::run_bound;
using tests::share;

namespace {

/// One server that does a request in exactly 10 ms, far from busy.
std::string calm(std::string const& more) {
  return "servers 4\nwork fixed mean=10ms\nutilisation 0.01\nwindow 100s\n" + more;
}

double error_share(simulate::Result const& result) {
  return static_cast<double>(result.errors) / static_cast<double>(result.samples.size());
}

}  // namespace

TEST_CASE("the network takes its time both ways") {
  CHECK(quantile(run(calm("network 3ms\n"), "least_connections"), 0.5) == Approx(16));
}

TEST_CASE("a server of twice the speed takes half the time") {
  CHECK(quantile(run("servers 2 speed=2\nwork fixed mean=10ms\nutilisation 0.01\nwindow 50s\n"),
                 0.5) == Approx(5));
}

TEST_CASE("a timeout counts as itself and as an error, and the server goes on working") {
  // Work of 30 ms, a timeout of 20 ms: no request is ever answered, and yet the servers are busy.
  auto const text =
      "servers 1 discipline=fifo\nwork fixed mean=30ms\nrate 20/s\ntimeout 20ms\nwindow 50s\n";
  auto const result = run(text);
  CHECK(error_share(result) == 1);
  CHECK(quantile(result, 0) == Approx(20));
  CHECK(quantile(result, 0.999) == Approx(20));
  // With 25 ms and a timeout of 40 ms a request succeeds if it waits less than 15 ms: at a load of
  // 0.5 that is the case for more than half, but not for all, because those who gave up still work.
  auto const busy = run(
      "servers 1 discipline=fifo\nwork fixed mean=25ms\nrate 20/s\ntimeout 40ms\nwindow 200s\n");
  CHECK(error_share(busy) > 0.1);
  CHECK(error_share(busy) < 0.5);
}

TEST_CASE("failing fast is an error that occupies no server") {
  auto const result = run(calm("at 0s server 2 errors=1 after=0.1ms\n"));
  CHECK(error_share(result) == Approx(0.25).margin(0.05));
  CHECK(quantile(result, 0.99) == Approx(1000));  // 100 times the work, if no timeout is given
  CHECK(error_share(run_bound<ShortestDelay>(calm("at 0s server 2 errors=1 after=0.1ms\n"))) == 0);
}

TEST_CASE("a retry goes to another server at once") {
  auto const result = run(calm("retries 1\nat 0s server 2 errors=1 after=1ms\n"));
  CHECK(result.errors == 0);
  CHECK(quantile(result, 0.5) == Approx(10));
  CHECK(quantile(result, 0.9) == Approx(11));  // one in four
}

TEST_CASE("a server that is down refuses, and is well again when it is up") {
  auto const result = run(calm("at 25s server 1 down\nat 50s server 1 up\n"));
  CHECK(error_share(result) == Approx(0.25 / 4).margin(0.02));
  for (auto const& each : result.samples)
    if (each.latency > 1e8F) CHECK((each.slice >= 14 && each.slice <= 30));
}

TEST_CASE("a server that crashes loses what it works on") {
  // 1 s of work each, about one in flight per server: it is lost at the crash, and all after it.
  auto const result =
      run("servers 1\nwork fixed mean=1s\nrate 0.5/s\ntimeout 50s\nwindow 100s\n"
          "at 50s server 0 down\n");
  CHECK(error_share(result) == Approx(0.5).margin(0.15));
}

TEST_CASE("a server gets nothing after it leaves and nothing before it joins") {
  auto const result = run(calm("at 50s server 0 leave\nat 50s server 3 join\n"));
  CHECK(share(result, 0, 0, 30) == Approx(1.0 / 3).margin(0.1));
  CHECK(share(result, 0, 31) == 0);
  CHECK(share(result, 3, 0, 30) == 0);
  CHECK(share(result, 3, 31) == Approx(1.0 / 3).margin(0.1));
  CHECK(result.errors == 0);
}

TEST_CASE("a server that joins at the very start is there from the start") {
  auto const result = run(calm("at 0s server 3 join\nat 50s server 3 leave\n"));
  CHECK(share(result, 3, 0, 29) == Approx(0.25).margin(0.1));
  CHECK(share(result, 3, 31) == 0);
}

TEST_CASE("a server may leave or join twice without effect") {
  auto const result =
      run(calm("at 20s server 0 leave\nat 30s servers 0-1 leave\n"
               "at 70s server 0 join\nat 80s servers 0-1 join\nat 90s servers 0-1 join\n"));
  CHECK(share(result, 0, 0, 11) > 0.1);
  CHECK(share(result, 0, 19, 41) == 0);
  CHECK(share(result, 0, 43) > 0.1);
}

TEST_CASE("servers that left one by one may join together again") {
  auto const result =
      run(calm("at 40s server 0 leave\nat 50s server 1 leave\nat 60s servers 0-2 join\n"
               "at 70s server 3 join\nat 70s server 3 leave\n"));
  CHECK(share(result, 0, 0, 23) == Approx(0.5).margin(0.15));
  CHECK(share(result, 1, 0, 23) == Approx(0.5).margin(0.15));
  CHECK(share(result, 2, 0, 35) == 0);
  CHECK(share(result, 2, 37) > 0.1);
  CHECK(share(result, 3) == 0);
}

TEST_CASE("a request without a server is an error, and the simulation goes on") {
  auto const result = run(calm("at 50s servers all leave\nat 75s servers all join\n"));
  CHECK(error_share(result) == Approx(0.25).margin(0.1));
}

TEST_CASE("a ramp changes speed bit by bit") {
  auto const result =
      run("servers 1\nwork fixed mean=10ms\nutilisation 0.01\nwindow 60s\n"
          "at 0s server 0 speed=0.5\nat 20s server 0 ramp speed=1 over=20s\n");
  std::vector<double> sums(60);
  std::vector<double> counts(60);
  for (auto const& each : result.samples) {
    sums[each.slice] += static_cast<double>(each.latency) / 1e6;
    ++counts[each.slice];
  }
  CHECK(sums[10] / counts[10] == Approx(20).epsilon(0.02));
  CHECK(sums[30] / counts[30] == Approx(10 / 0.7625).epsilon(0.05));
  CHECK(sums[50] / counts[50] == Approx(10).epsilon(0.02));
}

TEST_CASE("a later speed event ends a ramp") {
  auto const result =
      run("servers 1\nwork fixed mean=10ms\nutilisation 0.01\nwindow 60s\n"
          "at 0s server 0 ramp speed=0.1 over=40s\nat 20s server 0 speed=1\n");
  for (auto const& each : result.samples)
    if (each.slice > 20) CHECK(each.latency == Approx(10e6));
  auto const again =
      run("servers 1\nwork fixed mean=10ms\nutilisation 0.01\nwindow 60s\n"
          "at 0s server 0 ramp speed=0.1 over=60s\nat 0s server 0 ramp speed=2 over=1ms\n");
  for (auto const& each : again.samples)
    if (each.slice > 0) CHECK(each.latency == Approx(5e6));
}

TEST_CASE("a second walk replaces the first one, and starts where it is at home") {
  // Sigma 0: it stands still at the speed that the server has by itself.
  auto const still =
      run("servers 3\nwork fixed mean=10ms\nutilisation 0.001\nwindow 60s\n"
          "at 0s servers all wander sigma=1 time=1s\nat 10s servers all wander sigma=0 time=1s\n");
  for (auto const& each : still.samples)
    if (each.slice > 11) CHECK(each.latency == Approx(10e6));
  // 2000 servers that begin with a second line: the mean of their speeds is 1 from the start, with
  // a standard error of 1.5 %. At the median of their walk it would be 0.84.
  auto const second =
      run("servers 1\nservers 2000\nwork fixed mean=1ms\nutilisation 0.01\nwindow 10ms\n"
          "at 0s server 0 wander sigma=0.1 time=10s\n"
          "at 0s servers 1-2000 wander sigma=0.6 time=10s\n");
  CHECK(std::accumulate(second.capacity.begin(), second.capacity.end(), 0.0) / 2001 ==
        Approx(1).margin(0.06));
}

TEST_CASE("wandering speeds keep their mean") {
  // 400 servers, 200 times the correlation time: the mean of 80 000 log-normal values of sigma 0.6
  // has a standard error of 0.3 %.
  auto const result =
      run("servers 400\nwork fixed mean=10ms\nutilisation 0.05\nwindow 40s\n"
          "at 0s servers all wander sigma=0.6 time=200ms\n");
  auto const mean_capacity =
      std::accumulate(result.capacity.begin(), result.capacity.end(), 0.0) / 400;
  CHECK(mean_capacity == Approx(1).epsilon(0.01));
}

TEST_CASE("all kinds of arrivals have the rate that was asked for") {
  for (auto const* kind : {"poisson", "batch mean=4", "bursty high=1.6 low=0.7 period=500ms"}) {
    CAPTURE(kind);
    auto const result = run("servers 10\nwork fixed mean=1ms\nrate 1000/s\nwindow 200s\narrivals " +
                            std::string{kind} + "\n");
    CHECK(static_cast<double>(result.samples.size()) == Approx(200'000).epsilon(0.01));
  }
}

TEST_CASE("a period far below the time between requests costs no time") {
  auto const result =
      run("servers 1\nwork fixed mean=1ms\nrate 10/s\nwindow 1000s\n"
          "arrivals bursty high=1.6 low=0.7 period=1ns\n");
  CHECK(static_cast<double>(result.samples.size()) == Approx(10'000).epsilon(0.04));
}

TEST_CASE("bursts are bursts") {
  // A third of each period at 1.6 times the rate; slices are as long as twentieths of a period.
  auto const result =
      run("servers 10\nwork fixed mean=0.01ms\nrate 10000/s\nwindow 6s\n"
          "arrivals bursty high=1.6 low=0.7 period=2s\n");
  double high = 0;
  for (std::size_t slice = 0; slice < 6; ++slice)
    for (auto const& each : result.picks) high += each[slice];
  CHECK(high == Approx(1.6 * 10'000 * 0.6).epsilon(0.03));
}

TEST_CASE("every kind of work has its mean") {
  for (auto const* work :
       {"exponential mean=10ms", "lognormal mean=10ms sigma=1",
        "bimodal share=0.9 low=5ms high=55ms", "pareto alpha=1.5 mean=10ms cap=1s"}) {
    CAPTURE(work);
    auto const kind = simulate::read_scenario("servers 1\nutilisation 0.1\nwindow 1s\nwork " +
                                              std::string{work} + "\n")
                          .work;
    simulate::Dice random{1, 1};
    double sum = 0;
    constexpr int draws = 1'000'000;
    for (int i = 0; i < draws; ++i) sum += kind.draw(random);
    CHECK(kind.mean == Approx(1e7));
    CHECK(sum / draws == Approx(1e7).epsilon(0.02));
  }
}

TEST_CASE("the same seed gives the same requests, bit for bit, another seed others") {
  auto const text = calm("network 1ms\nclients 3\nat 0s servers all wander sigma=0.5 time=1s\n");
  auto const latencies = [&](std::uint64_t seed) {
    std::vector<float> all;
    for (auto const& each : run(text, "p2c", seed).samples) all.push_back(each.latency);
    return all;
  };
  CHECK(latencies(1) == latencies(1));
  CHECK(latencies(1) != latencies(2));
}

TEST_CASE("scaled by a power of two, everything takes so much longer and nothing else changes") {
  auto const scenario = simulate::read_scenario(
      "servers 5\nwork exponential mean=8ms\nutilisation 0.8\nnetwork 1ms\nwindow 20s\n"
      "arrivals bursty high=1.5 low=0.5 period=1s\nat 4s server 1 speed=0.5\n");
  auto const once = run(scenario, "least_connections");
  auto const longer = run(scenario.scaled(1024), "least_connections");
  REQUIRE(once.samples.size() == longer.samples.size());
  CHECK(quantile(longer, 0.99) == Approx(1024 * quantile(once, 0.99)));
}

TEST_CASE("no policy beats the bounds where the best is known") {
  // Equal FIFO servers and exponential work: one queue for all is optimal for the mean.
  auto const text =
      "servers 10 discipline=fifo\nwork exponential mean=10ms\nutilisation 0.8\n"
      "window 100s\nclients 1\n";
  auto const bound = mean(run_bound<GlobalQueue>(text));
  for (auto const* policy : {"round_robin", "p2c", "least_connections"}) {
    CAPTURE(policy);
    CHECK(mean(run(text, policy)) > bound);
  }
}

TEST_CASE("where all servers fail more often than not, bounds use them all the same") {
  auto const text = calm("retries 9\nat 0s servers all errors=0.6 after=1ms\n");
  CHECK(error_share(run_bound<GlobalQueue>(text)) < 0.05);
  CHECK(error_share(run_bound<ShortestDelay>(text)) < 0.05);
}

TEST_CASE("a server that stands still holds up its own requests, not the simulation") {
  auto const result =
      run("servers 2\nwork fixed mean=10ms\nrate 100/s\ntimeout 100000s\nwindow 10s\n"
          "at 5s server 1 speed=0\n",
          "round_robin");
  CHECK(error_share(result) == Approx(0.25).margin(0.03));
  CHECK(quantile(result, 0.99) == Approx(1e8));
}

TEST_CASE("above capacity the queue grows by the difference") {
  auto const result = run_bound<GlobalQueue>(
      "servers 2 discipline=fifo\nwork fixed mean=10ms\nutilisation 1.5\ntimeout 1000s\n"
      "window 10s\n");
  REQUIRE(result.in_system.size() == 10);
  // 300 a second come, 200 are served; n = 1000, standard deviation 55.
  CHECK(result.in_system.back() == Approx(1000).margin(200));
  CHECK(result.in_system.front() == Approx(100).margin(60));
}

}  // namespace tools_simulate_engine
