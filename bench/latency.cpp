// SPDX-License-Identifier: MIT

// The cost of policies that use latency: pick and finish, against floors in the same run:
//
//   clocks    two reads of the clock, which every measurement of latency needs
//   leaking   the same policy and statistics, without the protection of backends and snapshots

#include <string>

#include <poise/poise.hpp>

#include "support/ratios.hpp"
#include "support/timed.hpp"

namespace {

using namespace poise;

using bench::Latencies;
using bench::Subject;

template <class P>
void leaking(benchmark::State& state) {
  auto& it = Subject<P>::of(state);
  CycleClock const clock;
  Latencies latencies;
  for (auto _ : state) {
    auto context = it.context(state);
    context.now = clock.now();
    it.pick(context).end(it.policy, latencies.next(), clock.now());
  }
}

template <class P>
void enlist(std::string const& name) {
  bench::enlist("cycle/" + name, bench::timed_cycle<P>);
  bench::enlist("leaking/" + name, leaking<P>);
}

}  // namespace

int main(int argc, char** argv) {
  enlist<PowerOfTwo<PeakEwma>>("p2c_peak_ewma");
  enlist<PowerOfTwo<Ewma>>("p2c_ewma");
  enlist<PowerOfTwo<Score>>("p2c_score");
  enlist<LeastLatency>("least_latency");
  enlist<P2C>("p2c");
  bench::enlist("clocks", bench::clocks<>);
  bench::enlist("steady_clocks", bench::clocks<SteadyClock>);

  return bench::run(argc, argv,
                    {{"cycle/p2c_peak_ewma", "clocks", 15, 10, bench::Comparison::difference},
                     {"clocks", "steady_clocks"},
                     {"cycle/p2c_ewma", "clocks", 0, 0, bench::Comparison::difference},
                     {"cycle/p2c_score", "clocks", 0, 0, bench::Comparison::difference},
                     {"cycle/least_latency", "clocks", 0, 0, bench::Comparison::difference},
                     {"cycle/p2c_peak_ewma", "leaking/p2c_peak_ewma", 1.5, 10},
                     {"cycle/p2c_ewma", "leaking/p2c_ewma"},
                     {"cycle/p2c_score", "leaking/p2c_score"},
                     {"cycle/least_latency", "leaking/least_latency"}});
}
