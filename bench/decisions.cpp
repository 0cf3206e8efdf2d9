// SPDX-License-Identifier: MIT

// What does it cost to record decisions? Pick and finish with one recorded pick in 2^20, and with
// every pick recorded, against the same balancer that records none. Each reads the clock; it is a
// counter here, since two reads of the real one vary by more than what is measured.

#include <cstdint>
#include <string>
#include <vector>

#include <poise/analysis/decisions.hpp>
#include <poise/poise.hpp>

#include "support/beside.hpp"
#include "support/ratios.hpp"

namespace {

using namespace poise;
using analysis::DecisionOptions;
using analysis::Decisions;

struct CheapClock {
  Time now() const noexcept {
    thread_local std::int64_t ns = 0;
    return Time{Duration{ns += 10'000}};
  }
  void sleep(Duration) const {}
};

using None = Runtime<CheapClock, MeasureLatency>;
using Seldom = Runtime<CheapClock, MeasureLatency, Decisions<DecisionOptions{.sampling = 20}>>;
using Usual = Runtime<CheapClock, MeasureLatency, Decisions<>>;
using Each = Runtime<CheapClock, MeasureLatency, Decisions<DecisionOptions{.sampling = 0}>>;

template <class P, class R>
inline constexpr auto of = bench::cycle<Balancer<P, void, R>, bench::with_key>;

template <class P>
void enlist(std::string const& name) {
  bench::enlist(name,
                {{"none", of<P, None>},
                 {"seldom", of<P, Seldom>},
                 {"usual", of<P, Usual>},
                 {"each", of<P, Each>}},
                20'000);
}

}  // namespace

int main(int argc, char** argv) {
  enlist<RoundRobin>("round_robin");
  enlist<P2C>("p2c");
  enlist<LeastConnections>("least");
  enlist<Adaptive>("adaptive");
  std::vector<bench::Comparison> comparisons;
  for (std::string const policy : {"round_robin", "p2c", "least", "adaptive"})
    bench::compare_sampling(comparisons, policy, 100);
  return bench::run(argc, argv, comparisons, 40);
}
