// SPDX-License-Identifier: MIT
#pragma once

// Counts what this executable allocates and locks, by standing between it and the C library.

#include <cstdint>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define POISE_COUNTS 0  // sanitizers stand there already
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define POISE_COUNTS 0
#endif
#endif
#ifndef POISE_COUNTS
#define POISE_COUNTS 1
#endif

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
