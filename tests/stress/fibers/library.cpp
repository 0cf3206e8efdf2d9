// SPDX-License-Identifier: MIT

#include "stress/fibers/library.hpp"

#include <poise/sync/epoch.hpp>

fibers::Indexes fibers::read_around(void (*suspend)()) {
  auto const before = poise::sync::ReadSection{}.thread_index();
  suspend();
  return {before, poise::sync::ReadSection{}.thread_index()};
}

std::uint32_t fibers::thread_index() { return poise::sync::ReadSection{}.thread_index(); }
