// SPDX-License-Identifier: MIT
#pragma once

// A shared library in which one function reads, lets its fiber be moved, and reads again.

#include <cstdint>

namespace fibers {

/// The numbers of the reader slots that one function got, before and after `suspend`.
struct Indexes {
  std::uint32_t before;
  std::uint32_t after;
};
Indexes read_around(void (*suspend)());

/// The number of this thread's slot.
std::uint32_t thread_index();

}  // namespace fibers
