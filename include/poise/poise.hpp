// SPDX-License-Identifier: MIT
#pragma once

// Everything that needs nothing but the standard library; except compose/named.hpp (policies as text),
// which knows all the others and takes a while to compile.

#include <poise/balancer.hpp>
#include <poise/compose/any_policy.hpp>
#include <poise/compose/failover.hpp>
#include <poise/compose/filter.hpp>
#include <poise/compose/priority_router.hpp>
#include <poise/compose/retry.hpp>
#include <poise/compose/subset.hpp>
#include <poise/compose/zone_aware.hpp>
#include <poise/load/ewma.hpp>
#include <poise/load/peak_ewma.hpp>
#include <poise/load/score.hpp>
#include <poise/policy/least.hpp>
#include <poise/policy/power_of_two.hpp>
#include <poise/policy/random.hpp>
#include <poise/policy/round_robin.hpp>
#include <poise/policy/smooth_weighted.hpp>
#include <poise/version.hpp>
