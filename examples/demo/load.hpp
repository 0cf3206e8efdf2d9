// SPDX-License-Identifier: MIT
#pragma once

// An open-loop load: requests come when they come, whether the earlier ones were answered or not.
//
// A client that waits for each answer before it asks again sends least when servers are slowest,
// so it never sees how bad it is ("coordinated omission"). Here the schedule is fixed beforehand:
// independent users, that is random gaps with a fixed mean, the same for every policy.

#include <cstdint>
#include <functional>
#include <random>
#include <utility>

#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>

#include "scenario.hpp"

namespace demo {

/// Calls send(due) for each request, at its time or, if the thread is late, as soon as possible.
class Load {
 public:
  using Send = std::function<void(Instant due)>;

  Load(asio::io_context& context, Scenario const& scenario, Instant start, Instant end, Send send)
      : timer_{context},
        gap_{scenario.rate},
        random_{scenario.seed},
        due_{start},
        end_{end},
        send_{std::move(send)} {
    step();
    wait();
  }
  Load(Load const&) = delete;
  Load& operator=(Load const&) = delete;
  ~Load() = default;

 private:
  void wait() {
    if (due_ >= end_) return;
    timer_.expires_at(due_);
    timer_.async_wait([this](asio::error_code error) {
      if (!error) send_what_is_due();
    });
  }

  void send_what_is_due() {
    for (auto const now = Clock::now(); due_ <= now && due_ < end_; step()) send_(due_);
    wait();
  }

  void step() { due_ += std::chrono::duration_cast<Clock::duration>(Seconds{gap_(random_)}); }

  asio::steady_timer timer_;
  std::exponential_distribution<double> gap_;
  std::mt19937_64 random_;
  Instant due_;
  Instant end_;
  Send send_;
};

}  // namespace demo
