// SPDX-License-Identifier: MIT

// The cost of wrappers: pick and finish through AnyPolicy and through each wrapper, compared with
// the same policy alone, in the same run. Backends have two tiers, two zones and a label. All are
// healthy: the usual case, in which a wrapper restricts nothing.

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <poise/poise.hpp>

#include "support/ratios.hpp"

namespace {

using namespace poise;

std::vector<Endpoint> backends(int count) {
  std::vector<Endpoint> result;
  for (int i = 0; i < count; ++i)
    result.push_back({.id = std::to_string(i),
                      .zone = i % 2 == 0 ? "near" : "far",
                      .tier = i % 4 == 3 ? 1U : 0U,
                      .labels = {{"pool", "all"}}});
  return result;
}

template <class P>
void enlist(std::string const& name, P const& policy) {
  for (int const count : {10, 100, 1000})
    benchmark::RegisterBenchmark((name + "/" + std::to_string(count)).c_str(),
                                 [balancer = std::make_shared<Balancer<P>>(
                                      backends(count), policy)](benchmark::State& state) {
                                   for (auto _ : state) {
                                     auto lease = balancer->pick();
                                     lease.finish();
                                   }
                                 });
}

/// A policy, erased and in each wrapper; the wrappers' own costs are differences to it.
template <class P>
void enlist_all(std::string const& name, std::vector<bench::Comparison>& comparisons) {
  auto const beside = [&](std::string const& what, double at_most) {
    comparisons.push_back({what + "/" + name, name, at_most, 10, bench::Comparison::difference});
    return what + "/" + name;
  };
  P const policy{};
  enlist(name, policy);
  enlist(beside("any", 1), AnyPolicy{policy});
  enlist(beside("retry", 2.5), Retry<P>{{}, policy});
  enlist(beside("filter", 0), Filter{HasLabel{"pool", "all"}, policy});
  enlist(beside("priority", 0), PriorityRouter<P, P, P>{{}, policy, policy, policy});
  enlist(beside("failover", 0), Failover<P>{{}, policy});
  enlist(beside("zone_aware", 0), ZoneAware<P>{{.local = "near"}, policy});
  enlist(beside("subset", 0), Subset<P>{{.client = 0, .clients = 10, .size = 20}, policy});
  using Zoned = ZoneAware<Filter<P, HasLabel>>;
  Zoned const zoned{{.local = "near"}, {HasLabel{"pool", "all"}, policy}};
  enlist(beside("four_deep", 0), Retry<Failover<Zoned>>{{}, {{}, zoned}});
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<bench::Comparison> comparisons;
  enlist_all<RoundRobin>("round_robin", comparisons);
  enlist_all<P2C>("p2c", comparisons);
  return bench::run(argc, argv, comparisons);
}
