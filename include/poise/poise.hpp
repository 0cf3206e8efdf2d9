// SPDX-License-Identifier: MIT
#pragma once

// What most programs need. Besides: dialect/ (hashing as other systems do it), health/ and
// resilience/ (rules for the runtime), asio/ (what needs Asio), compose/named.hpp (policies as
// text; it knows all the others and takes a while to compile), key.hpp, shard.hpp.

#include <poise/balancer.hpp>
#include <poise/compose/any_policy.hpp>
#include <poise/compose/bounded.hpp>
#include <poise/compose/failover.hpp>
#include <poise/compose/filter.hpp>
#include <poise/compose/priority_router.hpp>
#include <poise/compose/retry.hpp>
#include <poise/compose/subset.hpp>
#include <poise/compose/zone_aware.hpp>
#include <poise/load/ewma.hpp>
#include <poise/load/peak_ewma.hpp>
#include <poise/load/score.hpp>
#include <poise/policy/adaptive.hpp>
#include <poise/policy/hash_ring.hpp>
#include <poise/policy/least.hpp>
#include <poise/policy/maglev.hpp>
#include <poise/policy/power_of_two.hpp>
#include <poise/policy/random.hpp>
#include <poise/policy/rendezvous.hpp>
#include <poise/policy/round_robin.hpp>
#include <poise/policy/smooth_weighted.hpp>
#include <poise/version.hpp>
