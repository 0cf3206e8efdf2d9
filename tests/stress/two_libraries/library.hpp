// SPDX-License-Identifier: MIT
#pragma once

// What each of the two shared libraries offers.

#include <cstdint>
#include <memory>

#include <poise/balancer.hpp>
#include <poise/policy/round_robin.hpp>

#include "stress/team.hpp"

using Servers = poise::Balancer<poise::RoundRobin, tests::Mortal>;

#define POISE_TEST_LIBRARY(side)                        \
  namespace side {                                      \
  void const* domain();                                 \
  std::uint32_t thread_index();                         \
  std::unique_ptr<Servers> make(tests::Census& census); \
  bool pick(Servers& servers);                          \
  void change(Servers& servers);                        \
  }
POISE_TEST_LIBRARY(left)
POISE_TEST_LIBRARY(right)
#undef POISE_TEST_LIBRARY
