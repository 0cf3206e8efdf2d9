// SPDX-License-Identifier: MIT

#include <limits>
#include <vector>

#include <support/catch.hpp>

#include <poise/analysis/suggestions.hpp>

namespace unit_analysis_suggestions {

using namespace poise;
using analysis::Advice;
using analysis::BackendFacts;
using analysis::PoolFacts;
using analysis::suggestions_for;

namespace {

std::vector<BackendFacts> const unequal{{.id = "a", .requests = 9000, .latency = 0.010},
                                        {.id = "b", .requests = 9000, .latency = 0.010},
                                        {.id = "c", .requests = 3000, .latency = 0.025}};

}  // namespace

TEST_CASE("without evidence there is no suggestion") {
  CHECK(suggestions_for({}).empty());
  std::vector<BackendFacts> const equal{{.id = "a", .requests = 900, .latency = 0.010},
                                        {.id = "b", .requests = 900, .latency = 0.014}};
  CHECK(suggestions_for({.backends = equal, .requests = 1800}).empty());
  std::vector<BackendFacts> const few{{.id = "a", .requests = 20, .latency = 0.010},
                                      {.id = "b", .requests = 20, .latency = 0.100}};
  CHECK(suggestions_for({.backends = few, .requests = 40}).empty());
}

TEST_CASE("a policy that ignores latency in an unequal pool is named, with the numbers") {
  auto const result = suggestions_for({.backends = unequal, .requests = 21'000});
  REQUIRE(result.size() == 1);
  CHECK(result[0].advice == Advice::follow_latency);
  CHECK(result[0].text ==
        "\"c\" takes 2.5 times as long as \"a\" (3000 and 9000 requests), and the policy does not "
        "look at latency: Adaptive does");
}

TEST_CASE("a policy that looks at latency needs no such suggestion") {
  CHECK(suggestions_for({.backends = unequal, .policy_uses_latency = true}).empty());
}

TEST_CASE("weights that match the speeds are suggested to a policy that uses weights") {
  auto const result = suggestions_for({.backends = unequal, .policy_uses_weights = true});
  REQUIRE(result.size() == 2);
  CHECK(result[1].advice == Advice::set_weights);
  REQUIRE(result[1].weights.size() == 3);
  CHECK(result[1].weights[0].second == 100);
  CHECK(result[1].weights[2].second == 40);
  CHECK(result[1].text == "set weights that follow the speeds: \"a\" 100, \"b\" 100, \"c\" 40");
}

TEST_CASE("a newcomer's weight is suggested on the scale of the others") {
  auto backends = unequal;
  backends.push_back({.id = "new", .requests = 5, .latency = 3});
  backends.push_back({.id = "off", .weight = 0, .requests = 5});
  auto const result = suggestions_for({.backends = backends, .policy_uses_weights = true});
  REQUIRE(result.size() == 2);
  REQUIRE(result[1].weights.size() == 4);
  CHECK(result[1].weights[3].first == "new");
  CHECK(result[1].weights[3].second == 100);
  CHECK(result[1].text.ends_with("\"c\" 40, \"new\" 100 (speed not known)"));
}

TEST_CASE("a hundredth of the requests is a hundredth, also of few") {
  CHECK(suggestions_for({.requests = 199, .refused_retries = 1}).empty());
  CHECK(suggestions_for({.requests = 100, .refused_retries = 1}).size() == 1);
}

TEST_CASE("a cap that was reached and a retry budget that is spent are reported") {
  auto const result =
      suggestions_for({.requests = 1000, .capped_ejections = 3, .refused_retries = 50});
  REQUIRE(result.size() == 2);
  CHECK(result[0].advice == Advice::look_at_cap);
  CHECK(result[1].advice == Advice::look_at_retries);
  CHECK(suggestions_for({.requests = 1000, .refused_retries = 9}).empty());
}

TEST_CASE("latencies that are no numbers, and weights of 0, are left out") {
  auto const nan = std::numeric_limits<double>::quiet_NaN();
  std::vector<BackendFacts> const odd{{.id = "a", .requests = 900, .latency = nan},
                                      {.id = "b", .requests = 900, .latency = 0},
                                      {.id = "c", .weight = 0, .requests = 900, .latency = 1},
                                      {.id = "d", .requests = 900, .latency = 0.01}};
  CHECK(suggestions_for({.backends = odd, .policy_uses_weights = true}).empty());
}

}  // namespace unit_analysis_suggestions
