// SPDX-License-Identifier: MIT
#pragma once

// What is known of a primary and its replicas together: which one takes writes, and what a replica
// must have reached to be fresh enough. database.hpp asks it before each pick.
//
//   - A server takes writes if it said that it is the primary, on the highest timeline that any
//     primary was seen on. An old primary that comes back, or was never told that it is none, has a
//     lower one: it gets nothing. Of two on the same timeline the one that was seen first goes on,
//     until it says that it is none, does not answer, or was not seen for 5 s.
//   - Lag is a position, not a difference of clocks: "at most 1 s behind" means that the replica
//     has reached what the primary had reached 1 s ago, by the look before that. A replica of which
//     nothing is known has not.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>

#include <poise/base/check.hpp>
#include <poise/error.hpp>
#include <poise/sql/node.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::sql {

/// What a read asks of a replica. Both limits of lag may be set; both hold then.
struct Freshness {
  Token after{};                             ///< It has reached this.
  std::optional<std::uint64_t> max_bytes{};  ///< So much of the log is missing at most.
  std::optional<Duration> max_age{};         ///< What is missing was written so recently.
};

/// *Threads* any. *Cost* a lock that is held for O(1); for max_age for a binary search.
class Cluster {
 public:
  /// Notes what a server said. `id` names it in messages.
  void observe(Node& node, std::string const& id, Observation const& seen, Time now) {
    node.observe(seen, now);
    auto const reached = node.state().reached;
    std::scoped_lock const lock{mutex_};
    if (seen.role != Role::primary) return depose(id);
    if (reached.timeline < newest_.timeline) return;
    bool const takes_over = id != primary_ && reached.timeline == newest_.timeline;
    if (takes_over && is_in_charge(now)) return;
    // A later timeline has other positions; a clock that went back has other times.
    if (reached.timeline > newest_.timeline || now < primary_at_) count_ = 0;
    newest_ = std::max(newest_, reached);
    primary_ = id;
    primary_at_ = now;
    deposed_ = false;
    if (count_ == 0 || now >= past(count_ - 1).at + spacing) {
      past_[(first_ + count_) % past_.size()] = {now, newest_.position};
      if (count_ < past_.size()) ++count_;
      else first_ = (first_ + 1) % past_.size();
    }
  }

  /// It does not answer, or did not do what its role promised.
  void forget(Node& node, std::string const& id) {
    node.forget_role();
    std::scoped_lock const lock{mutex_};
    depose(id);
  }

  [[nodiscard]] bool takes_writes(Node const& node, std::string const& id) const {
    auto const state = node.state();
    std::scoped_lock const lock{mutex_};
    return state.role == Role::primary && state.reached.timeline == newest_.timeline &&
           id == primary_;
  }
  /// What a replica must have reached to be as fresh as that.
  [[nodiscard]] Token needed(Freshness const& freshness, Time now) const {
    auto needed = freshness.after;
    std::scoped_lock const lock{mutex_};
    if (count_ == 0 && (freshness.max_bytes || freshness.max_age))
      needed.position = unknown;  // a lag that nobody knows is above every limit
    if (freshness.max_bytes)
      needed.position = std::max(
          needed.position, newest_.position - std::min(newest_.position, *freshness.max_bytes));
    if (freshness.max_age)
      needed.position = std::max(needed.position,
                                 position_at(now - std::max(*freshness.max_age, Duration::zero())));
    return needed;
  }
  [[nodiscard]] static bool is_fresh(Node const& node, Token const& needed) noexcept {
    auto const state = node.state();
    return state.role == Role::replica && state.reached.timeline >= needed.timeline &&
           state.reached.position >= needed.position;
  }
  /// How much of the primary's log a server has not reached, as far as is known.
  [[nodiscard]] std::uint64_t bytes_behind(Node const& node) const {
    auto const position = node.state().reached.position;
    std::scoped_lock const lock{mutex_};
    return newest_.position - std::min(newest_.position, position);
  }
  /// For how long the primary has been ahead of what a server has reached, to the resolution of
  /// looks, as Freshness::max_age counts it. Empty if no primary was seen.
  [[nodiscard]] std::optional<Duration> time_behind(Node const& node, Time now) const {
    auto const position = node.state().reached.position;
    std::scoped_lock const lock{mutex_};
    if (count_ == 0) return std::nullopt;
    auto const ahead = first_point([&](Point const& each) { return each.position > position; });
    return ahead == count_ ? Duration::zero() : now - past(ahead).at;
  }
  /// "no primary for 3.2 s; the last was \"db1:5432\" on timeline 2"
  [[nodiscard]] std::string why_no_primary(Time now) const {
    std::scoped_lock const lock{mutex_};
    if (primary_.empty()) return "no primary was found yet";
    return "no primary for " +
           detail::in_words(std::chrono::duration<double>{now - primary_at_}.count()) +
           " s; the last was " + detail::in_quotes(primary_) + " on timeline " +
           std::to_string(newest_.timeline);
  }

 private:
  /// *Requires* the lock, as is_in_charge().
  void depose(std::string const& id) noexcept {
    if (id == primary_) deposed_ = true;
  }
  [[nodiscard]] bool is_in_charge(Time now) const noexcept {
    return !primary_.empty() && !deposed_ && now - primary_at_ < silence;
  }

  struct Point {
    Time at{};
    std::uint64_t position = 0;
  };
  // 256 points, 100 ms apart or more: lags of up to 25 s and more can be told apart.
  static constexpr Duration spacing = std::chrono::milliseconds{100};

  // Five looks, once a second: longer than a look takes that fails.
  static constexpr Duration silence = std::chrono::seconds{5};
  static constexpr std::uint64_t unknown = ~std::uint64_t{0};

  [[nodiscard]] Point const& past(std::size_t i) const noexcept {
    return past_[(first_ + i) % past_.size()];
  }
  /// What the primary had reached then, or, if that is longer ago than anything known, what it had
  /// reached first.
  [[nodiscard]] std::uint64_t position_at(Time time) const noexcept {
    auto const later = first_point([&](Point const& each) { return each.at > time; });
    return past(later == 0 ? 0 : later - 1).position;
  }
  /// The number of the first one for which it holds, as it does for all after it; count_ if none.
  template <class Holds>
  [[nodiscard]] std::size_t first_point(Holds const& holds) const noexcept {
    std::size_t low = 0;
    for (auto high = count_; low < high;) {
      auto const middle = (low + high) / 2;
      if (holds(past(middle))) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  mutable std::mutex mutex_{};
  Token newest_{};
  std::string primary_{};
  Time primary_at_{};
  bool deposed_ = false;  // it is none any more
  std::array<Point, 256> past_{};
  std::size_t first_ = 0;
  std::size_t count_ = 0;
};

}  // namespace poise::inline v0_1_0::sql
