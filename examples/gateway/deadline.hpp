// SPDX-License-Identifier: MIT
#pragma once

// Times until which operations on sockets must end. Almost all of them end in time, so setting one
// is a store: one timer per worker looks at all of them, when the earliest may be over.

#include <algorithm>
#include <chrono>
#include <list>
#include <optional>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "net.hpp"

namespace gateway {

class Deadline;

/// All deadlines of a worker. *Threads* the worker's.
///
/// It outlives the io_context, which destroys the connections that were cut off; its timer does
/// not.
class Deadlines {
 public:
  Deadlines() = default;
  Deadlines(Deadlines const&) = delete;
  Deadlines& operator=(Deadlines const&) = delete;
  ~Deadlines() = default;

  void start(net::io_context& context) { timer_.emplace(context); }
  void stop() { timer_.reset(); }

 private:
  friend class Deadline;
  using All = std::list<Deadline*>;
  static constexpr auto spacing = std::chrono::milliseconds{5};

  All::iterator add(Deadline& one) { return all_.insert(all_.end(), &one); }
  void remove(All::iterator place) {
    all_.erase(place);
    if (!all_.empty()) return;
    wake_ = Clock::time_point::max();
    if (timer_) timer_->cancel();
  }
  void see_to(Clock::time_point time) {
    if (timer_ && time < wake_) wait_until(time);
  }
  void wait_until(Clock::time_point time) {
    wake_ = time;
    timer_->expires_at(time);
    timer_->async_wait([this](Error stopped) {
      if (!stopped) look();
    });
  }
  void look();

  std::optional<net::steady_timer> timer_{};
  Clock::time_point wake_ = Clock::time_point::max();
  All all_{};
};

/// One of them: when its time is over, what the socket is doing is cancelled.
class Deadline {
 public:
  Deadline(Deadlines& all, Socket& socket) : all_{all}, socket_{socket}, place_{all.add(*this)} {}
  Deadline(Deadline const&) = delete;
  Deadline& operator=(Deadline const&) = delete;
  ~Deadline() { all_.remove(place_); }

  void within(Duration time) { at(Clock::now() + time); }
  void at(Clock::time_point time) {
    time_ = time;
    passed_ = false;
    all_.see_to(time);
  }
  void none() { time_ = Clock::time_point::max(); }
  [[nodiscard]] bool passed() const noexcept { return passed_; }

 private:
  friend class Deadlines;

  void look(Clock::time_point now) {
    if (time_ > now) return;
    none();
    passed_ = true;
    Error ignored;
    // NOLINTNEXTLINE(bugprone-unused-return-value): it is in `ignored`, too
    socket_.cancel(ignored);
  }

  Deadlines& all_;
  Socket& socket_;
  Clock::time_point time_ = Clock::time_point::max();
  bool passed_ = false;
  std::list<Deadline*>::iterator place_;
};

inline void Deadlines::look() {
  auto const now = Clock::now();
  auto next = Clock::time_point::max();
  for (auto* each : all_) {
    each->look(now);
    next = std::min(next, each->time_);
  }
  wake_ = Clock::time_point::max();
  if (next != Clock::time_point::max()) wait_until(std::max(next, now + spacing));
}

}  // namespace gateway
