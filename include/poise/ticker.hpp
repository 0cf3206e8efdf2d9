// SPDX-License-Identifier: MIT
#pragma once

// One background thread for everything periodic: ticks any number of balancers, and stops cleanly.
//
//   poise::Ticker ticker;
//   auto const watched = ticker.watch(servers);  // once a second, until `watched` is destroyed
//
// asio/ticker.hpp does the same from the timers of an event loop. A test ticks by itself.

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include <poise/base/check.hpp>
#include <poise/sync/relaxed.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0 {

/// *Threads* any. Its destructor waits for the job that is running, and joins its thread. Jobs run
/// one after the other: a job that blocks delays the others.
class Ticker {
  using Clock = std::chrono::steady_clock;
  using Id = std::uint64_t;
  struct Job {
    Id id;
    Duration period;
    std::shared_ptr<std::function<void()>> run;
    Clock::time_point due;
  };
  struct Shared {
    std::mutex mutex{};
    std::condition_variable changed{};
    std::vector<Job> jobs{};
    Id next_id = 1;
    Id running = 0;
    bool stopping = false;
    std::thread::id thread{};
    sync::Relaxed<std::uint64_t> failures{};
  };

 public:
  /// The job runs as long as its handle lives. The destructor waits for a run in progress, unless
  /// the job itself destroys its handle.
  class Handle {
   public:
    Handle() = default;
    Handle(Handle&& other) noexcept
        : shared_{std::move(other.shared_)}, id_{std::exchange(other.id_, 0)} {}
    Handle& operator=(Handle&& other) noexcept {
      if (this == &other) return *this;
      stop();
      shared_ = std::move(other.shared_);
      id_ = std::exchange(other.id_, 0);
      return *this;
    }
    Handle(Handle const&) = delete;
    Handle& operator=(Handle const&) = delete;
    ~Handle() { stop(); }

   private:
    friend class Ticker;
    Handle(std::shared_ptr<Shared> shared, Id id) : shared_{std::move(shared)}, id_{id} {}

    void stop() noexcept {
      if (!shared_) return;
      std::unique_lock lock{shared_->mutex};
      std::erase_if(shared_->jobs, [&](Job const& job) { return job.id == id_; });
      if (std::this_thread::get_id() != shared_->thread)
        shared_->changed.wait(lock, [&] { return shared_->running != id_; });
      lock.unlock();
      shared_.reset();
    }

    std::shared_ptr<Shared> shared_{};
    Id id_ = 0;
  };

  Ticker() : thread_{[shared = shared_] { work(*shared); }} {}
  Ticker(Ticker const&) = delete;
  Ticker& operator=(Ticker const&) = delete;
  ~Ticker() {
    {
      std::scoped_lock const lock{shared_->mutex};
      shared_->stopping = true;
    }
    shared_->changed.notify_all();
    thread_.join();
  }

  /// Ticks this balancer, for the first time at once. *Requires* that the balancer outlives the
  /// handle, and is not moved meanwhile. *Errors* ConfigError: the period is not above 0.
  template <class Balancer>
  [[nodiscard]] Handle watch(Balancer& balancer, Duration period = std::chrono::seconds{1}) {
    return every(period, [&balancer] { balancer.tick(); });
  }
  /// Runs any other job in the same way. A job that throws is counted, and runs again.
  [[nodiscard]] Handle every(Duration period, std::function<void()> run) {
    detail::check_positive("period of Ticker", period);
    std::scoped_lock const lock{shared_->mutex};
    auto const id = shared_->next_id++;
    shared_->jobs.push_back(
        {id, period, std::make_shared<std::function<void()>>(std::move(run)), Clock::now()});
    shared_->changed.notify_all();
    return Handle{shared_, id};
  }

  /// Runs that threw.
  [[nodiscard]] std::uint64_t failures() const noexcept { return shared_->failures.load(); }

 private:
  static void work(Shared& shared) {
    std::unique_lock lock{shared.mutex};
    shared.thread = std::this_thread::get_id();
    while (!shared.stopping) {
      auto const first = std::ranges::min_element(shared.jobs, {}, &Job::due);
      if (first == shared.jobs.end()) {
        shared.changed.wait(lock);
      } else if (auto const due = first->due; due > Clock::now()) {
        // At most an hour: some clocks can't represent the time of a job that never runs again.
        shared.changed.wait_until(lock, std::min(due, Clock::now() + std::chrono::hours{1}));
      } else {
        // Counted from now, not from the due time: runs missed during a pause are not made up.
        first->due = after(Clock::now(), first->period);
        shared.running = first->id;
        run(shared, first->run, lock);
      }
    }
  }

  /// The clock's maximum, "never", if the sum exceeds it.
  static Clock::time_point after(Clock::time_point now, Duration period) noexcept {
    return period < Clock::time_point::max() - now ? now + period : Clock::time_point::max();
  }

  static void run(Shared& shared, std::shared_ptr<std::function<void()>> job,
                  std::unique_lock<std::mutex>& lock) {
    lock.unlock();
    try {
      (*job)();
    } catch (...) {
      shared.failures.add(1);
    }
    job.reset();  // its captures are destroyed before a waiting handle goes on
    lock.lock();
    shared.running = 0;
    shared.changed.notify_all();
  }

  std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();
  std::thread thread_;
};

}  // namespace poise::inline v0_1_0
