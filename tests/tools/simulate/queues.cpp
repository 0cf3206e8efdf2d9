// SPDX-License-Identifier: MIT
// The simulator against queueing theory: formulas that have been proved, within 1 %.
//
// Many independent queues at once (random choice splits a Poisson stream into Poisson streams), so
// that a million requests are enough; seeds are fixed, so what passes once always passes. The
// standard error of each mean is below 0.4 %.

#include <cmath>
#include <string>

#include "support.hpp"
#include "support/catch.hpp"

namespace tools_simulate_queues {

using simulate::GlobalQueue;
using tests::mean;
using tests::run;
using tests::run_bound;

namespace {

std::string twenty(std::string const& discipline, std::string const& work, std::string const& load,
                   std::string const& window = "300s") {
  return "servers 20 discipline=" + discipline + "\nwork " + work + "\nutilisation " + load +
         "\ntimeout 100000s\nwarmup 5s\nwindow " + window + "\n";
}

void check_within_1_percent(double measured, double expected) {
  CAPTURE(measured, expected);
  CHECK(std::abs(measured / expected - 1) < 0.01);
}

/// Mean time in system of M/M/n by Erlang C.
double erlang_c(unsigned servers, double load, double service) {
  auto const offered = load * servers;
  double term = 1;
  double sum = 0;
  for (unsigned k = 0; k < servers; ++k) {
    sum += term;
    term *= offered / (k + 1);
  }
  auto const waiting = term / (1 - load) / (sum + term / (1 - load));
  return service + waiting * service / (servers * (1 - load));
}

}  // namespace

TEST_CASE("M/M/1: the mean time is service / (1 - load)") {
  check_within_1_percent(mean(run(twenty("fifo", "exponential mean=10ms", "0.5", "600s"))), 20);
}

TEST_CASE("M/D/1 and M/G/1 follow Pollaczek and Khinchine") {
  // W = service + load service (1 + cv^2) / (2 (1 - load)); cv^2 is 0, and e^(sigma^2) - 1.
  check_within_1_percent(mean(run(twenty("fifo", "fixed mean=10ms", "0.7"))),
                         10 + 0.7 * 10 / (2 * 0.3));
  auto const moment = std::exp(0.25);  // 1 + cv^2 for sigma = 0.5
  check_within_1_percent(mean(run(twenty("fifo", "lognormal mean=10ms sigma=0.5", "0.5"))),
                         10 + 0.5 * 10 * moment / (2 * 0.5));
}

TEST_CASE("processor sharing: the mean does not depend on the distribution") {
  for (auto const* work : {"fixed mean=10ms", "exponential mean=10ms",
                           "bimodal share=0.9 low=5ms high=55ms", "lognormal mean=10ms sigma=1"}) {
    CAPTURE(work);
    check_within_1_percent(mean(run(twenty("ps", work, "0.5", "600s"))), 20);
  }
}

TEST_CASE("processor sharing: a request's time is proportional to its work") {
  // Mean given work x is x / (1 - load); the longer ones are 11 times as long as the short ones.
  auto const result = run(twenty("ps", "bimodal share=0.9 low=5ms high=55ms", "0.5", "600s"));
  check_within_1_percent(mean(result), 20);
  CHECK(tests::quantile(result, 0.001) >= 5);
}

TEST_CASE("M/M/n: one queue for all follows Erlang C") {
  auto const text = twenty("fifo", "exponential mean=10ms", "0.9", "600s");
  check_within_1_percent(mean(run_bound<GlobalQueue>(text)), erlang_c(20, 0.9, 10));
  // A server with 20 cores is the same queue.
  auto const one = "servers 1 cores=20 discipline=fifo" + text.substr(text.find('\n'));
  check_within_1_percent(mean(run(one)), erlang_c(20, 0.9, 10));
}

TEST_CASE("two choices among many come near Mitzenmacher's limit") {
  // Mean time = service * sum over i >= 1 of load^(2^i - 2), for infinitely many servers.
  auto const limit = [](double load) {
    double sum = 0;
    for (int i = 1; i < 12; ++i) sum += std::pow(load, std::pow(2, i) - 2);
    return 10 * sum;
  };
  auto const text = [](std::string const& load, std::string const& window) {
    return "servers 500 discipline=fifo\nwork exponential mean=10ms\nutilisation " + load +
           "\ntimeout 1000s\nwarmup 2s\nwindow " + window + "\n";
  };
  check_within_1_percent(mean(run(text("0.7", "20s"), "p2c")), limit(0.7));
  check_within_1_percent(mean(run(text("0.9", "30s"), "p2c")), limit(0.9));
}

}  // namespace tools_simulate_queues
