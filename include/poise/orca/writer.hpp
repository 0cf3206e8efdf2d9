// SPDX-License-Identifier: MIT
#pragma once

// What a server puts into its answers, so that balancers know its load:
//
//   answer.set(orca::text_header, orca::to_header(report));
//   answer.set(orca::binary_header, orca::to_binary_header(report));  // or that, also as a trailer
//
// Clients of gRPC read the binary one only. People can read TEXT, but Envoy may refuse
// a report in TEXT with a request_cost.
//
// Numbers that are negative or not finite are left out, as gRPC's recorders do: 0/0 requests of a
// server that has just started must not fail its answers. Names are not left out: they are errors.

#include <bit>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/base/base64.hpp>
#include <poise/base/decimal.hpp>
#include <poise/error.hpp>
#include <poise/orca/report.hpp>
#include <poise/orca/wire.hpp>

namespace poise::inline v0_1_0::orca {

namespace detail {

/// What of the report is written. *Errors* ConfigError.
[[nodiscard]] inline Report writable(Report report) {
  for (auto const& each : number_fields)
    if (auto& value = report.*each.value; !is_valid(value, false)) value = 0;
  for (auto const& each : list_fields)
    std::erase_if(report.*each.list, [&](Metric const& metric) {
      return !is_valid(metric.value, each.may_be_negative);
    });
  if (auto const error = settle(report); !error.empty())
    throw ConfigError{"a load report can't be written: " + error};
  return report;
}

[[nodiscard]] inline std::string checked_size(std::string text) {
  if (text.size() > max_size) throw ConfigError{"the load report " + too_large(text.size())};
  return text;
}

/// *Errors* ConfigError for a name that would end early in a header.
inline void check_text_name(ListField const& field, std::string_view name) {
  bool fits = !name.empty();
  for (char const letter : name)
    fits =
        fits && letter > ' ' && letter < '\x7f' && letter != ',' && letter != '=' && letter != ':';
  if (!fits)
    throw ConfigError{"the name " + path_of(field, name) +
                      " can't be written as TEXT: use ASCII without spaces and , = : there, or "
                      "to_binary_header()"};
}

[[nodiscard]] inline std::string metric_message(Metric const& metric) {
  std::string bytes;
  add_bytes(bytes, 1, metric.name);
  add_fixed64(bytes, 2, std::bit_cast<std::uint64_t>(metric.value));
  return bytes;
}

/// Written as 0 where there is nothing to write: Envoy refuses an empty value.
inline constexpr NumberField const& filler = number_fields[1];

}  // namespace detail

/// The message xds.data.orca.v3.OrcaLoadReport in bytes, for metadata of gRPC, whose libraries make
/// base64 of it. *Errors* ConfigError for a name twice or in no UTF-8, and for too many metrics.
[[nodiscard]] inline std::string to_binary(Report const& report) {
  auto const written = detail::writable(report);
  std::string bytes;
  for (auto const& each : detail::number_fields)
    if (auto const value = written.*each.value; value != 0)
      detail::add_fixed64(bytes, each.field, std::bit_cast<std::uint64_t>(value));
  for (auto const& each : detail::list_fields)
    for (auto const& metric : written.*each.list)
      detail::add_bytes(bytes, each.field, detail::metric_message(metric));
  if (bytes.empty()) detail::add_fixed64(bytes, detail::filler.field, 0);
  return detail::checked_size(std::move(bytes));
}

/// The value of binary_header: base64. *Errors* as to_binary().
[[nodiscard]] inline std::string to_binary_header(Report const& report) {
  return detail::checked_size(poise::detail::base64(to_binary(report)));
}

/// The value of text_header: TEXT. *Errors* as to_binary(), and ConfigError for a name that has
/// other characters than those of visible ASCII without , = and :.
[[nodiscard]] inline std::string to_header(Report const& report) {
  auto const written = detail::writable(report);
  std::string text;
  auto const add = [&](std::string_view name, double value) {
    text.append(text.empty() ? "TEXT " : ",").append(name);
    text.append("=").append(poise::detail::decimal(value));
  };
  for (auto const& each : detail::number_fields)
    if (auto const value = written.*each.value; value != 0) add(each.name, value);
  for (auto const& each : detail::list_fields)
    for (auto const& metric : written.*each.list) {
      detail::check_text_name(each, metric.name);
      add(std::string{each.name}.append(".").append(metric.name), metric.value);
    }
  if (text.empty()) add(detail::filler.name, 0);
  return detail::checked_size(std::move(text));
}

}  // namespace poise::inline v0_1_0::orca
