// SPDX-License-Identifier: MIT
#pragma once

// Counts what this executable allocates and locks, by standing between it and the C library.

#include <cstdint>

#include "support/sanitized.hpp"

#define POISE_COUNTS !POISE_TEST_SANITIZED  // sanitizers stand there already

namespace tests {

struct Counts {
  std::uint64_t allocations = 0;
  std::uint64_t locks = 0;
  std::int64_t live_bytes = 0;  // as the allocator rounds them up
};

/// What happened so far.
Counts counts();

/// While it lives, this thread gets no memory.
class OutOfMemory {
 public:
  OutOfMemory() noexcept;
  OutOfMemory(OutOfMemory const&) = delete;
  OutOfMemory& operator=(OutOfMemory const&) = delete;
  ~OutOfMemory();
};

}  // namespace tests
