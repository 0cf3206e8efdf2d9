// SPDX-License-Identifier: MIT
#pragma once

// A load report with all that ORCA has: the numbers that policies read, and metrics by name.
//
// orca/header.hpp reads it from an answer, orca/writer.hpp writes it into one.
//
// Source: github.com/cncf/xds, xds/data/orca/v3/orca_load_report.proto.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <poise/base/decimal.hpp>
#include <poise/error.hpp>
#include <poise/load_report.hpp>
#include <poise/observe/escape.hpp>

namespace poise::inline v0_1_0::orca {

/// The headers and trailers with a report. Names of headers are compared without case.
inline constexpr std::string_view text_header = "endpoint-load-metrics";
inline constexpr std::string_view binary_header = "endpoint-load-metrics-bin";

/// Of a report, in bytes as it is sent. Most HTTP software limits a whole head to less.
inline constexpr std::size_t max_size = std::size_t{64} * 1024;
/// In the three lists of a report together.
inline constexpr std::size_t max_metrics = 256;

struct Metric {
  std::string name{};  ///< UTF-8.
  double value = 0;
  friend bool operator==(Metric const&, Metric const&) = default;
};

/// The lists are sorted by name, and have each name once.
struct Report : LoadReport {
  std::vector<Metric> request_cost{};   ///< Of this request, in units of the application.
  std::vector<Metric> utilizations{};   ///< Of other resources: 0 to 1. `utilization` in ORCA.
  std::vector<Metric> named_metrics{};  ///< With a meaning that the application knows.
  friend bool operator==(Report const&, Report const&) = default;
};

namespace detail {

/// A number of the report, as the formats call it. `field` is its number in protobuf.
struct NumberField {
  std::string_view name;
  std::string_view json_name;
  std::uint32_t field;
  double LoadReport::* value;
};
inline constexpr std::array number_fields{
    NumberField{"application_utilization", "applicationUtilization", 9,
                &LoadReport::application_utilization},
    NumberField{"cpu_utilization", "cpuUtilization", 1, &LoadReport::cpu_utilization},
    NumberField{"mem_utilization", "memUtilization", 2, &LoadReport::memory_utilization},
    NumberField{"rps_fractional", "rpsFractional", 6, &LoadReport::rps},
    NumberField{"eps", "eps", 7, &LoadReport::eps}};
/// Deprecated: requests a second as a whole number. It counts where rps_fractional is missing.
inline constexpr std::uint32_t whole_rps_field = 3;

struct ListField {
  std::string_view name;
  std::string_view json_name;
  std::uint32_t field;
  std::vector<Metric> Report::* list;
  bool may_be_negative;
};
inline constexpr std::array list_fields{
    ListField{"request_cost", "requestCost", 4, &Report::request_cost, true},
    ListField{"utilization", "utilization", 5, &Report::utilizations, false},
    ListField{"named_metrics", "namedMetrics", 8, &Report::named_metrics, true}};

template <class Fields>
[[nodiscard]] constexpr auto const* field_numbered(Fields const& fields, std::uint32_t number) {
  auto const* const found =
      std::ranges::find(fields, number, [](auto const& f) { return f.field; });
  return found == fields.end() ? nullptr : found;
}
template <class Fields>
[[nodiscard]] constexpr auto const* field_named(Fields const& fields, std::string_view name) {
  auto const* const found = std::ranges::find_if(
      fields, [&](auto const& f) { return f.name == name || f.json_name == name; });
  return found == fields.end() ? nullptr : found;
}

[[nodiscard]] inline bool is_valid(double value, bool may_be_negative) noexcept {
  return std::isfinite(value) && (may_be_negative || value >= 0);
}
[[nodiscard]] inline std::string bad_number(std::string const& name, std::string const& value,
                                            bool may_be_negative) {
  return name + " is " + value + ": use a finite decimal number" +
         (may_be_negative ? "" : " of 0 or more");
}
[[nodiscard]] inline std::string path_of(ListField const& field, std::string_view name) {
  return std::string{field.name} + "." + poise::detail::escaped(name);
}
[[nodiscard]] inline std::string too_large(std::size_t size) {
  return "has " + std::to_string(size) + " bytes; a load report has at most " +
         std::to_string(max_size) + ": report fewer metrics";
}
[[nodiscard]] inline std::string too_many() {
  return "it has more than " + std::to_string(max_metrics) + " metrics: report fewer";
}

[[nodiscard]] inline std::string list_error(ListField const& field,
                                            std::vector<Metric> const& sorted) {
  auto const twice = std::ranges::adjacent_find(sorted, {}, &Metric::name);
  if (twice != sorted.end()) return path_of(field, twice->name) + " is given twice: remove one";
  for (auto const& each : sorted) {
    if (!is_valid(each.value, field.may_be_negative))
      return bad_number(path_of(field, each.name), poise::detail::decimal(each.value),
                        field.may_be_negative);
    if (observe::as_utf8(each.name) != each.name)
      return "the name " + path_of(field, each.name) + " is no UTF-8";
  }
  return {};
}

/// Sorts the lists. *Returns* what is wrong with the report, or nothing.
[[nodiscard]] inline std::string settle(Report& report) {
  for (auto const& each : number_fields)
    if (auto const value = report.*each.value; !is_valid(value, false))
      return bad_number(std::string{each.name}, poise::detail::decimal(value), false);
  std::size_t count = 0;
  for (auto const& each : list_fields) count += (report.*each.list).size();
  if (count > max_metrics) return too_many();
  for (auto const& each : list_fields) {
    auto& list = report.*each.list;
    std::ranges::sort(list, {}, &Metric::name);
    if (auto error = list_error(each, list); !error.empty()) return error;
  }
  return {};
}

}  // namespace detail

}  // namespace poise::inline v0_1_0::orca
