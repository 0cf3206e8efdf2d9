// SPDX-License-Identifier: MIT

#include <chrono>

#include <poise/base/utc.hpp>

#include "support/catch.hpp"

namespace unit_base_utc {

using namespace std::chrono_literals;
using poise::detail::in_utc;
using Wall = std::chrono::system_clock::time_point;

TEST_CASE("the time of day is written as in ISO 8601") {
  CHECK(in_utc(Wall{}) == "1970-01-01T00:00:00.000Z");
  CHECK(in_utc(Wall{1'772'368'496s + 789ms}) == "2026-03-01T12:34:56.789Z");
  CHECK(in_utc(Wall{951'868'799s + 999ms}) == "2000-02-29T23:59:59.999Z");
}

TEST_CASE("a time before 1970 is written right") {
  CHECK(in_utc(Wall{-1ms}) == "1969-12-31T23:59:59.999Z");
}

}  // namespace unit_base_utc
