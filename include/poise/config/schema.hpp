// SPDX-License-Identifier: MIT
#pragma once

// A JSON Schema of a configuration, for editors that complete and check while you write. It says
// what a field may be by itself; check says the rest.
//
// Where nlohmann's JSON is not installed, this header is empty.

#if __has_include(<nlohmann/json.hpp>)

#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

#include <poise/compose/policy_named.hpp>
#include <poise/compose/policy_parser.hpp>
#include <poise/config/field.hpp>
#include <poise/config/fields.hpp>
#include <poise/config/settings.hpp>
#include <poise/endpoint.hpp>

namespace poise::inline v0_1_0::config {

namespace detail {

using Json = nlohmann::ordered_json;

[[nodiscard]] inline Json number_schema(char const* type, Range const& range) {
  Json schema{{"type", type}};
  schema[range.above ? "exclusiveMinimum" : "minimum"] = range.min;
  if (std::isfinite(range.max)) schema["maximum"] = range.max;
  return schema;
}

[[nodiscard]] inline Json secret_schema() {
  Json file{{"type", "object"}, {"additionalProperties", false}};
  file["properties"]["file"] = {{"type", "string"}};
  file["required"] = Json::array({"file"});
  return {{"anyOf", Json::array({{{"const", ""}}, file})}};
}

[[nodiscard]] inline Json value_schema(Kind kind, Range const& range) {
  switch (kind) {
    case Kind::text: return {{"type", "string"}};
    case Kind::flag: return {{"type", "boolean"}};
    case Kind::count: return number_schema("integer", range);
    case Kind::number: return number_schema("number", range);
    case Kind::limit:
      return {{"anyOf", Json::array({number_schema("integer", range), {{"const", "none"}}})}};
    case Kind::fraction:
      return {
          {"anyOf", Json::array({number_schema("number", range),
                                 {{"type", "string"}, {"pattern", R"(^[0-9]+(\.[0-9]+)?%$)"}}})}};
    case Kind::duration:
      return {{"type", "string"}, {"pattern", R"(^([0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h))+$)"}};
    case Kind::secret: return secret_schema();
    case Kind::policy: return {{"$ref", "#/$defs/policy"}};
    case Kind::choice: break;
  }
  auto words = Json::array();
  for (auto const word : range.words) words.push_back(word);
  return {{"enum", words}};
}

/// A table that takes what is described, and keys that begin with x-.
[[nodiscard]] inline Json table_schema(std::string_view doc) {
  Json schema{{"type", "object"}, {"additionalProperties", false}};
  schema["patternProperties"] = {{"^x-", Json::object()}};
  if (!doc.empty()) schema["description"] = doc;
  schema["properties"] = Json::object();
  return schema;
}

/// What an option takes in a table: its default says whether that is a policy.
[[nodiscard]] inline Json option_schema(poise::detail::PolicyText const& option) {
  auto const known = known_policies();
  if (std::ranges::find(known, option.name, &KnownPolicy::name) != known.end())
    return {{"$ref", "#/$defs/policy"}};
  if (option.key == "secret") {
    auto schema = secret_schema();
    schema["anyOf"].push_back({{"type", Json::array({"string", "boolean"})}});
    return schema;
  }
  return {{"type", Json::array({"string", "number", "boolean", "object"})}};
}

/// A policy as a text, or as a table of one of the names with its options.
[[nodiscard]] inline Json policy_schema() {
  auto shapes = Json::array({{{"type", "string"}}});
  for (auto const& each : known_policies()) {
    auto shape = table_schema(each.about);
    shape["properties"]["name"] = {{"const", each.name}};
    shape["required"] = Json::array({"name"});
    auto const text = "x(" + std::string{each.parameters} + ")";
    for (auto const& option : poise::detail::PolicyParser::parse(text).arguments)
      shape["properties"][option.key] = option_schema(option);
    shapes.push_back(std::move(shape));
  }
  return {{"anyOf", shapes}};
}

template <class Owner>
[[nodiscard]] Json field_schema(Field<Owner> const& field, Owner const& defaults) {
  auto schema = value_schema(field.kind, field.range);
  schema["description"] = field.doc;
  schema["default"] = Json::parse(written(field.kind, field.get(defaults)));
  return schema;
}

[[nodiscard]] inline Json backends_schema() {
  auto entry = table_schema("A backend.");
  for (auto const& each : backend_fields())
    entry["properties"][std::string{each.key}] = field_schema(each, Endpoint{});
  entry["properties"]["labels"] = {{"type", "object"},
                                   {"additionalProperties", {{"type", "string"}}},
                                   {"description", "Anything else, for filters."}};
  entry["required"] = Json::array({"address"});
  return {{"type", "array"}, {"items", entry}};
}

/// The table of this dotted name, made where it is missing.
[[nodiscard]] inline Json& table_at(Json& root, std::string_view name) {
  auto* table = &root;
  while (!name.empty()) {
    auto const part = name.substr(0, name.find('.'));
    name.remove_prefix(std::min(name.size(), part.size() + 1));
    auto& place = (*table)["properties"][std::string{part}];
    if (place.is_null()) place = table_schema({});
    table = &place;
  }
  return *table;
}

}  // namespace detail

/// JSON Schema, draft 2020-12.
[[nodiscard]] inline std::string schema() {
  auto root = detail::table_schema("A configuration of poise.");
  root["$schema"] = "https://json-schema.org/draft/2020-12/schema";
  root["title"] = "poise";
  root["$defs"]["policy"] = detail::policy_schema();
  root["properties"]["$schema"] = {{"type", "string"}};
  root["properties"]["backends"] = detail::backends_schema();
  Settings const defaults;
  for (auto const& section : sections()) {
    auto& table = detail::table_at(root, section.name);
    if (!section.doc.empty()) table["description"] = section.doc;
    for (auto const& each : section.fields)
      table["properties"][std::string{each.key}] = detail::field_schema(each, defaults);
  }
  return root.dump(2) + '\n';
}

}  // namespace poise::inline v0_1_0::config

#endif
