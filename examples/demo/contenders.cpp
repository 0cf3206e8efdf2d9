// SPDX-License-Identifier: MIT
// Policies come by name, so one Run serves them all; rules would be further types (run.hpp).

#include "contenders.hpp"

#include <poise/compose/named.hpp>
#include <poise/poise.hpp>

#include "run.hpp"

namespace demo {

namespace {

Contender contender(std::string const& text) {
  auto const policy = poise::policy_named(text);
  return {poise::hooks::name(policy), [policy](Scenario const& scenario, Screen& screen) {
            return Run<poise::AnyPolicy>{scenario, policy}(screen);
          }};
}

}  // namespace

std::vector<Contender> contenders(std::string const& policy) {
  std::vector<std::string> names{policy};
  if (policy.empty())
    names = {"round_robin", "smooth_weighted", "random",        "least_connections",
             "p2c",         "least_latency",   "p2c(peak_ewma)"};
  if (policy == "all") {
    names = {"p2c(peak_ewma)"};
    for (auto const& each : poise::known_policies())
      if (!each.wraps) names.emplace_back(each.name);
  }
  std::vector<Contender> all;
  for (auto const& name : names) all.push_back(contender(name));
  return all;
}

}  // namespace demo
