// SPDX-License-Identifier: MIT

#if __has_include(<nlohmann/json.hpp>)

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <poise/orca/header.hpp>
#include <poise/orca/json.hpp>

#include "support/catch.hpp"
#include "unit/orca/examples.hpp"

namespace unit_orca_json {

using namespace poise::orca;

namespace {

Report read(std::string const& json) {
  std::string error;
  auto report = read_header(text_header, "JSON " + json, error, read_json);
  CHECK(error.empty());
  REQUIRE(report);
  return *std::move(report);
}
std::string error_of(std::string const& json) {
  std::string error = "old";
  CHECK_FALSE(read_json(json, error));
  return error;
}

}  // namespace

TEST_CASE("JSON is read with both spellings of names") {
  auto const expected = tests::envoys_report();  // Envoy has it in JSON, too: JsonHeader
  CHECK(read(R"({"cpu_utilization": 0.7, "application_utilization": 0.8, "mem_utilization": 0.9, )"
             R"("rps_fractional": 1000, "eps": 2, "named_metrics": {"foo": 123,"bar": 0.2}, )"
             R"("utilization": {"total": 0.5}})") == expected);
  // The spelling that protobuf's libraries write.
  CHECK(read(R"({"cpuUtilization": 0.7, "memUtilization": 0.9, "rpsFractional": 1000.0, )"
             R"("eps": 2.0, "applicationUtilization": 0.8, "utilization": {"total": 0.5}, )"
             R"("namedMetrics": {"foo": 123.0, "bar": 0.2}})") == expected);
}

TEST_CASE("JSON: numbers may be texts, and null is nothing") {
  auto const report =
      read(R"({"cpuUtilization":"0.5","eps":null,"rps":"7","requestCost":{"x":"-1"}})");
  CHECK(report.cpu_utilization == 0.5);
  CHECK(report.rps == 7);
  CHECK(report.request_cost == std::vector<Metric>{{"x", -1}});
  CHECK(read(R"({"rps":300,"rpsFractional":0.5})").rps == 0.5);
  CHECK(read("{}") == Report{});
}

TEST_CASE("JSON: what is none, or no report, is refused") {
  // InvalidJsonHeader, JsonHeaderUnknownField, JsonHeaderIncorrectFieldType (which lacks a brace).
  CHECK(error_of("JSON not-a-valid-json-string").starts_with("the text is no JSON at byte 1"));
  CHECK(error_of(R"({"cpu_utilization": 0.7, "unknown_field": 2})") ==
        "\"unknown_field\" is no field of OrcaLoadReport");
  CHECK(error_of(R"({"cpu_utilization": "0.7")").starts_with("the text is no JSON"));
  CHECK(error_of("").starts_with("the text is empty"));
  CHECK(error_of("[]") == "the report is []: use an object");
  CHECK(error_of(R"({"eps":1,"eps":1})").find("has the key \"eps\" twice") != std::string::npos);
  CHECK(error_of(R"({"cpuUtilization":1,"cpu_utilization":1})")
            .ends_with("is given twice, in both spellings: remove one"));
  CHECK(error_of(R"({"namedMetrics":{},"named_metrics":{}})")
            .ends_with("is given twice, in both spellings: remove one"));
  CHECK(error_of(R"({"namedMetrics":[1]})") ==
        "named_metrics is [1]: use an object of names and numbers");
}

TEST_CASE("JSON: numbers that are none of a load are refused") {
  for (auto const* number : {"true", "[]", "{}", "\"\"", "\" 3\"", "\"NaN\"", "\"Infinity\"",
                             "1e999", "\"1e999\"", "-1", "\"-1\""}) {
    CHECK_FALSE(error_of(std::string{R"({"eps":)"} + number + "}").empty());
    CHECK_FALSE(error_of(std::string{R"({"utilization":{"x":)"} + number + "}}").empty());
  }
  CHECK(error_of(R"({"eps":-1})") == "eps is -1: use a finite decimal number of 0 or more");
  CHECK(error_of(R"({"namedMetrics":{"a":null}})") ==
        "named_metrics.a is null: use a finite decimal number");
  for (auto const* number : {"-1", "0.5", "\"0.5\"", "18446744073709551616"})
    CHECK_FALSE(error_of(std::string{R"({"rps":)"} + number + "}").empty());
}

TEST_CASE("JSON: hostile sizes are refused") {
  CHECK(error_of(std::string(max_size + 1, '['))
            .starts_with("the text has 65537 bytes; a load report has at most 65536"));
  CHECK(error_of(std::string(max_size, '[')).find("deeper than 64") != std::string::npos);
  std::string text = R"({"namedMetrics":{"x":0)";
  for (int i = 0; i < 256; ++i) text += ",\"" + std::to_string(i) + "\":0";
  CHECK(error_of(text + "}}") == "it has more than 256 metrics: report fewer");
}

TEST_CASE("JSON: an error names the header") {
  std::string error;
  CHECK_FALSE(read_header(text_header, "JSON {\"eps\":-1}", error, read_json));
  CHECK(
      error ==
      "endpoint-load-metrics is \"JSON {\\\"eps\\\":-1}\": eps is -1: use a finite decimal number "
      "of 0 or more");
}

}  // namespace unit_orca_json

#endif
