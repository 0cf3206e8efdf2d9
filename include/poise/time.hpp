// SPDX-License-Identifier: MIT
#pragma once

// poise's own time line, which any clock can feed.
//
// Statistics, health rules and retries see only poise::Time. The balancer's runtime holds the
// clock. With a VirtualClock nothing sleeps, and every run is the same.

#include <chrono>
#include <cstdint>
#include <memory>

#include <poise/sync/counted_time.hpp>
#include <poise/sync/cycles.hpp>
#include <poise/sync/relaxed.hpp>
#include <poise/sync/stop.hpp>

namespace poise::inline v0_1_0 {

/// Time spans are nanoseconds.
using Duration = std::chrono::nanoseconds;

/// The clock type that poise::Time belongs to. It has no now(): read a runtime's clock instead.
struct Timeline {
  using duration = Duration;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<Timeline>;
  static constexpr bool is_steady = true;
};

/// A point in time, in nanoseconds since an origin that the clock chooses.
using Time = Timeline::time_point;

/// Real time: std::chrono::steady_clock. *Cost* 20-30 ns a read.
struct SteadyClock {
  [[nodiscard]] Time now() const noexcept {
    return Time{
        std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now().time_since_epoch())};
  }
  void sleep(Duration time, sync::StopToken const& stop = {}) const { sync::sleep(time, stop); }
};

namespace detail {

/// The processor's counter beside std::chrono::steady_clock.
struct Cycles {
  [[nodiscard]] static bool usable() noexcept { return sync::cycles_are_steady(); }
  [[nodiscard]] static std::uint64_t count() noexcept { return sync::cycles(); }
  [[nodiscard]] static std::int64_t reference() noexcept {
    return SteadyClock{}.now().time_since_epoch().count();
  }
};
inline constinit sync::CountedTime<Cycles> cycle_time;

}  // namespace detail

/// Real time as SteadyClock tells it, within some microseconds, read from the processor's counter
/// of cycles. *Cost* a third to a half of SteadyClock.
///
/// Where the counter can't serve as a clock (its rate varies, cores differ, the kernel does not use
/// it, or a moved virtual machine found another rate) it reads the steady clock instead. It also
/// does so in the first 10 ms of a process. One read in a second takes 0.3 us longer, to keep the
/// two together. A thread sees no time go back. A time that another thread read and handed over may
/// be later than one's own next read, by the time that a load from memory takes.
class CycleClock {
 public:
  CycleClock() noexcept { detail::cycle_time.start(); }

  [[nodiscard]] Time now() const noexcept {
    if constexpr (!sync::has_cycles) return SteadyClock{}.now();
    return Time{Duration{detail::cycle_time.now()}};
  }
  void sleep(Duration time, sync::StopToken const& stop = {}) const { sync::sleep(time, stop); }
};

/// A clock that moves only by advance(), set() and sleep(): for simulations and tests.
///
/// Copies show the same time. set() may move it back, to imitate a broken clock. *Threads* any.
class VirtualClock {
 public:
  // Spelled out: g++ 12 crashes on the implicit one where a member's initialiser names only the
  // seed.
  VirtualClock() : nanoseconds_{std::make_shared<sync::Relaxed<std::int64_t>>(0)} {}

  [[nodiscard]] Time now() const noexcept { return Time{Duration{nanoseconds_->load()}}; }
  void advance(Duration time) const noexcept { nanoseconds_->add(time.count()); }
  void set(Time time) const noexcept { nanoseconds_->store(time.time_since_epoch().count()); }
  void sleep(Duration time, sync::StopToken const& stop = {}) const noexcept {
    if (!stop.stop_requested()) advance(time);
  }

 private:
  std::shared_ptr<sync::Relaxed<std::int64_t>> nanoseconds_;
};

}  // namespace poise::inline v0_1_0
