// SPDX-License-Identifier: MIT
#pragma once

// What detectors keep by backend: their state under its id, and intervals with few requests merged.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include <poise/analysis/sample.hpp>
#include <poise/base/saturating.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::analysis {

namespace detail {

/// A state for each backend, in the order of the last sample. It follows the id.
template <class State>
class Members {
 public:
  struct Member {
    std::string id;
    State state{};
  };
  /// New ids start afresh, ids that are gone are forgotten. *Cost* O(n); allocates only if the
  /// pool's ids changed.
  void sync(PoolSample const& pool) {
    if (is_same(pool)) return;
    std::unordered_map<std::string, State> old;
    for (auto& member : members_) old.emplace(std::move(member.id), std::move(member.state));
    members_.clear();
    for (auto const& each : pool.backends) {
      Member member{std::string{each.id}};
      if (auto const found = old.find(member.id); found != old.end()) {
        member.state = std::move(found->second);
        old.erase(found);  // of two with the same id the second starts afresh
      }
      members_.push_back(std::move(member));
    }
  }
  [[nodiscard]] Member& operator[](std::size_t i) noexcept { return members_[i]; }
  [[nodiscard]] std::size_t size() const noexcept { return members_.size(); }

 private:
  [[nodiscard]] bool is_same(PoolSample const& pool) const noexcept {
    if (members_.size() != pool.backends.size()) return false;
    for (std::size_t i = 0; i < members_.size(); ++i)
      if (members_[i].id != pool.backends[i].id) return false;
    return true;
  }
  std::vector<Member> members_;
};

/// A backend's log latency, from intervals merged until they have enough requests: the mean of the
/// logarithms, by requests.
class LatencyMerger {
 public:
  void add(BackendSample const& sample, Time now, std::uint64_t volume) noexcept {
    if (!(sample.latency > 0) || !std::isfinite(sample.latency) || sample.requests == 0) return;
    auto const requests = static_cast<double>(sample.requests);
    sum_ += requests * std::log(sample.latency);
    requests_ += requests;
    if (requests_ < static_cast<double>(volume)) return;
    latest_ = sum_ / requests_;
    sum_ = requests_ = 0;
    step_ = at_ ? poise::detail::saturating_sub(now, *at_) : Duration{std::chrono::seconds{1}};
    at_ = now;
  }
  /// Is there a value, of the last minute?
  [[nodiscard]] bool known(Time now) const noexcept {
    return at_ && poise::detail::saturating_sub(now, *at_) <= std::chrono::minutes{1};
  }
  [[nodiscard]] bool is_new(Time now) const noexcept { return at_ && *at_ == now; }
  [[nodiscard]] double latest() const noexcept { return latest_; }
  /// The time from the value before to this one.
  [[nodiscard]] Duration step() const noexcept { return step_; }

 private:
  double sum_ = 0;
  double requests_ = 0;
  double latest_ = 0;
  Duration step_{};
  std::optional<Time> at_;
};

}  // namespace detail

}  // namespace poise::inline v0_1_0::analysis
