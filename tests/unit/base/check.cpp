// SPDX-License-Identifier: MIT
#include <poise/base/check.hpp>

#include <chrono>
#include <cstdint>
#include <limits>
#include <string>

#include <support/catch.hpp>

namespace unit_base_check {

namespace {

using namespace std::chrono_literals;
using namespace poise::detail;
using poise::Duration;

template <class Check>
std::string rejection(Check check) {
  try {
    check();
  } catch (poise::ConfigError const& error) {
    return error.what();
  }
  return "accepted";
}

constexpr auto not_a_number = std::numeric_limits<double>::quiet_NaN();
constexpr auto infinity = std::numeric_limits<double>::infinity();

}  // namespace

TEST_CASE("messages give durations in the largest unit that keeps them whole", "[check]") {
  CHECK(in_words(Duration{250ms}) == "250 ms");
  CHECK(in_words(Duration{2s}) == "2 s");
  CHECK(in_words(Duration{1500ms}) == "1500 ms");
  CHECK(in_words(Duration{7us}) == "7 us");
  CHECK(in_words(Duration{7}) == "7 ns");
  CHECK(in_words(Duration{-3ms}) == "-3 ms");
  CHECK(in_words(Duration::zero()) == "0 s");
  CHECK(in_words(Duration::max()) == "9223372036854775807 ns");
}

TEST_CASE("messages give numbers without trailing zeros", "[check]") {
  CHECK(in_words(0.06) == "0.06");
  CHECK(in_words(1.5) == "1.5");
  CHECK(in_words(-1.0) == "-1");
  CHECK(in_words(not_a_number).find("nan") != std::string::npos);
  CHECK(in_words(-1e308) == "-1e+308");
}

TEST_CASE("a rejected option is named with its value and what to use instead", "[check]") {
  CHECK(rejection([] { check_fraction("jitter of Retry", 1.5); }) ==
        "jitter of Retry is 1.5: use a fraction from 0 to 1");
  CHECK(rejection([] { check_positive("period of Ticker", Duration{-250ms}); }) ==
        "period of Ticker is -250 ms: use a duration above 0");
  CHECK(rejection([] { check_positive("factor of Latency", 0.0); }) ==
        "factor of Latency is 0: use a finite number above 0");
  CHECK(rejection([] { check_at_least_one("attempts of Retry", 0); }) ==
        "attempts of Retry is 0: use 1 or more");
  CHECK(rejection([] { check_not_negative("timeout of Retry", Duration{-1s}, "0 is none"); }) ==
        "timeout of Retry is -1 s: 0 is none");
  CHECK(rejection([] { check_at_least("max of Ejection", Duration{1s}, Duration{2s}, "less"); }) ==
        "max of Ejection is 1 s: less");
  CHECK(rejection([] { check_fraction("share", 2, "0.2 is usual"); }) ==
        "share is 2: 0.2 is usual");
}

TEST_CASE("the ends of a range are accepted, and NaN and infinity never are", "[check]") {
  auto const accepted = [](auto check) { return rejection(check) == "accepted"; };
  CHECK(accepted([] { check_fraction("", 0); }));
  CHECK(accepted([] { check_fraction("", 1); }));
  CHECK(accepted([] { check_positive("", Duration{1}); }));
  CHECK(accepted([] { check_positive("", Duration::max()); }));
  CHECK(accepted([] { check_positive("", 1e-300); }));
  CHECK(accepted([] { check_not_negative("", Duration::zero(), ""); }));
  CHECK(accepted([] { check_not_negative("", 0.0); }));
  CHECK(accepted([] { check_at_least_one("", 1); }));
  CHECK(accepted([] { check_at_least("", 1.0, 1.0, ""); }));
  for (auto const bad : {not_a_number, infinity, -infinity}) {
    CHECK_FALSE(accepted([=] { check_fraction("", bad); }));
    CHECK_FALSE(accepted([=] { check_positive("", bad); }));
    CHECK_FALSE(accepted([=] { check_not_negative("", bad); }));
  }
  CHECK_FALSE(accepted([] { check_at_least("", not_a_number, 1.0, ""); }));
}

}  // namespace unit_base_check
