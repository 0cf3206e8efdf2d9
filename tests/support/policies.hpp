// SPDX-License-Identifier: MIT
#pragma once

// Every policy that poise ships: what tests and benchmarks hold of all of them, they hold of this
// list.

#include <tuple>

#include <poise/load/ewma.hpp>
#include <poise/load/peak_ewma.hpp>
#include <poise/load/score.hpp>
#include <poise/policy/least.hpp>
#include <poise/policy/power_of_two.hpp>
#include <poise/policy/random.hpp>
#include <poise/policy/round_robin.hpp>
#include <poise/policy/smooth_weighted.hpp>

namespace tests {

using AllPolicies = std::tuple<poise::RoundRobin, poise::ExactRoundRobin, poise::SmoothWeighted,
                               poise::Random, poise::WeightedRandom, poise::LeastConnections,
                               poise::P2C, poise::LeastLatency, poise::Least<poise::PeakEwma>,
                               poise::PowerOfTwo<poise::PeakEwma>, poise::PowerOfTwo<poise::Score>>;

}  // namespace tests
