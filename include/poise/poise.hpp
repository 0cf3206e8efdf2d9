// SPDX-License-Identifier: MIT
#pragma once

// The headers that most programs need. Others: hashing/dialect/ (hashing as other systems do it),
// health/ (rules for the runtime), asio/ (calls, probes and tickers over Asio), compose/named.hpp
// (policies by name; it includes all policies and takes a while to compile), hashing/key.hpp,
// hashing/shard.hpp, sticky.hpp (cookies of sticky sessions).

#if __cplusplus < 202002L
#error "poise needs C++20: compile with -std=c++20 or later"
#else

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

#endif
