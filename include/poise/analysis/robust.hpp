// SPDX-License-Identifier: MIT
#pragma once

// Medians: statistics that half of the values can't move.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numeric>
#include <span>
#include <vector>

namespace poise::inline v0_1_0::analysis {

/// Turns the median absolute deviation of normal values into their standard deviation.
inline constexpr double mad_to_sigma = 1.4826;

/// The median; NaN for none. Reorders the values. *Cost* O(n).
[[nodiscard]] inline double median(std::span<double> values) {
  if (values.empty()) return std::numeric_limits<double>::quiet_NaN();
  auto const half = values.size() / 2;
  auto const middle = values.begin() + static_cast<std::ptrdiff_t>(half);
  std::ranges::nth_element(values, middle);
  if (values.size() % 2 == 1) return *middle;
  return (*middle + *std::max_element(values.begin(), middle)) / 2;
}

/// For each value the median of the others; NaN if there are none. *Cost* O(n log n).
class MediansOfOthers {
 public:
  void assign(std::span<double const> values) {
    auto const size = values.size();
    order_.resize(size);
    std::iota(order_.begin(), order_.end(), std::size_t{0});
    std::ranges::sort(order_, {}, [&](std::size_t i) { return values[i]; });
    result_.assign(size, std::numeric_limits<double>::quiet_NaN());
    if (size < 2) return;
    for (std::size_t rank = 0; rank < size; ++rank) {
      // The k-th of the others is the k-th of all, or the one after it from this rank on.
      auto const other = [&](std::size_t k) { return values[order_[k < rank ? k : k + 1]]; };
      auto const others = size - 1;
      result_[order_[rank]] =
          others % 2 == 1 ? other(others / 2) : (other(others / 2 - 1) + other(others / 2)) / 2;
    }
  }
  [[nodiscard]] double operator[](std::size_t i) const noexcept { return result_[i]; }

 private:
  std::vector<std::size_t> order_;
  std::vector<double> result_;
};

}  // namespace poise::inline v0_1_0::analysis
