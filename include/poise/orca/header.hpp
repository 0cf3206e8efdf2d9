// SPDX-License-Identifier: MIT
#pragma once

// Load reports from the headers and trailers of answers, as servers of gRPC and Envoy's upstreams
// write them:
//
//   endpoint-load-metrics: TEXT cpu_utilization=0.3,rps_fractional=10,named_metrics.queue=4
//   endpoint-load-metrics: JSON {"cpuUtilization": 0.3, "namedMetrics": {"queue": 4}}
//   endpoint-load-metrics: BIN CTMzMzMzM9M/
//   endpoint-load-metrics-bin: CTMzMzMzM9M/
//
// The last two hold the same message of protobuf in base64, with padding or without. JSON needs a
// library: include orca/json.hpp, too, and pass orca::read_json.
//
// A report is read as a whole or not at all. Refused are numbers that are negative or not finite,
// names that are given twice, names that a format does not have (but unknown fields of protobuf are
// skipped), reports above max_size, and more than max_metrics metrics. An empty report is valid: of
// such a server nothing is known.
//
// Source: gRPC's proposal A51; Envoy, source/common/orca/orca_parser.cc.

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/base/ascii.hpp>
#include <poise/base/base64.hpp>
#include <poise/base/decimal.hpp>
#include <poise/error.hpp>
#include <poise/orca/report.hpp>
#include <poise/orca/wire.hpp>

namespace poise::inline v0_1_0::orca {

/// Reads a report, or says in `error` what is wrong with it. read_json() is one.
using Reader = std::optional<Report> (*)(std::string_view text, std::string& error);

namespace detail {

using poise::detail::equal_ignoring_case;
using poise::detail::trimmed;

// --- TEXT ----------------------------------------------------------------------------------------

/// The numbers of TEXT that were given already: 0 cannot tell.
using Given = std::array<bool, number_fields.size()>;

/// Stores one `name=value`. *Returns* what is wrong with it, or nothing.
[[nodiscard]] inline std::string add_entry(std::string_view entry, Report& report, Given& given) {
  auto const split = std::min(entry.find_first_of("=:"), entry.size());
  auto const name = entry.substr(0, split);
  auto const text = trimmed(entry.substr(std::min(split + 1, entry.size())));
  auto const shown = poise::detail::escaped(name);
  auto const value = poise::detail::decimal_of(text);
  if (!value) return bad_number(shown, poise::detail::in_quotes(text), true);
  for (std::size_t i = 0; i < number_fields.size(); ++i) {
    if (name != number_fields[i].name) continue;
    if (std::exchange(given[i], true)) return shown + " is given twice: remove one";
    report.*number_fields[i].value = *value;
    return {};
  }
  for (auto const& each : list_fields) {
    auto const dot = each.name.size();
    if (!name.starts_with(each.name) || name.substr(dot, 1) != ".") continue;
    if (name.size() == dot + 1) return shown + " has no name after the dot";
    (report.*each.list).push_back({std::string{name.substr(dot + 1)}, *value});
    return {};
  }
  return "\"" + shown +
         "\" is none of application_utilization, cpu_utilization, mem_utilization, "
         "rps_fractional, eps, request_cost.NAME, utilization.NAME, named_metrics.NAME";
}

[[nodiscard]] inline std::string read_text(std::string_view text, Report& report) {
  Given given{};
  while (!text.empty()) {
    auto const part = text.substr(0, text.find(','));
    text.remove_prefix(std::min(part.size() + 1, text.size()));
    auto const entry = trimmed(part);
    if (entry.empty()) continue;
    if (auto error = add_entry(entry, report, given); !error.empty()) return error;
  }
  return settle(report);
}

// --- Protobuf ------------------------------------------------------------------------------------

/// An entry of a map: a name and a double. Nothing if it is broken.
[[nodiscard]] inline std::optional<Metric> read_metric(std::string_view bytes) {
  WireReader wire{bytes};
  Metric metric;
  while (auto const field = wire.next()) {
    if (field->number == 1 && field->type == WireType::bytes) metric.name = field->bytes;
    if (field->number == 2 && field->type == WireType::fixed64)
      metric.value = std::bit_cast<double>(field->value);
  }
  return wire.is_broken() ? std::nullopt : std::optional{std::move(metric)};
}

/// As a map of protobuf: the last entry with a name counts.
inline void put(std::vector<Metric>& list, Metric metric) {
  auto const same = std::ranges::find(list, metric.name, &Metric::name);
  if (same == list.end()) list.push_back(std::move(metric));
  else same->value = metric.value;
}

/// Stores one field; unknown ones are skipped. *Returns* what is wrong with it, or nothing.
[[nodiscard]] inline std::string add_field(WireField const& field, Report& report) {
  if (auto const* const number = field_numbered(number_fields, field.number);
      number != nullptr && field.type == WireType::fixed64)
    report.*number->value = std::bit_cast<double>(field.value);
  auto const* const list = field_numbered(list_fields, field.number);
  if (list == nullptr || field.type != WireType::bytes) return {};
  auto metric = read_metric(field.bytes);
  if (!metric) return "the message is cut off or broken in " + std::string{list->name};
  put(report.*list->list, std::move(*metric));
  return {};
}

[[nodiscard]] inline std::string read_message(std::string_view bytes, Report& report) {
  WireReader wire{bytes};
  double whole_rps = 0;
  std::size_t entries = 0;  // names that are given again count, too: each costs a search
  while (auto const field = wire.next()) {
    if (field_numbered(list_fields, field->number) != nullptr && ++entries > max_metrics)
      return too_many();
    if (field->number == whole_rps_field && field->type == WireType::varint)
      whole_rps = static_cast<double>(field->value);
    if (auto error = add_field(*field, report); !error.empty()) return error;
  }
  if (wire.is_broken()) return "the message is cut off or broken";
  if (report.rps == 0) report.rps = whole_rps;
  return settle(report);
}

[[nodiscard]] inline std::string read_base64(std::string_view text, Report& report) {
  auto const bytes = poise::detail::from_base64(text);
  return bytes ? read_message(*bytes, report) : "this is no base64 with the digits A-Z a-z 0-9 + /";
}

// --- Headers -------------------------------------------------------------------------------------

/// Takes "TEXT " from the front; also at the end, where HTTP removes spaces.
[[nodiscard]] inline bool take_format(std::string_view& value, std::string_view format) {
  if (!value.starts_with(format)) return false;
  if (value.size() > format.size() && value[format.size()] != ' ') return false;
  value.remove_prefix(std::min(format.size() + 1, value.size()));
  return true;
}

[[nodiscard]] inline std::string read_format(std::string_view value, Report& report, Reader json) {
  if (take_format(value, "TEXT")) return read_text(value, report);
  if (take_format(value, "BIN")) return read_base64(value, report);
  if (!take_format(value, "JSON"))
    return "begin it with TEXT, JSON or BIN and a space, in capitals";
  if (json == nullptr) return "to read JSON, include poise/orca/json.hpp and pass orca::read_json";
  std::string error;
  if (auto read = json(value, error)) report = std::move(*read);
  return error;
}

}  // namespace detail

/// The message xds.data.orca.v3.OrcaLoadReport in bytes, as libraries of gRPC give the values of
/// metadata. *Errors* nothing is returned, and `error` says why.
[[nodiscard]] inline std::optional<Report> read_binary(std::string_view bytes, std::string& error) {
  Report report;
  error = bytes.size() > max_size ? "the message " + detail::too_large(bytes.size())
                                  : detail::read_message(bytes, report);
  return error.empty() ? std::optional{std::move(report)} : std::nullopt;
}

/// A header or trailer of an answer. *Returns* nothing for a header that holds no report; `error`
/// is empty then. *Errors* nothing is returned, and `error` names the value and says what to do.
/// *Cost* O(n log n) in the size of the value, an allocation for each metric.
[[nodiscard]] inline std::optional<Report> read_header(std::string_view name,
                                                       std::string_view value, std::string& error,
                                                       Reader json = nullptr) {
  error.clear();
  bool const binary = detail::equal_ignoring_case(name, binary_header);
  if (!binary && !detail::equal_ignoring_case(name, text_header)) return std::nullopt;
  std::string const header{binary ? binary_header : text_header};
  if (value.size() > max_size) {
    error = header + " " + detail::too_large(value.size());
    return std::nullopt;
  }
  Report report;
  error = binary ? detail::read_base64(value, report) : detail::read_format(value, report, json);
  if (error.empty()) return report;
  error.insert(0, header + " is " + poise::detail::in_quotes(value) + ": ");
  return std::nullopt;
}

/// Of all headers, pairs of name and value. The binary one is preferred, as Envoy does; the first
/// counts. *Returns, errors* as read_header().
template <class Headers>
[[nodiscard]] std::optional<Report> read_headers(Headers const& headers, std::string& error,
                                                 Reader json = nullptr) {
  error.clear();
  for (auto const wanted : {binary_header, text_header})
    for (auto const& [name, value] : headers)
      if (detail::equal_ignoring_case(name, wanted)) return read_header(name, value, error, json);
  return std::nullopt;
}

}  // namespace poise::inline v0_1_0::orca
