// SPDX-License-Identifier: MIT
// "Did you mean": near words are found, far ones are not invented.

#include <string>
#include <string_view>
#include <vector>

#include <poise/base/nearest.hpp>

#include "support/catch.hpp"

namespace unit_base_nearest {

using poise::detail::letters_apart;
using poise::detail::nearest;
using poise::detail::suggestion;

namespace {
std::vector<std::string_view> const words{"round_robin", "random", "p2c", "maglev"};
}

TEST_CASE("a wrong, missing, added or swapped letter is one apart, a capital none") {
  CHECK(letters_apart("p3c", "p2c") == 1);
  CHECK(letters_apart("rando", "random") == 1);
  CHECK(letters_apart("randoms", "random") == 1);
  CHECK(letters_apart("arndom", "random") == 1);
  CHECK(letters_apart("P2C", "p2c") == 0);
  CHECK(letters_apart("", "p2c") == 3);
}

TEST_CASE("the nearest word is suggested, and nothing where no word is near") {
  CHECK(nearest("p3c", words) == "p2c");
  CHECK(nearest("roundrobin", words) == "round_robin");
  CHECK(nearest("megalev", words) == "maglev");
  CHECK(nearest("x", words).empty());
  CHECK(nearest("", words).empty());
  CHECK(nearest("fastest", words).empty());
  CHECK(nearest(std::string(100'000, 'a'), words).empty());
}

TEST_CASE("a suggestion is a sentence with the whole list") {
  CHECK(suggestion("p3c", {"p2c", "maglev"}, "there are") ==
        "; did you mean p2c? There are p2c, maglev");
  CHECK(suggestion("x", {"p2c"}, "it takes") == "; it takes p2c");
}

}  // namespace unit_base_nearest
