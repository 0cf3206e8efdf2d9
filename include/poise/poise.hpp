// SPDX-License-Identifier: MIT
#pragma once

// Everything that needs nothing but the standard library.

#include <poise/balancer.hpp>
#include <poise/load/ewma.hpp>
#include <poise/load/peak_ewma.hpp>
#include <poise/load/score.hpp>
#include <poise/policy/least.hpp>
#include <poise/policy/power_of_two.hpp>
#include <poise/policy/random.hpp>
#include <poise/policy/round_robin.hpp>
#include <poise/policy/smooth_weighted.hpp>
#include <poise/version.hpp>
