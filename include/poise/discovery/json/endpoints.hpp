// SPDX-License-Identifier: MIT
#pragma once

// Lists of endpoints as JSON of poise's own:
//
//   ["10.0.0.1:80", {"address": "10.0.0.2:80", "id": "two", "weight": 3, "zone": "eu-1a",
//                    "tier": 1, "max_in_flight": 100, "labels": {"disk": "ssd"}}]
//
// or an object whose member "endpoints" is that. Unknown members are ignored.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <poise/discovery/json/reader.hpp>
#include <poise/discovery/lines.hpp>
#include <poise/discovery/look.hpp>
#include <poise/discovery/normalize.hpp>
#include <poise/endpoint.hpp>

namespace poise::inline v0_1_0::discovery::json {

/// One entry. *Errors* JsonError: what is wrong with it.
[[nodiscard]] inline Endpoint to_endpoint(Json const& entry) {
  if (entry.is_string()) {
    auto const& address = entry.get_ref<std::string const&>();
    return {.id = address, .address = address};
  }
  if (!entry.is_object()) throw JsonError{wrong("an endpoint", entry, "use a text or an object")};
  Endpoint endpoint{.id = text_at(entry, "id"), .address = text_at(entry, "address")};
  if (endpoint.address.empty())
    throw JsonError{wrong("an endpoint", entry, "it needs an \"address\": \"host:port\"")};
  if (endpoint.id.empty()) endpoint.id = endpoint.address;
  endpoint.weight = number_at("weight of " + endpoint.id, entry, "weight").value_or(1);
  endpoint.tier = number_at("tier of " + endpoint.id, entry, "tier").value_or(0);
  endpoint.max_in_flight = number_at("max_in_flight of " + endpoint.id, entry, "max_in_flight")
                               .value_or(endpoint.max_in_flight);
  endpoint.zone = text_at(entry, "zone");
  if (auto const* const labels = find(entry, "labels"); labels != nullptr && labels->is_object())
    for (auto const& [key, value] : labels->items())
      endpoint.labels.push_back({key, value.is_string() ? value.get<std::string>() : value.dump()});
  return endpoint;
}

/// Adds what `make` makes of each entry; entries for which it throws become problems.
template <class Make>
void each_entry(Json const& entries, Found& found, Make const& make) {
  for (auto const& entry : entries) {
    try {
      make(entry);
    } catch (JsonError const& error) {
      discovery::detail::add_problem(found.problems, error.what());
    }
  }
}

/// Runs a parser that returns a Look, or what can be made of one; what it throws is a Failed.
template <class Parse>
[[nodiscard]] auto guarded(Parse const& parse) -> decltype(parse()) {
  try {
    return parse();
  } catch (JsonError const& error) {
    return {Failed{error.what(), {}}};
  } catch (Json::exception const& error) {
    return {Failed{std::string{"unexpected JSON: "} + error.what(), {}}};
  }
}

/// *Errors* Failed: no JSON, or none of a list. For FileOptions::parse, and for any HTTP list.
[[nodiscard]] inline Look parse_endpoints(std::string_view text) {
  return guarded([&]() -> Look {
    auto const json = parse(text);
    auto const* const member = find(json, "endpoints");
    auto const& list = member != nullptr ? *member : json;
    if (!list.is_array())
      return Failed{wrong("the list", list, "use an array, or an object with \"endpoints\"")};
    Found found;
    each_entry(list, found,
               [&](Json const& entry) { found.endpoints.push_back(to_endpoint(entry)); });
    return found;
  });
}

/// JSON or lines, whichever the text begins like.
[[nodiscard]] inline Look parse_any(std::string_view text) {
  auto const first = text.find_first_not_of(" \t\r\n\xef\xbb\xbf");
  bool const is_json =
      first != std::string_view::npos && (text[first] == '{' || text[first] == '[');
  if (is_json) return parse_endpoints(text.substr(first));
  return parse_lines(text);
}

}  // namespace poise::inline v0_1_0::discovery::json
