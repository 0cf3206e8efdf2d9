// SPDX-License-Identifier: MIT
#pragma once

// Keys, and what tests ask of every policy that maps them.

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include <poise/candidates.hpp>

#include "catch.hpp"
#include "stage.hpp"

namespace tests {

inline std::string key(int number) { return "user-" + std::to_string(number); }

/// The backends that the first keys are mapped to, by id.
template <class Balancer>
std::vector<std::string> owners(Balancer& balancer, int keys = 2000) {
  std::vector<std::string> result;
  for (int i = 0; i < keys; ++i) {
    auto const text = key(i);
    result.push_back(balancer.pick({.route_key = text})->id());
  }
  return result;
}

/// A key that is tried in vain goes to another backend, always to the same one. *Requires* 9.
template <class Balancer>
void check_tries_of_a_key(Balancer& balancer) {
  std::vector<std::uint64_t> tried;
  std::set<std::string> met;
  for (int attempt = 0; attempt < 8; ++attempt) {
    auto const lease = balancer.pick({.route_key = "k", .excluded = tried});
    CHECK(lease->id() == balancer.pick({.route_key = "k", .excluded = tried})->id());
    CHECK(met.insert(lease->id()).second);
    tried.push_back(lease.serial());
  }
}

/// If all weights are 0, requests with and without a key get no backend.
template <class P>
void check_no_weight(P const& policy) {
  Stage<P> stage{{0, 0}, policy};
  CHECK(stage.pick({.route_key = "k"}) == poise::Candidates::none);
  CHECK(stage.pick() == poise::Candidates::none);
}

}  // namespace tests
