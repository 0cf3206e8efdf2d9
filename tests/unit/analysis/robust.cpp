// SPDX-License-Identifier: MIT

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include <support/catch.hpp>

#include <poise/analysis/robust.hpp>
#include <poise/random.hpp>

namespace unit_analysis_robust {

using namespace poise;

TEST_CASE("a median is the middle, or the mean of the two in the middle") {
  std::vector<double> odd{3, 1, 2};
  std::vector<double> even{4, 1, 3, 2};
  CHECK(analysis::median(odd) == 2);
  CHECK(analysis::median(even) == 2.5);
  CHECK(std::isnan(analysis::median({})));
}

TEST_CASE("the medians of the others are those that leaving each one out gives") {
  std::uint64_t state = 7;
  for (std::size_t size = 2; size < 12; ++size) {
    std::vector<double> values(size);
    for (auto& value : values) value = static_cast<double>(detail::mix(++state) % 5);  // ties, too
    analysis::MediansOfOthers medians;
    medians.assign(values);
    for (std::size_t i = 0; i < size; ++i) {
      auto others = values;
      others.erase(others.begin() + static_cast<std::ptrdiff_t>(i));
      CHECK(medians[i] == analysis::median(others));
    }
  }
}

TEST_CASE("one value alone has no others") {
  analysis::MediansOfOthers medians;
  medians.assign(std::vector<double>{1});
  CHECK(std::isnan(medians[0]));
}

}  // namespace unit_analysis_robust
