// SPDX-License-Identifier: MIT
// Stands between the program and the C library's allocator and locks.

#include "hooks.hpp"

#if POISE_COUNTS

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>

#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>

namespace {

std::atomic<std::uint64_t> allocations{0};
std::atomic<std::uint64_t> locks{0};
std::atomic<std::int64_t> live_bytes{0};
constinit thread_local bool memory_is_out = false;

void* counted(void* memory) {
  if (memory != nullptr) {
    ++allocations;
    live_bytes += static_cast<std::int64_t>(malloc_usable_size(memory));
  }
  return memory;
}

template <class Function>
Function* next_definition(char const* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

}  // namespace

// glibc lets a program define these, and keeps its own under the names below.
extern "C" {

void* __libc_malloc(std::size_t);                 // NOLINT
void* __libc_calloc(std::size_t, std::size_t);    // NOLINT
void* __libc_realloc(void*, std::size_t);         // NOLINT
void* __libc_memalign(std::size_t, std::size_t);  // NOLINT
void __libc_free(void*);                          // NOLINT

void* malloc(std::size_t size) { return memory_is_out ? nullptr : counted(__libc_malloc(size)); }
void* calloc(std::size_t count, std::size_t size) {
  return memory_is_out ? nullptr : counted(__libc_calloc(count, size));
}
void* realloc(void* old, std::size_t size) {
  if (memory_is_out) return nullptr;
  if (old != nullptr) live_bytes -= static_cast<std::int64_t>(malloc_usable_size(old));
  return counted(__libc_realloc(old, size));
}
void* memalign(std::size_t alignment, std::size_t size) {
  return memory_is_out ? nullptr : counted(__libc_memalign(alignment, size));
}
void* aligned_alloc(std::size_t alignment, std::size_t size) {
  return memory_is_out ? nullptr : counted(__libc_memalign(alignment, size));
}
int posix_memalign(void** memory, std::size_t alignment, std::size_t size) {
  if (memory_is_out) return ENOMEM;
  *memory = counted(__libc_memalign(alignment, size));
  return *memory == nullptr ? ENOMEM : 0;
}
void free(void* memory) {
  if (memory != nullptr) live_bytes -= static_cast<std::int64_t>(malloc_usable_size(memory));
  __libc_free(memory);
}

int pthread_mutex_lock(pthread_mutex_t* mutex) {
  static auto* const next = next_definition<int(pthread_mutex_t*)>("pthread_mutex_lock");
  ++locks;
  return next(mutex);
}
int pthread_mutex_trylock(pthread_mutex_t* mutex) {
  static auto* const next = next_definition<int(pthread_mutex_t*)>("pthread_mutex_trylock");
  ++locks;
  return next(mutex);
}
int pthread_rwlock_rdlock(pthread_rwlock_t* lock) {
  static auto* const next = next_definition<int(pthread_rwlock_t*)>("pthread_rwlock_rdlock");
  ++locks;
  return next(lock);
}
int pthread_rwlock_wrlock(pthread_rwlock_t* lock) {
  static auto* const next = next_definition<int(pthread_rwlock_t*)>("pthread_rwlock_wrlock");
  ++locks;
  return next(lock);
}

}  // extern "C"

tests::Counts tests::counts() { return {allocations, locks, live_bytes}; }

tests::OutOfMemory::OutOfMemory() noexcept { memory_is_out = true; }
tests::OutOfMemory::~OutOfMemory() { memory_is_out = false; }

#else

tests::Counts tests::counts() { return {}; }

tests::OutOfMemory::OutOfMemory() noexcept = default;
tests::OutOfMemory::~OutOfMemory() = default;

#endif
