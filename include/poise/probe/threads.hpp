// SPDX-License-Identifier: MIT
#pragma once

// Probes by a function of yours that blocks: a query on a connection, a call of an RPC library.
//
//   poise::health::ProbeThreads probes{servers, monitor, [](auto const& target, auto deadline) {
//     return ping(target.address, deadline) ? Probed{true, "pong"} : Probed{false, "no pong"};
//   }};
//
// Two threads. A function can't be stopped from outside, so keep to the deadline: a function that
// hangs holds its thread. Backends whose last probe took the whole timeout are left to the second
// thread; the first asks backends that answer before those it does not know yet. So backends that
// answer are asked on time, at most one timeout late. The first round over n backends that hang
// takes n / 2 timeouts. Where hundreds may hang, use sockets and an event loop (asio/prober.hpp).
//
// What the function throws is a failed probe. A std::system_error of the client's own lack
// (is_local_failure: no file descriptor ...) is no verdict.

#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <poise/outcome.hpp>
#include <poise/probe/schedule.hpp>
#include <poise/sync/relaxed.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::health {

/// *Errors* ConfigError: see Schedule and Probing::check. The destructor waits for the probes that
/// are running.
class ProbeThreads {
 public:
  using Ask = std::function<Probed(Target const&, Time deadline)>;

  /// *Requires* that the balancer outlives it and is not moved. `ask` runs on two threads at once.
  template <class Balancer, class Monitor>
  ProbeThreads(Balancer& balancer, Monitor monitor, Ask ask, ProbeOptions const& options = {})
      : ask_{std::move(ask)},
        probing_{Probing{balancer, std::move(monitor)}, options},
        schedule_{options} {
    for (std::size_t i = 0; i < threads_.size(); ++i)
      threads_[i] = std::thread{[this, i] { work(i == 0); }};
  }
  ProbeThreads(ProbeThreads const&) = delete;
  ProbeThreads& operator=(ProbeThreads const&) = delete;
  ~ProbeThreads() {
    {
      std::scoped_lock const lock{mutex_};
      stopping_ = true;
    }
    changed_.notify_all();
    for (auto& thread : threads_) thread.join();
    probing_.warn({});
  }

  /// Probes, reports and readings of the set that threw.
  [[nodiscard]] std::uint64_t failures() const noexcept { return failures_.load(); }

 private:
  void work(bool first) {
    std::unique_lock lock{mutex_};
    while (!stopping_) {
      auto const now = clock_.now();
      if (now >= refresh_) {
        refresh_ = now + std::chrono::seconds{1};
        std::optional<std::vector<Target>> all;
        unlocked(lock, [&] { all = probing_.targets(); });
        if (all) schedule_.update(*all, now);
        auto warning = schedule_.warning();
        unlocked(lock, [&] { probing_.warn(std::move(warning)); });
      } else if (tick_due_ && now >= *tick_due_) {
        tick_due_.reset();
        unlocked(lock, [&] { probing_.tick(); });
      } else if (auto expired = schedule_.expire(now)) {
        tell(lock, expired->report);
      } else if (auto due = first ? start_first(now) : schedule_.start(now)) {
        probe(lock, *due);
      } else {
        wait(lock, now);
      }
    }
  }

  /// For the first thread.
  std::optional<Schedule::Probe> start_first(Time now) {
    auto due = schedule_.start(now, [](Pace pace) { return pace == Pace::answers; });
    if (!due) due = schedule_.start(now, [](Pace pace) { return pace == Pace::unknown; });
    return due;
  }

  void probe(std::unique_lock<std::mutex>& lock, Schedule::Probe const& due) {
    Probed result{.cause = "the probe threw"};
    unlocked(lock, [&] {
      try {
        result = ask_({due.id, due.address}, due.deadline);
      } catch (std::exception const& error) {
        auto const* const failure = dynamic_cast<std::system_error const*>(&error);
        result = {false, error.what(), failure != nullptr && is_local_failure(failure->code())};
        throw;
      }
    });
    tell(lock, schedule_.finish(due.id, due.ticket, result, clock_.now()));
    changed_.notify_all();
  }

  void tell(std::unique_lock<std::mutex>& lock, std::optional<Schedule::Report> const& report) {
    bool is_urgent = false;
    if (report) unlocked(lock, [&] { is_urgent = probing_.report(*report); });
    if (is_urgent && !tick_due_) tick_due_ = clock_.now() + probing_.soon;
  }

  /// Runs foreign code without the lock; what it throws is counted.
  template <class Call>
  void unlocked(std::unique_lock<std::mutex>& lock, Call call) {
    lock.unlock();
    try {
      call();
    } catch (...) {
      failures_.add(1);
    }
    lock.lock();
  }

  /// A probe that only the other thread may take may be due all the time: hence the minimum.
  void wait(std::unique_lock<std::mutex>& lock, Time now) {
    constexpr Duration min = std::chrono::milliseconds{5};
    auto const next =
        std::min({schedule_.next().value_or(refresh_), refresh_, tick_due_.value_or(refresh_)});
    changed_.wait_for(lock, std::max(next - now, min));
  }

  SteadyClock const clock_{};
  Ask const ask_;
  AnyProbing const probing_;
  std::mutex mutex_;
  std::condition_variable changed_;
  Schedule schedule_;
  Time refresh_{};
  std::optional<Time> tick_due_{};
  bool stopping_ = false;
  sync::Relaxed<std::uint64_t> failures_{};
  std::array<std::thread, 2> threads_{};
};

}  // namespace poise::inline v0_1_0::health
