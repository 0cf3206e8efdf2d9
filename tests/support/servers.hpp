// SPDX-License-Identifier: MIT
#pragma once

// The balancers that most tests use: seeded, on a clock of the test's own.

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/balancer.hpp>
#include <poise/compose/any_policy.hpp>
#include <poise/policy/round_robin.hpp>

#include "clock.hpp"

namespace tests {

/// Round robin, nothing watched, no time used.
using Servers = poise::Balancer<poise::RoundRobin, void, poise::Runtime<Clock>>;

inline Servers servers(std::vector<poise::Endpoint> endpoints, Clock const& clock = {}) {
  return Servers{std::move(endpoints), {}, {.clock = clock, .seed = 1}};
}

/// Any policy behind one type of balancer: each further type takes seconds to compile, and what a
/// policy does is the same behind both.
using AnyServers = poise::Balancer<poise::AnyPolicy, void, poise::Runtime<Clock>>;

template <class P>
AnyServers servers_with(P const& policy, std::vector<poise::Endpoint> endpoints,
                        Clock const& clock = {}) {
  return AnyServers{std::move(endpoints), poise::AnyPolicy{policy}, {.clock = clock, .seed = 1}};
}

/// Endpoints whose ids are these letters: letters("abc").
inline std::vector<poise::Endpoint> letters(std::string_view ids) {
  std::vector<poise::Endpoint> result;
  for (char const id : ids)
    result.push_back({.id = std::string(1, id), .address = std::string(1, id)});
  return result;
}

/// Endpoints "0", "1", ... of weight 1.
inline std::vector<poise::Endpoint> numbered(std::size_t count, std::size_t first = 0) {
  std::vector<poise::Endpoint> result;
  result.reserve(count);
  for (std::size_t i = first; i < first + count; ++i)
    result.push_back({.id = std::to_string(i), .address = std::to_string(i)});
  return result;
}

/// The ids of the next picks, each finished at once; "-" where there was none.
template <class Balancer>
std::string picks(Balancer& balancer, std::size_t count, poise::Request const& request = {}) {
  std::string text;
  for (std::size_t i = 0; i < count; ++i) {
    auto lease = balancer.pick(request);
    text += lease ? lease->id() : "-";
    lease.finish();
  }
  return text;
}

/// A pick of this backend, whatever turn it is.
template <class Balancer>
typename Balancer::Lease pick_of(Balancer& balancer, std::string_view id) {
  for (int i = 0; i < 10'000; ++i) {
    auto lease = balancer.pick();
    if (!lease || lease->id() == id) return lease;
    lease.finish(poise::Result::cancelled);
  }
  return {};
}

template <class Balancer>
poise::BackendStats stats_of(Balancer& balancer, std::string_view id) {
  for (auto& each : balancer.stats().backends)
    if (each.id == id) return each;
  return {.id = "no such backend"};
}

template <class Balancer>
std::string ids_of(Balancer& balancer) {
  std::string text;
  for (auto const& each : balancer.stats().backends) text += each.id;
  return text;
}

}  // namespace tests
