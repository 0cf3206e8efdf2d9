// SPDX-License-Identifier: MIT
#pragma once

// std::stop_token where the standard library has it, and a sleep that it can end.
//
// libc++ has it only with -fexperimental-library. Without it a StopToken never requests a stop.

#include <chrono>
#include <thread>
#include <version>

#if defined(__cpp_lib_jthread)
#include <condition_variable>
#include <mutex>
#include <stop_token>
#endif

namespace poise::inline v0_1_0::sync {

#if defined(__cpp_lib_jthread)

using StopToken = std::stop_token;
template <class Callback>
using StopCallback = std::stop_callback<Callback>;

/// Sleeps for `time`, or until a stop is requested.
inline void sleep(std::chrono::nanoseconds time, StopToken const& stop) {
  if (!stop.stop_possible()) return std::this_thread::sleep_for(time);
  std::mutex mutex;
  std::condition_variable_any never_notified;
  std::unique_lock lock{mutex};
  never_notified.wait_for(lock, stop, time, [] { return false; });
}

#else

struct StopToken {
  [[nodiscard]] static constexpr bool stop_requested() noexcept { return false; }
  [[nodiscard]] static constexpr bool stop_possible() noexcept { return false; }
};
template <class Callback>
struct StopCallback {
  StopCallback(StopToken, Callback const&) noexcept {}
};

inline void sleep(std::chrono::nanoseconds time, StopToken) { std::this_thread::sleep_for(time); }

#endif

}  // namespace poise::inline v0_1_0::sync
