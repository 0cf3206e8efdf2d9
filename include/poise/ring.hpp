// SPDX-License-Identifier: MIT
#pragma once

// Points on a circle of hashes, each with its owner, and an index that finds the one for a hash in
// constant time.
//
// All rings that are deployed search the sorted points by halves: log2(n) cache misses. The index
// says where the points with the same top bits start, about one of them, so a look-up takes two
// misses and gives the same point, bit for bit.

#include <algorithm>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <poise/error.hpp>

namespace poise {

template <std::unsigned_integral Hash>
class Ring {
 public:
  struct Point {
    Hash hash;
    std::uint32_t owner;
    friend bool operator==(Point const&, Point const&) = default;
  };

  /// 512 MiB of points: a ring beyond that is a mistake in the weights.
  static constexpr std::uint64_t most_points = (std::uint64_t{1} << 29U) / sizeof(Point);

  Ring() = default;
  /// Points in any order; equal hashes stay in the order given, or only the first one stays.
  /// *Cost* O(n): a pass that sorts by the top bits, then each handful by itself.
  explicit Ring(std::vector<Point> points, bool drop_equal = false) {
    if (points.empty()) return;
    shift_ = digits - std::min(digits, static_cast<unsigned>(std::bit_width(points.size())));
    shift_ = std::min(shift_, digits - 1);
    scatter(points);
    for (std::size_t arc = 0; arc + 1 < starts_.size(); ++arc) sort_arc(arc);
    if (drop_equal) {
      auto const same = [](Point const& a, Point const& b) { return a.hash == b.hash; };
      points_.erase(std::unique(points_.begin(), points_.end(), same), points_.end());
      index();
    }
  }

  [[nodiscard]] std::size_t size() const noexcept { return points_.size(); }
  [[nodiscard]] bool empty() const noexcept { return points_.empty(); }
  [[nodiscard]] Point const& operator[](std::size_t at) const noexcept { return points_[at]; }
  [[nodiscard]] std::size_t bytes() const noexcept {
    return points_.capacity() * sizeof(Point) + starts_.capacity() * sizeof(std::uint32_t);
  }

  /// The first point that is not before `hash`, around the circle. *Requires* a point.
  [[nodiscard]] std::size_t next(Hash hash) const noexcept {
    auto const at = lower_bound(hash);
    return at == points_.size() ? 0 : at;
  }
  /// The point nearest to `hash`, the one before it if two are equally near. *Requires* a point.
  [[nodiscard]] std::size_t nearest(Hash hash) const noexcept {
    auto const after = next(hash);
    return nearer(before(after), after, hash);
  }
  /// Of two points, one not after and one not before `hash`, the nearer one.
  [[nodiscard]] std::size_t nearer(std::size_t before_it, std::size_t after_it,
                                   Hash hash) const noexcept {
    auto const back = static_cast<Hash>(hash - points_[before_it].hash);
    auto const ahead = static_cast<Hash>(points_[after_it].hash - hash);
    return back <= ahead ? before_it : after_it;
  }
  [[nodiscard]] std::size_t after(std::size_t at) const noexcept {
    return at + 1 == points_.size() ? 0 : at + 1;
  }
  [[nodiscard]] std::size_t before(std::size_t at) const noexcept {
    return (at == 0 ? points_.size() : at) - 1;
  }

 private:
  static constexpr unsigned digits = std::numeric_limits<Hash>::digits;

  [[nodiscard]] std::size_t arc_of(Hash hash) const noexcept {
    return static_cast<std::size_t>(hash >> shift_);
  }

  [[nodiscard]] std::size_t lower_bound(Hash hash) const noexcept {
    auto const arc = arc_of(hash);
    std::size_t at = starts_[arc];
    std::size_t const end = starts_[arc + 1];
    // A handful, unless somebody's points are bunched.
    constexpr std::size_t handful = 16;
    if (end - at > handful) [[unlikely]]
      return static_cast<std::size_t>(
          std::lower_bound(points_.begin() + static_cast<std::ptrdiff_t>(at),
                           points_.begin() + static_cast<std::ptrdiff_t>(end), hash,
                           [](Point const& point, Hash wanted) { return point.hash < wanted; }) -
          points_.begin());
    while (at < end && points_[at].hash < hash) ++at;
    return at;
  }

  /// Arc by arc, in the order given within each.
  void scatter(std::vector<Point> const& points) {
    starts_.assign((std::size_t{1} << (digits - shift_)) + 1, 0);
    for (auto const& point : points) ++starts_[arc_of(point.hash) + 1];
    for (std::size_t arc = 1; arc < starts_.size(); ++arc) starts_[arc] += starts_[arc - 1];
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

  std::vector<Point> points_;
  std::vector<std::uint32_t> starts_;  // of the points with the same top bits, and the end
  unsigned shift_ = digits - 1;
};

namespace detail {

/// Makes room for so many points, or says that they are too many.
template <class Point>
void reserve_points(std::vector<Point>& points, std::uint64_t count) {
  constexpr auto most = Ring<decltype(Point::hash)>::most_points;
  if (count > most)
    throw ConfigError{"the ring would need " + std::to_string(count) + " points, more than " +
                      std::to_string(most) + ": divide all weights by the same number"};
  points.reserve(static_cast<std::size_t>(count));
}

}  // namespace detail

}  // namespace poise
