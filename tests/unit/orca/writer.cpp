// SPDX-License-Identifier: MIT

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/error.hpp>
#include <poise/orca/header.hpp>
#include <poise/orca/writer.hpp>
#include <poise/random.hpp>

#include "support/catch.hpp"
#include "unit/orca/examples.hpp"

namespace unit_orca_writer {

using namespace poise::orca;

namespace {

Report read(std::string_view name, std::string_view value) {
  std::string error;
  auto report = read_header(name, value, error);
  INFO(error);
  REQUIRE(report);
  return *std::move(report);
}

void check_round_trip(Report const& report) {
  CHECK(read(text_header, to_header(report)) == report);
  CHECK(read(binary_header, to_binary_header(report)) == report);
  CHECK(read(text_header, "BIN " + to_binary_header(report)) == report);
  std::string error;
  CHECK(read_binary(to_binary(report), error) == report);
}

/// Any double that is finite: small and large ones, denormal ones, -0.
double any_number(std::uint64_t& state) {
  for (;;) {
    state += poise::detail::wyrand_step;
    auto const number = std::bit_cast<double>(poise::detail::wyrand(state));
    if (std::isnormal(number) || number == 0) return number;
  }
}
std::vector<Metric> any_list(std::uint64_t& state, bool may_be_negative) {
  std::vector<Metric> list;
  auto const count = static_cast<int>(poise::detail::next_unit(state) * 6);
  for (int i = 0; i < count; ++i) {
    auto const value = any_number(state);
    list.push_back({std::string(1, static_cast<char>('a' + i)) + "/x.y-" + std::to_string(count),
                    may_be_negative ? value : std::abs(value)});
  }
  return list;
}

std::string error_of(Report const& report, std::string (*write)(Report const&)) {
  try {
    (void)write(report);
  } catch (poise::ConfigError const& error) {
    return error.what();
  }
  return {};
}

}  // namespace

TEST_CASE("a report is written as people expect it") {
  Report report;
  report.cpu_utilization = 0.3;
  report.memory_utilization = 0.8;
  report.rps = 10;
  report.eps = 1;
  report.named_metrics = {{"foo", 0.4}};
  CHECK(
      to_header(report) ==
      "TEXT cpu_utilization=0.3,mem_utilization=0.8,rps_fractional=10,eps=1,named_metrics.foo=0.4");
  check_round_trip(report);
}

TEST_CASE("a report is written in base64 as grpc-go writes it, with padding") {
  CHECK(to_binary_header(tests::grpc_gos_report()) == tests::grpc_gos_header);
}

TEST_CASE("what is written is read as it was: 10,000 random reports") {
  std::uint64_t state = 1;
  for (int i = 0; i < 10'000; ++i) {
    Report report;
    for (auto* number : {&report.application_utilization, &report.cpu_utilization,
                         &report.memory_utilization, &report.rps, &report.eps})
      if (poise::detail::next_unit(state) < 0.7) *number = std::abs(any_number(state));
    report.request_cost = any_list(state, true);
    report.utilizations = any_list(state, false);
    report.named_metrics = any_list(state, true);
    check_round_trip(report);
  }
}

TEST_CASE("an empty report has a value, which is read as empty") {
  CHECK(to_header({}) == "TEXT cpu_utilization=0");
  CHECK(to_binary_header({}) == "CQAAAAAAAAAA");
  check_round_trip({});
}

TEST_CASE("numbers that are negative or not finite are left out") {
  constexpr auto nan = std::numeric_limits<double>::quiet_NaN();
  constexpr auto infinity = std::numeric_limits<double>::infinity();
  Report report;
  report.cpu_utilization = nan;
  report.rps = infinity;
  report.eps = -1;
  report.memory_utilization = 0.5;
  report.named_metrics = {{"a", nan}, {"b", -1}};
  report.utilizations = {{"c", -1}, {"d", 1}};
  CHECK(to_header(report) == "TEXT mem_utilization=0.5,utilization.d=1,named_metrics.b=-1");
  CHECK(read(binary_header, to_binary_header(report)) == read(text_header, to_header(report)));
}

TEST_CASE("lists are written sorted") {
  Report report;
  report.named_metrics = {{"b", 1}, {"a", 2}};
  CHECK(to_header(report) == "TEXT named_metrics.a=2,named_metrics.b=1");
  std::swap(report.named_metrics[0], report.named_metrics[1]);
  check_round_trip(report);
}

TEST_CASE("a name that would end early in TEXT is refused there") {
  for (auto const* name : {"", "a,b", "a=b", "a:b", "a b", "a\r\nset-cookie", "\x7f", "\xc3\xa4"}) {
    Report report;
    report.named_metrics = {{name, 1}};
    CHECK(error_of(report, to_header).find("can't be written as TEXT") != std::string::npos);
    CHECK(read(binary_header, to_binary_header(report)) == report);
  }
  Report report;
  report.named_metrics = {{"\xff", 1}};
  CHECK(error_of(report, to_binary) ==
        "a load report can't be written: the name named_metrics.\xff is no UTF-8");
}

TEST_CASE("a name twice, too many metrics and too long names are refused") {
  Report report;
  report.named_metrics = {{"a", 1}, {"a", 2}};
  CHECK(error_of(report, to_header) ==
        "a load report can't be written: named_metrics.a is given twice: remove one");
  report.named_metrics.clear();
  for (int i = 0; i < 256; ++i) report.named_metrics.push_back({std::to_string(i), 1});
  CHECK(error_of(report, to_header).empty());
  report.utilizations = {{"x", 1}};
  CHECK(error_of(report, to_header) ==
        "a load report can't be written: it has more than 256 metrics: report fewer");
  report.named_metrics = {{std::string(60'000, 'x'), 1}};
  CHECK(error_of(report, to_header).empty());
  CHECK(error_of(report, to_binary).empty());
  CHECK(error_of(report, to_binary_header).starts_with("the load report has 80"));
}

}  // namespace unit_orca_writer
