// SPDX-License-Identifier: MIT
#pragma once

// One server: k cores of some speed, which take requests in order (FIFO) or all at once (processor
// sharing).
//
// Both are the same machine: requests in work advance together at a common rate, so a single number
// (the work that a request without any wait would have got) says when each will be done. With FIFO
// at most k are in work, at full speed; with sharing all are, and n > k of them have k/n of a core
// each.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <utility>
#include <vector>

#include <poise/load_report.hpp>

namespace simulate {

enum class Discipline { ps, fifo };

struct ServerKind {
  unsigned cores = 1;
  Discipline discipline = Discipline::ps;
  double speed = 1;
  std::uint32_t weight = 1;  // as the clients know it
};

/// What a server measures of itself, from time to time.
struct Meter {
  double every = 0;  // ns; 0: never
  double since = 0;
  double busy = 0;  // ns of all cores
  double done = 0;
  double failed = 0;
};

class Server {
 public:
  static constexpr double never = std::numeric_limits<double>::infinity();

  explicit Server(ServerKind const& kind) : kind_{kind}, speed_{kind.speed} {}

  void arrive(double now, std::uint32_t request, double work) {
    advance(now);
    if (has_room()) start(request, work);
    else waiting_.emplace_back(request, work);
    schedule();
  }
  /// When the next request will be done, if nothing comes between.
  [[nodiscard]] double next() const noexcept { return next_; }
  /// The one that is done at next().
  std::uint32_t depart() {
    advance(next_);
    std::pop_heap(working_.begin(), working_.end(), std::greater{});
    auto const [done, request] = working_.back();
    working_.pop_back();
    ++meter_.done;
    if (working_.empty()) progress_ = 0;
    if (!waiting_.empty()) {
      auto const [waiting, work] = waiting_.front();
      waiting_.pop_front();
      start(waiting, work);
    }
    schedule();
    return request;
  }
  void set_speed(double now, double speed) {
    advance(now);
    speed_ = speed;
    schedule();
  }
  /// Forgets all its requests and returns them.
  std::vector<std::uint32_t> crash(double now) {
    advance(now);
    std::vector<std::uint32_t> lost;
    for (auto const& [done, request] : working_) lost.push_back(request);
    for (auto const& [request, work] : waiting_) lost.push_back(request);
    working_.clear();
    waiting_.clear();
    schedule();
    return lost;
  }

  /// From now on the server measures its load, as a mean over this time.
  void measure_every(double time) noexcept { meter_.every = time; }
  /// Of the last whole time; zeros before. Says nothing if the server does not measure.
  [[nodiscard]] poise::LoadReport const& load(double now) noexcept {
    advance(now);
    return load_;
  }
  void note_failure(double now) noexcept {
    advance(now);
    ++meter_.failed;
  }

  [[nodiscard]] std::size_t requests() const noexcept { return working_.size() + waiting_.size(); }
  [[nodiscard]] double speed() const noexcept { return speed_; }
  [[nodiscard]] ServerKind const& kind() const noexcept { return kind_; }
  [[nodiscard]] double capacity() const noexcept { return speed_ * kind_.cores; }

 private:
  [[nodiscard]] bool has_room() const noexcept {
    return kind_.discipline == Discipline::ps || working_.size() < kind_.cores;
  }
  void start(std::uint32_t request, double work) {
    working_.emplace_back(progress_ + work, request);
    std::push_heap(working_.begin(), working_.end(), std::greater{});
  }
  void advance(double now) noexcept {
    progress_ += rate_ * (now - last_);
    if (meter_.every > 0) measure(now);
    last_ = now;
  }
  void measure(double now) noexcept {
    meter_.busy +=
        static_cast<double>(std::min<std::size_t>(working_.size(), kind_.cores)) * (now - last_);
    auto const time = now - meter_.since;
    if (time < meter_.every) return;
    constexpr double second = 1e9;
    load_ = {.cpu_utilization = meter_.busy / (time * kind_.cores),
             .rps = (meter_.done + meter_.failed) / time * second,
             .eps = meter_.failed / time * second};
    meter_ = {.every = meter_.every, .since = now};
  }
  void schedule() noexcept {
    auto const count = static_cast<double>(working_.size());
    rate_ = speed_ * std::min(1.0, kind_.cores / std::max(count, 1.0));
    next_ = working_.empty() || rate_ <= 0
                ? never
                : last_ + std::max(working_.front().first - progress_, 0.0) / rate_;
  }

  ServerKind kind_;
  Meter meter_{};
  poise::LoadReport load_{};
  double speed_;
  double rate_ = 0;
  double progress_ = 0;
  double last_ = 0;
  double next_ = never;
  std::vector<std::pair<double, std::uint32_t>> working_{};  // a heap: done at this progress
  std::deque<std::pair<std::uint32_t, double>> waiting_{};
};

}  // namespace simulate
