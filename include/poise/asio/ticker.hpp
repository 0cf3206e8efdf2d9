// SPDX-License-Identifier: MIT
#pragma once

// The Ticker of an event loop: ticks any number of balancers from timers, without a thread.
//
//   asio::io_context loop;
//   poise::asio::Ticker ticker{loop.get_executor()};
//   auto const watched = ticker.watch(servers);  // once a second, until `watched` is destroyed
//
// poise::Ticker (ticker.hpp) does the same on a thread of its own.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <system_error>
#include <utility>
#include <vector>

#include <asio/any_io_executor.hpp>
#include <asio/steady_timer.hpp>
#include <asio/strand.hpp>

#include <poise/asio/ending.hpp>
#include <poise/base/check.hpp>
#include <poise/sync/relaxed.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::asio {

namespace detail {

/// A timer that runs one job again and again.
class Beat : public std::enable_shared_from_this<Beat> {
 public:
  using Failures = sync::Relaxed<std::uint64_t>;

  Beat(::asio::any_io_executor const& executor, Duration period, std::function<void()> job,
       std::shared_ptr<Failures> failures)
      : timer_{executor}, period_{period}, job_{std::move(job)}, failures_{std::move(failures)} {}

  void start() { wait(Duration::zero()); }
  void end() { alive_.end(); }

 private:
  void wait(Duration time) {
    timer_.expires_after(time);
    timer_.async_wait([self = weak_from_this()](std::error_code) {
      if (auto const beat = self.lock()) beat->alive_.use([&] { beat->turn(); });
    });
  }
  void turn() {
    try {
      job_();
    } catch (...) {
      failures_->add(1);
    }
    wait(period_);
  }

  ::asio::steady_timer timer_;
  Duration const period_;
  std::function<void()> const job_;
  std::shared_ptr<Failures> failures_;
  Guarded alive_{};
};

}  // namespace detail

/// Jobs run on one strand of the executor, one after the other: a job that blocks delays the
/// others. *Threads* any. The executor must outlive the ticker and its handles.
class Ticker {
  using Beat = detail::Beat;

 public:
  /// The job runs as long as its handle lives. The destructor waits for a run in progress, unless
  /// the job itself destroys its handle.
  class Handle {
   public:
    Handle() = default;

   private:
    friend class Ticker;
    explicit Handle(std::shared_ptr<Beat> beat) noexcept : beat_{std::move(beat)} {}
    detail::Ending<Beat> beat_{};
  };

  explicit Ticker(::asio::any_io_executor const& executor)
      : strand_{::asio::make_strand(executor)} {}
  Ticker(Ticker const&) = delete;
  Ticker& operator=(Ticker const&) = delete;
  /// Ends all jobs; waits for the running one.
  ~Ticker() {
    for (auto const& each : beats_)
      if (auto const beat = each.lock()) beat->end();
  }

  /// Ticks this balancer, for the first time at once. *Requires* that the balancer outlives the
  /// handle, and is not moved meanwhile. *Errors* ConfigError: the period is not above 0.
  template <class Balancer>
  [[nodiscard]] Handle watch(Balancer& balancer, Duration period = std::chrono::seconds{1}) {
    return every(period, [&balancer] { balancer.tick(); });
  }
  /// Runs any other job in the same way. A job that throws is counted, and runs again.
  [[nodiscard]] Handle every(Duration period, std::function<void()> job) {
    poise::detail::check_positive("period of asio::Ticker", period);
    auto beat = std::make_shared<Beat>(strand_, in_range(period), std::move(job), failures_);
    std::scoped_lock const lock{mutex_};
    std::erase_if(beats_, [](auto const& each) { return each.expired(); });
    beats_.push_back(beat);
    beat->start();
    return Handle{std::move(beat)};
  }

  /// Runs that threw.
  [[nodiscard]] std::uint64_t failures() const noexcept { return failures_->load(); }

 private:
  /// A longer period would overflow the timer's clock.
  static Duration in_range(Duration period) {
    constexpr Duration max = std::chrono::hours{24 * 365 * 100};
    return std::min(period, max);
  }

  ::asio::any_io_executor strand_;
  std::shared_ptr<Beat::Failures> failures_ = std::make_shared<Beat::Failures>();
  std::mutex mutex_;
  std::vector<std::weak_ptr<Beat>> beats_{};
};

}  // namespace poise::inline v0_1_0::asio
