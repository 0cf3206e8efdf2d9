// SPDX-License-Identifier: MIT

// What does a shadow policy cost? Pick and finish with one compared pick in 2^20, in 1024, and with
// every pick compared, against the same balancer without a shadow. The shadow needs no time and no
// ends of requests, so that nothing but picks differs.

#include <string>
#include <vector>

#include <poise/analysis/shadow.hpp>
#include <poise/poise.hpp>

#include "support/beside.hpp"
#include "support/ratios.hpp"

namespace {

using namespace poise;
using analysis::Shadow;
using analysis::ShadowOptions;

template <class P>
inline constexpr auto of = bench::cycle<Balancer<P>, bench::with_key>;

template <class Live, class Other>
void enlist(std::string const& name) {
  bench::enlist(name,
                {{"none", of<Live>},
                 {"seldom", of<Shadow<Live, Other, ShadowOptions{.sampling = 20}>>},
                 {"usual", of<Shadow<Live, Other>>},
                 {"each", of<Shadow<Live, Other, ShadowOptions{.sampling = 0}>>}},
                2'000);
}

}  // namespace

int main(int argc, char** argv) {
  enlist<RoundRobin, HashRing<>>("round_robin_beside_ring");
  enlist<P2C, LeastConnections>("p2c_beside_least");
  enlist<LeastConnections, P2C>("least_beside_p2c");
  enlist<HashRing<>, Maglev>("ring_beside_maglev");
  std::vector<bench::Comparison> comparisons;
  for (std::string const pair :
       {"round_robin_beside_ring", "p2c_beside_least", "least_beside_p2c", "ring_beside_maglev"})
    bench::compare_sampling(comparisons, pair, 0);
  return bench::run(argc, argv, comparisons, 300);
}
