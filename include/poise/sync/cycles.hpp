// SPDX-License-Identifier: MIT
#pragma once

// The processor's counter of cycles, and whether it can serve as a clock.
//
// A read takes a third to a half of a read of std::chrono::steady_clock. It waits for nothing: the
// processor may take it before loads that precede it in the program have arrived. So it orders
// nothing between threads; see docs/design/time.md.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string_view>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace poise::inline v0_1_0::sync {

#if defined(__x86_64__)

inline constexpr bool has_cycles = true;
[[gnu::always_inline]] inline std::uint64_t cycles() noexcept { return __builtin_ia32_rdtsc(); }

namespace detail {

/// Whether the counter has one rate for all cores, whatever their frequency and sleep.
inline bool cycles_are_invariant() noexcept {
  constexpr unsigned power_leaf = 0x80000007;
  constexpr unsigned invariant_bit = 1U << 8U;
  unsigned a{};
  unsigned b{};
  unsigned c{};
  unsigned d{};
  return __get_cpuid(power_leaf, &a, &b, &c, &d) != 0 && (d & invariant_bit) != 0;
}

}  // namespace detail

#elif defined(__aarch64__)

inline constexpr bool has_cycles = true;
[[gnu::always_inline]] inline std::uint64_t cycles() noexcept {
  std::uint64_t count{};
  asm volatile("mrs %0, cntvct_el0" : "=r"(count));
  return count;
}

namespace detail {

/// The architecture promises it.
inline bool cycles_are_invariant() noexcept { return true; }

}  // namespace detail

#else

inline constexpr bool has_cycles = false;
inline std::uint64_t cycles() noexcept { return 0; }

namespace detail {

inline bool cycles_are_invariant() noexcept { return false; }

}  // namespace detail

#endif

namespace detail {

/// Whether Linux itself reads this clock source straight from the counter of cycles. It leaves such
/// a source when its watchdog sees that the counter can't be trusted.
inline bool is_counted(std::string_view source) noexcept {
  return source == "tsc" || source == "arch_sys_counter" || source == "kvm-clock" ||
         source == "hyperv_clocksource_tsc_page";
}

/// The source of the kernel's clock, without the end of the line. Empty if it can't be read.
template <std::size_t N>
std::string_view read_clock_source(char (&text)[N]) noexcept {
  auto* const file =
      std::fopen("/sys/devices/system/clocksource/clocksource0/current_clocksource", "re");
  if (file == nullptr) return {};
  auto const length = std::fread(text, 1, N, file);
  std::fclose(file);
  std::string_view const source{text, length};
  return source.substr(0, source.find('\n'));
}

}  // namespace detail

/// Whether `cycles()` can serve as a clock here: its rate never changes, it is the same on all
/// cores, and the kernel trusts it, too. *Cost* reads a file.
[[nodiscard]] inline bool cycles_are_steady() noexcept {
  char text[64];
  return detail::cycles_are_invariant() && detail::is_counted(detail::read_clock_source(text));
}

}  // namespace poise::inline v0_1_0::sync
