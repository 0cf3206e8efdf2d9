// SPDX-License-Identifier: MIT
#include <poise/observe/otlp.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include <poise/observe/snapshot.hpp>
#include <poise/outcome.hpp>
#include <support/catch.hpp>

namespace unit_observe_otlp {

using namespace std::chrono_literals;
using namespace poise;
using namespace poise::observe;

namespace {

std::chrono::system_clock::time_point const start{1000s};
std::chrono::system_clock::time_point const now{1060s};
constexpr auto times = R"("startTimeUnixNano":"1000000000000","timeUnixNano":"1060000000000")";

std::string told(Snapshot const& of, OtlpOptions options = {}) {
  options.start = start;
  return otlp_json(std::vector{of}, options, now);
}
bool has(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

}  // namespace

TEST_CASE("OTLP has counters as strings, cumulative, from the start", "[observe]") {
  Snapshot of{.balancer = "orders"};
  of.requests.completed[static_cast<std::size_t>(Result::timeout)] =
      std::numeric_limits<std::uint64_t>::max();
  auto const text = told(of);
  CHECK(has(text, R"("name":"poise_requests","description":"Completed requests, attempts one by )"
                  R"(one.","sum":{"aggregationTemporality":2,"isMonotonic":true,"dataPoints":[)"));
  CHECK(has(text, R"({"attributes":[{"key":"balancer","value":{"stringValue":"orders"}},)"
                  R"({"key":"outcome","value":{"stringValue":"timeout"}}],)" +
                      std::string{times} + R"(,"asInt":"18446744073709551615"})"));
  CHECK(has(text, R"("name":"poise_panic","description":"1 while so few backends are left that )"
                  R"(panic rules.","gauge":{"dataPoints":[{)"));
  CHECK_FALSE(has(text, "poise_ejections"));  // there are none
}

TEST_CASE("OTLP says who sends, and in text that can be anything", "[observe]") {
  Snapshot of{.balancer = "a\"b"};
  of.backends.push_back({.id = "<img>\n\xff"});
  auto const text = told(of, {.service = "shop", .resource = {{"host.name", "h\\1"}}});
  CHECK(text.starts_with(
      R"({"resourceMetrics":[{"resource":{"attributes":[{"key":"service.name","value":)"
      R"({"stringValue":"shop"}},{"key":"host.name","value":{"stringValue":"h\\1"}}]},)"
      R"("scopeMetrics":[{"scope":{"name":"poise"},"metrics":[{"name":)"));
  CHECK(text.ends_with("}]}}]}]}]}"));
  CHECK(has(text, R"("stringValue":"a\"b")"));
  CHECK_FALSE(has(text, "\xff"));
  CHECK_FALSE(has(text, "\n"));
}

TEST_CASE("OTLP leaves out percentiles that are not known", "[observe]") {
  Snapshot of{.measures_latency = true};
  of.last_10s.p50 = 1500ms;
  of.backends.push_back({.id = "a", .latency = {.count = 7, .sum_s = 0.5}});
  of.backends[0].latency.recent.p99 = 250ms;
  auto const text = told(of);
  CHECK(has(text, R"({"key":"window","value":{"stringValue":"10s"}},)"
                  R"({"key":"quantile","value":{"stringValue":"0.5"}}],)" +
                      std::string{times} + R"(,"asDouble":1.5})"));
  CHECK_FALSE(has(text, R"({"stringValue":"0.9"})"));
  CHECK(has(text, R"("count":"7","sum":0.5,"quantileValues":[{"quantile":0.99,"value":0.25}]})"));
  CHECK_FALSE(has(text, ":NaN"));
  CHECK_FALSE(has(text, "null"));
}

}  // namespace unit_observe_otlp
