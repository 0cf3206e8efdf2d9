// SPDX-License-Identifier: MIT
#pragma once

// What race tests are made of: threads that run against each other, and values that know whether
// they are alive.
//
// Threads must not meet in a mutex or in an ordered atomic of the test's own on the way: that would
// order what poise has to order, and hide a missing order from ThreadSanitizer. So every thread
// counts for itself, and what threads tell each other is relaxed.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <thread>
#include <utility>
#include <vector>

#include <poise/sync/relaxed.hpp>

#include "support/stress.hpp"

namespace tests {

#if defined(__SANITIZE_THREAD__)
inline constexpr bool under_thread_sanitizer = true;
#elif defined(__has_feature)
inline constexpr bool under_thread_sanitizer = __has_feature(thread_sanitizer);
#else
inline constexpr bool under_thread_sanitizer = false;
#endif

using Number = poise::sync::Relaxed<std::int64_t>;

/// How many rounds a stress test makes: all that fit into the stress time, but at least `least`.
class Rounds {
 public:
  explicit Rounds(int least) : least_{least} {}
  bool next() { return ++made_ <= least_ || std::chrono::steady_clock::now() < end_; }
  [[nodiscard]] int made() const { return made_; }

 private:
  std::chrono::steady_clock::time_point end_ =
      std::chrono::steady_clock::now() +
      std::chrono::duration_cast<std::chrono::nanoseconds>(poise::test::stress_time());
  int least_;
  int made_ = 0;
};

/// Threads that work until they are told to stop. Each has a Member of its own, which counts what
/// it saw and is read after stop(): member.work() is called over and over, at least once.
template <class Member>
class Team {
 public:
  template <class... Args>
  explicit Team(unsigned size, Args&&... args) {
    for (unsigned i = 0; i < size; ++i) members_.emplace_back(args...);
    for (auto& member : members_)
      threads_.emplace_back([this, &member] {
        started_.add(1);
        do member.work();
        while (stop_.load() == 0);
      });
    while (started_.load() < static_cast<std::int64_t>(size)) std::this_thread::yield();
  }
  Team(Team const&) = delete;
  Team& operator=(Team const&) = delete;
  ~Team() { stop(); }

  std::deque<Member>& stop() {
    stop_.store(1);
    for (auto& thread : threads_) thread.join();
    threads_.clear();
    return members_;
  }

 private:
  std::deque<Member> members_;
  Number started_{0};
  Number stop_{0};
  std::vector<std::thread> threads_;
};

/// Runs work(number) on each of so many threads, which all begin before any of them ends.
template <class Work>
void together(unsigned size, Work const& work) {
  Number started{0};
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < size; ++i)
    threads.emplace_back([&, i] {
      started.add(1);
      while (started.load() < static_cast<std::int64_t>(size)) std::this_thread::yield();
      work(i);
    });
  for (auto& thread : threads) thread.join();
}

/// Counts the values of one kind that are alive.
class Census {
 public:
  [[nodiscard]] std::int64_t alive() const { return alive_.load(); }

 private:
  friend class Mortal;
  Number alive_{0};
};

/// A value that is counted, and that can be asked whether it was destroyed.
class Mortal {
 public:
  explicit Mortal(Census& census) noexcept : census_{&census} { census_->alive_.add(1); }
  Mortal(Mortal const& other) noexcept : Mortal{*other.census_} {}
  Mortal& operator=(Mortal const&) noexcept { return *this; }
  ~Mortal() {
    stamp_ = 0;
    census_->alive_.add(-1);
  }
  /// Wrong only if poise is: an address sanitizer stops here, others see the stamp.
  [[nodiscard]] bool alive() const noexcept { return stamp_ == living; }

 private:
  static constexpr std::uint64_t living = 0x600d600d600d600d;
  Census* census_;
  // Not atomic, so that a missing order is a data race; volatile, so that a last write is written.
  std::uint64_t volatile stamp_ = living;
};

}  // namespace tests
