// SPDX-License-Identifier: MIT

#include <limits>
#include <string>

#include <poise/base/decimal.hpp>

#include "support/catch.hpp"

namespace unit_base_decimal {

using poise::detail::decimal;
using poise::detail::decimal_of;

TEST_CASE("decimal numbers are read") {
  CHECK(decimal_of("3") == 3);
  CHECK(decimal_of("+0.5") == 0.5);
  CHECK(decimal_of("-.5e+1") == -5);
  CHECK(decimal_of("5.") == 5);
  CHECK(decimal_of("1E-3") == 0.001);
}

TEST_CASE("other texts, and what no double holds, are refused") {
  for (auto const* text : {"", "+", ".", "e1", "1e", "1e+", "--1", "+-1", "1 ", " 1", "1,5", "0x10",
                           "inf", "nan", "1e999", "-1e999", "1e99999999999999999999"})
    CHECK_FALSE(decimal_of(text));
}

TEST_CASE("a number that was written is read as it was") {
  using Limits = std::numeric_limits<double>;
  CHECK(decimal(0.1) == "0.1");
  CHECK(decimal(1000) == "1000");
  for (double const number : {0.0, 0.1, 1.0 / 3, -1e300, Limits::max(), Limits::lowest(),
                              Limits::min(), Limits::denorm_min(), Limits::epsilon()})
    CHECK(decimal_of(decimal(number)) == number);
}

}  // namespace unit_base_decimal
