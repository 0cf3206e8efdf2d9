// SPDX-License-Identifier: MIT
#pragma once

// Every policy that poise ships: what tests and benchmarks hold of all of them, they hold of this
// list.

#include <tuple>

#include <poise/policy/least.hpp>
#include <poise/policy/power_of_two.hpp>
#include <poise/policy/round_robin.hpp>
#include <poise/policy/smooth_weighted.hpp>

namespace tests {

using AllPolicies = std::tuple<poise::RoundRobin, poise::ExactRoundRobin, poise::SmoothWeighted,
                               poise::LeastConnections, poise::P2C>;

}  // namespace tests
