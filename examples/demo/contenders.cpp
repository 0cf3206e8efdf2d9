// SPDX-License-Identifier: MIT
// Add a line to the list, and your policy takes part.

#include "contenders.hpp"

#include <utility>

#include <poise/poise.hpp>

#include "run.hpp"

namespace demo {

namespace {

/// A policy and, if it needs them, rules that watch the outcomes (observers of the runtime).
template <class Policy, class... Rules>
Contender contender(std::string about, Policy const& policy, Rules const&... rules) {
  return {poise::hooks::name(policy), std::move(about),
          [=](Scenario const& scenario, Screen& screen) {
            return Run<Policy, Rules...>{scenario, policy, rules...}(screen);
          }};
}

}  // namespace

std::vector<Contender> contenders() {
  return {
      contender("one after the other, weights ignored; each thread by itself", poise::RoundRobin{}),
      contender("the same, but all threads take turns together", poise::ExactRoundRobin{}),
      contender("one after the other in proportion to weight", poise::SmoothWeighted{}),
      contender("the least busy of all", poise::LeastConnections{}),
      contender("the less busy of two drawn at random", poise::P2C{}),
  };
}

}  // namespace demo
