// SPDX-License-Identifier: MIT
#pragma once

// Whether a sanitizer watches this program: it stands between the program and malloc, and makes it
// ten times as slow, so that long tests do less.

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define POISE_TEST_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define POISE_TEST_SANITIZED 1
#endif
#endif
#ifndef POISE_TEST_SANITIZED
#define POISE_TEST_SANITIZED 0
#endif

namespace tests {

inline constexpr bool sanitized = POISE_TEST_SANITIZED != 0;

}  // namespace tests
