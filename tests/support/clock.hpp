// SPDX-License-Identifier: MIT
#pragma once

// A clock that moves only when told to and counts how often it was asked.

#include <chrono>
#include <cstdint>
#include <memory>

#include <poise/time.hpp>

namespace tests {

/// Copies are the same clock.
class Clock {
 public:
  [[nodiscard]] poise::Time now() const noexcept {
    ++state_->reads;
    return state_->now;
  }
  void advance(poise::Duration time) const noexcept { state_->now += time; }
  void set(poise::Time time) const noexcept { state_->now = time; }
  void sleep(poise::Duration time) const noexcept {
    advance(time);
    state_->slept += time;
  }
  [[nodiscard]] std::uint64_t reads() const noexcept { return state_->reads; }
  [[nodiscard]] poise::Duration slept() const noexcept { return state_->slept; }

 private:
  struct State {
    poise::Time now{std::chrono::hours{1}};
    std::uint64_t reads = 0;
    poise::Duration slept{};
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

}  // namespace tests
