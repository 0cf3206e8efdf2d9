// SPDX-License-Identifier: MIT
// Policies come by name, so one Run serves them all; rules are types (run.hpp).

#include "contenders.hpp"

#include <chrono>
#include <string>
#include <vector>

#include <poise/compose/policy_named.hpp>
#include <poise/health/monitor.hpp>
#include <poise/poise.hpp>

#include "../known_policies.hpp"
#include "run.hpp"

namespace demo {

namespace {

template <class... Rules>
Contender contender(std::string const& name, poise::AnyPolicy const& policy,
                    Rules const&... rules) {
  return {name, [=](Scenario const& scenario, Screen& screen) {
            auto log = Run<poise::AnyPolicy, Rules...>{scenario, policy, rules...}(screen);
            log.policy = name;
            return log;
          }};
}

/// With a health monitor whose times fit a short demo: a tenth of the defaults and less.
Contender watched(std::string const& text) {
  poise::health::MonitorOptions options;
  options.interval = std::chrono::seconds{1};
  options.ejection.base = std::chrono::milliseconds{500};
  options.ejection.unreachable = std::chrono::milliseconds{200};
  options.ejection.max = std::chrono::seconds{2};
  options.slow_start.window = std::chrono::milliseconds{500};
  return contender(text + " + health", poise::policy_named(text), poise::health::Standard{options});
}

}  // namespace

std::vector<Contender> contenders(std::string const& policy) {
  std::vector<std::string> names{policy};
  if (policy.empty())
    names = {"round_robin", "smooth_weighted", "least_connections",
             "p2c",         "p2c(peak_ewma)",  "adaptive"};
  if (policy == "all") {
    names = {"p2c(peak_ewma)"};
    for (auto const& each : poise::known_policies())
      if (!each.wraps) names.emplace_back(each.name);
  }
  std::vector<Contender> all;
  for (auto const& name : names) all.push_back(contender(name, poise::policy_named(name)));
  if (policy.empty() || policy == "all") all.push_back(watched("p2c"));
  return all;
}

std::string known() { return examples::known_policies(); }

}  // namespace demo
