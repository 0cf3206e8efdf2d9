// SPDX-License-Identifier: MIT
#pragma once

// Load reports in JSON, to be passed to read_header():
//
//   auto const report = orca::read_header(name, value, error, orca::read_json);
//
// Needs nlohmann's JSON. The mapping is that of proto3: names as in the .proto file or in
// lowerCamelCase, numbers also as texts, null for what is missing. Unknown names are refused, as
// Envoy does.
//
// Source: protobuf.dev/programming-guides/json.

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <poise/base/decimal.hpp>
#include <poise/discovery/json/reader.hpp>
#include <poise/error.hpp>
#include <poise/orca/report.hpp>

namespace poise::inline v0_1_0::orca {

namespace detail {

using discovery::json::Json;
using discovery::json::JsonError;
using discovery::json::wrong;

/// *Errors* JsonError.
[[nodiscard]] inline double json_number(std::string const& name, Json const& value) {
  std::optional<double> number;
  if (value.is_number()) number = value.get<double>();
  if (value.is_string()) number = poise::detail::decimal_of(value.get_ref<std::string const&>());
  if (!number) throw JsonError{wrong(name, value, "use a finite decimal number")};
  return *number;
}

/// One report; what is missing stays 0. *Errors* JsonError.
class JsonReport {
 public:
  [[nodiscard]] Report read(Json const& json) {
    if (!json.is_object()) throw JsonError{wrong("the report", json, "use an object")};
    for (auto const& [key, value] : json.items())
      if (!value.is_null()) add(key, value);
    if (report_.rps == 0) report_.rps = whole_rps_;
    if (auto const error = settle(report_); !error.empty()) throw JsonError{error};
    return std::move(report_);
  }

 private:
  void add(std::string const& key, Json const& value) {
    if (key == "rps") return add_whole_rps(value);
    if (auto const* const field = field_named(number_fields, key)) {
      check_once(given_numbers_.at(static_cast<std::size_t>(field - number_fields.data())), key);
      report_.*field->value = json_number(key, value);
    } else if (auto const* const list = field_named(list_fields, key)) {
      check_once(given_lists_.at(static_cast<std::size_t>(list - list_fields.data())), key);
      add_list(*list, value);
    } else {
      throw JsonError{poise::detail::in_quotes(key) + " is no field of OrcaLoadReport"};
    }
  }
  void add_whole_rps(Json const& value) {
    auto const whole = discovery::json::whole(value);
    if (!whole) throw JsonError{wrong("rps", value, "use a whole number of 0 or more")};
    whole_rps_ = static_cast<double>(*whole);
  }
  void add_list(ListField const& field, Json const& value) {
    if (!value.is_object())
      throw JsonError{wrong(field.name, value, "use an object of names and numbers")};
    for (auto const& [name, number] : value.items())
      (report_.*field.list).push_back({name, json_number(path_of(field, name), number)});
  }
  /// Two spellings of a name are the same name. The parser refuses one spelling twice.
  static void check_once(bool& given, std::string const& key) {
    if (std::exchange(given, true))
      throw JsonError{key + " is given twice, in both spellings: remove one"};
  }

  Report report_{};
  double whole_rps_ = 0;
  std::array<bool, number_fields.size()> given_numbers_{};
  std::array<bool, list_fields.size()> given_lists_{};
};

}  // namespace detail

/// The message xds.data.orca.v3.OrcaLoadReport in JSON. *Errors* nothing is returned, and `error`
/// says why.
[[nodiscard]] inline std::optional<Report> read_json(std::string_view text, std::string& error) {
  error.clear();
  detail::Json json;
  try {
    if (text.size() > max_size) throw detail::JsonError{detail::too_large(text.size())};
    json = discovery::json::parse(text);
  } catch (detail::JsonError const& wrong) {
    error = std::string{"the text "} + wrong.what();
    return std::nullopt;
  }
  try {
    return detail::JsonReport{}.read(json);
  } catch (detail::JsonError const& wrong) {
    error = wrong.what();
    return std::nullopt;
  }
}

}  // namespace poise::inline v0_1_0::orca
