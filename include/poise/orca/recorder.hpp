// SPDX-License-Identifier: MIT
#pragma once

// What a server says about its own load: requests and errors a second, and how busy its process is.
//
//   poise::orca::LoadRecorder load;           // one for the process
//   load.count(failed);                       // for each request that was answered
//   header = poise::orca::to_header({load.report()});
//
// Numbers are means over the last whole window; before that they are 0, which says nothing. The
// first report() after a window's end begins the next one, so no thread is needed.
//
// Invariants: counts only grow. Who holds `turning_` alone reads and writes the values that they
// had when the window began. Nobody waits for it. The numbers of a report are stored one by one: a
// report that is read meanwhile may mix two windows.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <mutex>
#include <thread>

#include <time.h>

#include <poise/base/check.hpp>
#include <poise/load_report.hpp>
#include <poise/sync/relaxed.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::orca {

struct LoadRecorderOptions {
  Duration window = std::chrono::seconds{3};
  double cores = 0;  ///< That this process may use; 0: all that the machine has.

  /// *Errors* ConfigError.
  void check() const {
    poise::detail::check_positive("window of orca::LoadRecorder", window);
    poise::detail::check_not_negative("cores of orca::LoadRecorder", cores);
  }
};

/// The time, and the processor time that all threads of this process took together.
struct ProcessTime {
  [[nodiscard]] static Time now() noexcept { return SteadyClock{}.now(); }
  [[nodiscard]] static Duration used() noexcept {
    timespec time{};
    if (::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time) != 0) return {};
    return std::chrono::seconds{time.tv_sec} + std::chrono::nanoseconds{time.tv_nsec};
  }
};

/// *Threads* any. *Cost* of count(): an addition to a word that all threads share; of report(): a
/// clock read and four loads.
template <class Source>
class BasicLoadRecorder {
 public:
  /// *Errors* ConfigError.
  explicit BasicLoadRecorder(LoadRecorderOptions const& options = {}, Source source = {})
      : options_{options}, source_{source} {
    options.check();
    if (options_.cores == 0) options_.cores = std::max(1U, std::thread::hardware_concurrency());
    began_.store(source_.now().time_since_epoch().count());
    used_ = source_.used();
  }
  BasicLoadRecorder(BasicLoadRecorder const&) = delete;
  BasicLoadRecorder& operator=(BasicLoadRecorder const&) = delete;

  /// A request was answered.
  void count(bool failed = false) noexcept {
    requests_.add(1);
    if (failed) failures_.add(1);
  }
  /// If something else than the processor is the limit: 0 to 1 and above. A value that is negative
  /// or not finite counts as 0.
  void set_application_utilization(double value) noexcept {
    application_.store(std::isfinite(value) ? std::max(value, 0.0) : 0);
  }

  [[nodiscard]] LoadReport report() noexcept {
    auto const now = source_.now();
    if (is_due(now))
      if (std::unique_lock const lock{turning_, std::try_to_lock}; lock && is_due(now)) turn(now);
    return {.application_utilization = application_.load(),
            .cpu_utilization = cpu_.load(),
            .rps = rps_.load(),
            .eps = eps_.load()};
  }

 private:
  [[nodiscard]] bool is_due(Time now) const noexcept {
    return now.time_since_epoch().count() - began_.load() >= options_.window.count();
  }
  static double in_seconds(Duration time) noexcept {
    return std::chrono::duration<double>{time}.count();
  }

  void turn(Time now) noexcept {
    auto const passed = in_seconds(now.time_since_epoch() - Duration{began_.load()});
    auto const used = source_.used();
    auto const requests = requests_.load();
    auto const failures = failures_.load();
    cpu_.store(std::max(0.0, in_seconds(used - used_)) / (passed * options_.cores));
    rps_.store(static_cast<double>(requests - last_requests_) / passed);
    eps_.store(static_cast<double>(failures - last_failures_) / passed);
    used_ = used;
    last_requests_ = requests;
    last_failures_ = failures;
    began_.store(now.time_since_epoch().count());
  }

  LoadRecorderOptions options_;
  Source source_;
  sync::Relaxed<std::uint64_t> requests_{0};
  sync::Relaxed<std::uint64_t> failures_{0};
  sync::Relaxed<double> application_{0};
  sync::Relaxed<double> cpu_{0};
  sync::Relaxed<double> rps_{0};
  sync::Relaxed<double> eps_{0};
  sync::Relaxed<Duration::rep> began_{0};
  std::mutex turning_;
  // Under it:
  Duration used_{};
  std::uint64_t last_requests_ = 0;
  std::uint64_t last_failures_ = 0;
};

using LoadRecorder = BasicLoadRecorder<ProcessTime>;

}  // namespace poise::inline v0_1_0::orca
