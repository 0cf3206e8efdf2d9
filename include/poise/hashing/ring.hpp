// SPDX-License-Identifier: MIT
#pragma once

// Points on a circle of hashes, each with its owner, and an index that finds the point for a hash
// in constant time.
//
// Other rings use a binary search over the sorted points: log2(n) cache misses. This index says
// where the points with the same top bits start; on average there is one such point. So a look-up
// takes two cache misses and finds exactly the same point.

#include <algorithm>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <poise/error.hpp>

namespace poise::inline v0_1_0 {

template <std::unsigned_integral Hash>
class Ring {
 public:
  struct Point {
    Hash hash;
    std::uint32_t owner;
    friend bool operator==(Point const&, Point const&) = default;
  };

  /// 512 MiB of points: a larger ring is a mistake in the weights.
  static constexpr std::uint64_t max_points = (std::uint64_t{1} << 29U) / sizeof(Point);

  Ring() = default;
  /// Takes points in any order. Points with equal hashes keep their order; with `drop_equal` only
  /// the first one stays. *Cost* O(n): one pass sorts by the top bits, then each arc is sorted.
  explicit Ring(std::vector<Point> const& points, bool drop_equal = false) {
    if (points.empty()) return;
    // The number of arcs is within a third of the number of points.
    auto const bits = static_cast<unsigned>(std::bit_width(points.size() - points.size() / 4));
    shift_ = digits - std::clamp(bits, 1U, digits);
    scatter(points);
    for (std::size_t arc = 0; arc + 1 < starts_.size(); ++arc) sort_arc(arc);
    if (drop_equal) {
      auto const same = [](Point const& a, Point const& b) { return a.hash == b.hash; };
      points_.erase(std::unique(points_.begin(), points_.end(), same), points_.end());
      index();
    }
    size_ = points_.size();
    points_.resize(size_ + window, {std::numeric_limits<Hash>::max(), 0});
  }

  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] Point const& operator[](std::size_t at) const noexcept { return points_[at]; }
  [[nodiscard]] std::size_t bytes() const noexcept {
    return points_.capacity() * sizeof(Point) + starts_.capacity() * sizeof(std::uint32_t);
  }

  /// The first point that is not before `hash`, around the circle. *Requires* a point.
  [[nodiscard]] std::size_t next(Hash hash) const noexcept {
    auto const at = lower_bound(hash);
    return at == size_ ? 0 : at;
  }
  /// The point nearest to `hash`; of two equally near points, the one before. *Requires* a point.
  [[nodiscard]] std::size_t nearest(Hash hash) const noexcept {
    auto const after = next(hash);
    return nearer(before(after), after, hash);
  }
  /// The nearer of two points, of which the first is not after and the second not before `hash`.
  [[nodiscard]] std::size_t nearer(std::size_t before_it, std::size_t after_it,
                                   Hash hash) const noexcept {
    auto const back = static_cast<Hash>(hash - points_[before_it].hash);
    auto const ahead = static_cast<Hash>(points_[after_it].hash - hash);
    return back <= ahead ? before_it : after_it;
  }
  [[nodiscard]] std::size_t after(std::size_t at) const noexcept {
    return at + 1 == size_ ? 0 : at + 1;
  }
  [[nodiscard]] std::size_t before(std::size_t at) const noexcept {
    return (at == 0 ? size_ : at) - 1;
  }

 private:
  static constexpr unsigned digits = std::numeric_limits<Hash>::digits;
  static constexpr std::size_t window = 4;  // points that are always compared

  [[nodiscard]] std::size_t arc_of(Hash hash) const noexcept {
    return static_cast<std::size_t>(hash >> shift_);
  }

  [[nodiscard]] std::size_t lower_bound(Hash hash) const noexcept {
    auto const arc = arc_of(hash);
    std::size_t const start = starts_[arc];
    // An arc has one point on average, and all points of later arcs are beyond the hash. So the
    // number of the next four points that are before it is the answer, without a branch that may be
    // mispredicted.
    auto const* const points = points_.data() + start;
    auto const is_before = [&](std::size_t i) -> std::size_t { return points[i].hash < hash; };
    auto const before = is_before(0) + is_before(1) + is_before(2) + is_before(3);
    static_assert(window == 4);
    if (before == window) [[unlikely]]
      return search(start + window, starts_[arc + 1], hash);
    return start + before;
  }

  [[nodiscard, gnu::noinline]] std::size_t search(std::size_t start, std::size_t end,
                                                  Hash hash) const noexcept {
    auto const at = [&](std::size_t i) { return points_.begin() + static_cast<std::ptrdiff_t>(i); };
    return static_cast<std::size_t>(
        std::lower_bound(at(start), at(std::max(start, end)), hash,
                         [](Point const& point, Hash wanted) { return point.hash < wanted; }) -
        points_.begin());
  }

  /// Sorts points by arc; within an arc their order stays.
  void scatter(std::vector<Point> const& points) {
    starts_.assign((std::size_t{1} << (digits - shift_)) + 1, 0);
    for (auto const& point : points) ++starts_[arc_of(point.hash) + 1];
    for (std::size_t arc = 1; arc < starts_.size(); ++arc) starts_[arc] += starts_[arc - 1];
    points_.reserve(points.size() + window);
    points_.resize(points.size());
    auto free = starts_;
    for (auto const& point : points) points_[free[arc_of(point.hash)]++] = point;
  }

  void sort_arc(std::size_t arc) {
    auto const first = points_.begin() + starts_[arc];
    auto const last = points_.begin() + starts_[arc + 1];
    if (last - first > 1)
      std::stable_sort(first, last, [](Point const& a, Point const& b) { return a.hash < b.hash; });
  }

  void index() {
    std::uint32_t at = 0;
    for (std::size_t arc = 0; arc + 1 < starts_.size(); ++arc) {
      starts_[arc] = at;
      while (at < points_.size() && arc_of(points_[at].hash) == arc) ++at;
    }
    starts_.back() = at;
  }

  std::vector<Point> points_;  // and, after `size_`, `window` points at the end of the circle
  std::size_t size_ = 0;
  std::vector<std::uint32_t> starts_;  // index of each arc's first point, and the end
  unsigned shift_ = digits - 1;
};

namespace detail {

/// Reserves room for `count` points. *Errors* ConfigError: too many.
template <class Point>
void reserve_points(std::vector<Point>& points, std::uint64_t count) {
  constexpr auto max = Ring<decltype(Point::hash)>::max_points;
  if (count > max)
    throw ConfigError{"the ring would need " + std::to_string(count) + " points, more than " +
                      std::to_string(max) + ": divide all weights by the same number"};
  points.reserve(static_cast<std::size_t>(count));
}

}  // namespace detail

}  // namespace poise::inline v0_1_0
