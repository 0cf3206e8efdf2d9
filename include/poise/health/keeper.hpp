// SPDX-License-Identifier: MIT
#pragma once

// One background thread for everything periodic: ticks any number of balancers, and stops cleanly.
//
//   poise::health::Keeper keeper;
//   auto const kept = keeper.watch(servers);  // once a second, until `kept` is destroyed
//
// Not needed where something else ticks them: an event loop's timer (asio/ticker.hpp), or a test.

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

#include <poise/health/options.hpp>
#include <poise/sync/relaxed.hpp>
#include <poise/time.hpp>

namespace poise::health {

/// *Threads* any. Its thread starts with it and is joined by its destructor, which waits for the
/// job that is running, at most. Jobs run one after the other: one that blocks delays the others.
class Keeper {
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
  /// Keeps a job going while it lives. Once destroyed the job does not run any more; the destructor
  /// waits for it, unless it is the job itself that destroys it.
  class Kept {
   public:
    Kept() = default;
    Kept(Kept&& other) noexcept
        : shared_{std::move(other.shared_)}, id_{std::exchange(other.id_, 0)} {}
    Kept& operator=(Kept&& other) noexcept {
      if (this == &other) return *this;
      stop();
      shared_ = std::move(other.shared_);
      id_ = std::exchange(other.id_, 0);
      return *this;
    }
    Kept(Kept const&) = delete;
    Kept& operator=(Kept const&) = delete;
    ~Kept() { stop(); }

   private:
    friend class Keeper;
    Kept(std::shared_ptr<Shared> shared, Id id) : shared_{std::move(shared)}, id_{id} {}

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

  Keeper() : thread_{[shared = shared_] { work(*shared); }} {}
  Keeper(Keeper const&) = delete;
  Keeper& operator=(Keeper const&) = delete;
  ~Keeper() {
    {
      std::scoped_lock const lock{shared_->mutex};
      shared_->stopping = true;
    }
    shared_->changed.notify_all();
    thread_.join();
  }

  /// Ticks this balancer, at first at once. *Requires* that it outlives what is returned, and is
  /// not moved meanwhile. *Errors* ConfigError: the period is not above 0.
  template <class Balancer>
  [[nodiscard]] Kept watch(Balancer& balancer, Duration period = std::chrono::seconds{1}) {
    return every(period, [&balancer] { balancer.tick(); });
  }
  /// The same for anything else; what it throws is counted.
  [[nodiscard]] Kept every(Duration period, std::function<void()> run) {
    detail::check_positive("period of health::Keeper", period);
    std::scoped_lock const lock{shared_->mutex};
    auto const id = shared_->next_id++;
    shared_->jobs.push_back(
        {id, period, std::make_shared<std::function<void()>>(std::move(run)), Clock::now()});
    shared_->changed.notify_all();
    return Kept{shared_, id};
  }

  /// Jobs that threw.
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
        shared.changed.wait_until(lock, due);
      } else {
        // From now on, not from when it was due: after a pause nothing is made up for.
        first->due = Clock::now() + first->period;
        shared.running = first->id;
        run(shared, first->run, lock);
      }
    }
  }

  static void run(Shared& shared, std::shared_ptr<std::function<void()>> job,
                  std::unique_lock<std::mutex>& lock) {
    lock.unlock();
    try {
      (*job)();
    } catch (...) {
      shared.failures.add(1);
    }
    job.reset();  // what it holds is destroyed before anybody is told that it ended
    lock.lock();
    shared.running = 0;
    shared.changed.notify_all();
  }

  std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();
  std::thread thread_;
};

}  // namespace poise::health
