// SPDX-License-Identifier: MIT
#pragma once

// One background thread for all sources of a program.
//
//   poise::Balancer<> servers{{}};
//   poise::discovery::Watcher watcher;
//   auto const kept = watcher.follow(poise::discovery::from_file("/etc/backends"), servers);
//
// The balancer follows the file for as long as `kept` lives. Lists are applied on the watcher's
// thread, payload factories included: one that blocks delays other sources. asio/watcher.hpp does
// the same on an event loop.

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include <poise/discovery/feed.hpp>
#include <poise/discovery/files.hpp>
#include <poise/discovery/follower.hpp>
#include <poise/discovery/source.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::discovery {

namespace detail {

/// Blocks until one of the waits is there. *Requires* that the clock is SteadyClock.
inline void wait_for(Waits& waits, Time now) {
  auto const time = waits.left(now);
  timespec const timeout{static_cast<std::time_t>(time.count() / 1'000'000'000),
                         static_cast<long>(time.count() % 1'000'000'000)};
  ::ppoll(waits.descriptors.data(), waits.descriptors.size(), &timeout, nullptr);
}

}  // namespace detail

/// *Threads* any. Its destructor waits for the step that is running, and joins its thread.
class Watcher {
  struct Job {
    std::unique_ptr<Feed> feed;  // touched by the thread only, or before it starts
    std::vector<Status> status{};
    Time status_at{};
    bool hinted = false;
  };
  struct Shared {
    std::mutex mutex{};
    std::condition_variable changed{};
    std::vector<std::shared_ptr<Job>> jobs{};
    std::shared_ptr<Job> running{};
    bool stopping = false;
    std::thread::id thread{};
    detail::Descriptor wake = detail::event_descriptor();

    void wake_up() const {
      std::uint64_t const one = 1;
      (void)!::write(wake.get(), &one, sizeof one);
    }
  };

 public:
  /// Keeps a feed going while it lives. Once destroyed no list is applied any more: the destructor
  /// waits for a step in progress, unless a sink of the feed itself destroys it.
  class Handle {
   public:
    Handle() = default;
    Handle(Handle&& other) noexcept
        : shared_{std::move(other.shared_)}, job_{std::move(other.job_)} {}
    Handle& operator=(Handle&& other) noexcept {
      if (this == &other) return *this;
      stop();
      shared_ = std::move(other.shared_);
      job_ = std::move(other.job_);
      return *this;
    }
    Handle(Handle const&) = delete;
    Handle& operator=(Handle const&) = delete;
    ~Handle() { stop(); }

    /// Of each source, at most one step old.
    [[nodiscard]] std::vector<Status> status() const {
      std::scoped_lock const lock{shared_->mutex};
      auto result = job_->status;
      auto const passed = SteadyClock{}.now() - job_->status_at;
      for (auto& each : result) {
        if (each.age) *each.age += passed;
        each.next_look = std::max(each.next_look - passed, Duration::zero());
      }
      return result;
    }
    /// The list may be out of date: call it when a backend refuses connections. Asks soon, but at
    /// most every FollowerOptions::hint_gap. *Cost* a lock and a system call.
    void hint() const {
      {
        std::scoped_lock const lock{shared_->mutex};
        job_->hinted = true;
      }
      shared_->wake_up();
    }

   private:
    friend class Watcher;
    Handle(std::shared_ptr<Shared> shared, std::shared_ptr<Job> job)
        : shared_{std::move(shared)}, job_{std::move(job)} {}

    void stop() noexcept {
      if (!shared_) return;
      std::unique_lock lock{shared_->mutex};
      std::erase(shared_->jobs, job_);
      if (std::this_thread::get_id() != shared_->thread)
        shared_->changed.wait(lock, [&] { return shared_->running != job_; });
      // The thread may hold the job a little longer; what the feed refers to may not live so long.
      std::unique_ptr<Feed> feed;
      if (shared_->running != job_) feed = std::move(job_->feed);
      lock.unlock();
      feed.reset();
      shared_->wake_up();  // the thread may wait for descriptors of this feed
      job_.reset();
      shared_.reset();
    }

    std::shared_ptr<Shared> shared_{};
    std::shared_ptr<Job> job_{};
  };

  /// *Errors* std::system_error: no descriptor or thread is left.
  Watcher() : thread_{[shared = shared_] { work(*shared); }} {}
  Watcher(Watcher const&) = delete;
  Watcher& operator=(Watcher const&) = delete;
  ~Watcher() {
    {
      std::scoped_lock const lock{shared_->mutex};
      shared_->stopping = true;
    }
    shared_->wake_up();
    thread_.join();
  }

  /// Lets the balancer follow the source. *Requires* that the balancer outlives the handle and is
  /// not moved. *Errors* ConfigError.
  template <class Balancer>
  [[nodiscard]] Handle follow(std::unique_ptr<Source> source, Balancer& balancer,
                              FeedOptions const& options = {}) {
    return follow(std::make_unique<Feed>(std::move(source), into(balancer), options));
  }
  /// The same for any number of sources and balancers.
  [[nodiscard]] Handle follow(std::unique_ptr<Feed> feed) {
    auto job = std::make_shared<Job>();
    job->status_at = SteadyClock{}.now();
    job->status = feed->status(job->status_at);
    job->feed = std::move(feed);
    {
      std::scoped_lock const lock{shared_->mutex};
      shared_->jobs.push_back(job);
    }
    shared_->wake_up();
    return Handle{shared_, std::move(job)};
  }

 private:
  static void work(Shared& shared) {
    std::unique_lock lock{shared.mutex};
    shared.thread = std::this_thread::get_id();
    while (!shared.stopping) {
      Waits waits;
      waits.add(shared.wake.get(), POLLIN);
      auto jobs = shared.jobs;
      for (auto const& job : jobs) run(shared, job, waits, lock);
      lock.unlock();
      jobs.clear();  // without the lock: a source that ends may use other handles
      detail::wait_for(waits, SteadyClock{}.now());
      std::uint64_t count = 0;
      (void)!::read(shared.wake.get(), &count, sizeof count);
      lock.lock();
    }
  }

  /// Runs one step without the lock, unless the job's handle is gone.
  static void run(Shared& shared, std::shared_ptr<Job> const& job, Waits& waits,
                  std::unique_lock<std::mutex>& lock) {
    if (std::ranges::find(shared.jobs, job) == shared.jobs.end()) return;
    shared.running = job;
    bool const hinted = std::exchange(job->hinted, false);
    lock.unlock();
    auto const now = SteadyClock{}.now();
    if (hinted) job->feed->hint(now);
    job->feed->step(now);
    auto status = job->feed->status(now);
    job->feed->add_waits(waits);
    lock.lock();
    job->status = std::move(status);
    job->status_at = now;
    shared.running.reset();
    shared.changed.notify_all();
  }

  std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();
  std::thread thread_;
};

}  // namespace poise::inline v0_1_0::discovery
