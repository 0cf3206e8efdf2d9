// SPDX-License-Identifier: MIT

// A fiber that goes on on another thread uses that thread's reader slot. In a shared library a
// compiler may keep the address of a thread's variable for a whole function: clang 19 does.

#include <array>
#include <cstddef>
#include <cstdint>
#include <thread>

#include <ucontext.h>

#include <poise/sync/epoch.hpp>

#include "stress/fibers/library.hpp"
#include "support/catch.hpp"

namespace {

struct Fiber {
  ucontext_t context{};
  ucontext_t* resumed_by = nullptr;
  fibers::Indexes indexes{};
  alignas(64) std::array<std::byte, 256 * 1024> stack{};
};
Fiber fiber;

void suspend() { swapcontext(&fiber.context, fiber.resumed_by); }

void body() {
  fiber.indexes = fibers::read_around(&suspend);
  suspend();
}

/// Runs the fiber on this thread until it suspends itself. Returns the thread's own number.
std::uint32_t resume() {
  auto const index = fibers::thread_index();
  ucontext_t here{};
  fiber.resumed_by = &here;
  swapcontext(&here, &fiber.context);
  return index;
}

}  // namespace

TEST_CASE("a fiber that goes on on another thread reads through that thread's slot") {
  poise::sync::start();
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = fiber.stack.data();
  fiber.context.uc_stack.ss_size = fiber.stack.size();
  makecontext(&fiber.context, &body, 0);
  auto const here = resume();
  std::uint32_t there = here;
  std::thread{[&] { there = resume(); }}.join();
  CHECK(here != there);
  CHECK(fiber.indexes.before == here);
  CHECK(fiber.indexes.after == there);
}
