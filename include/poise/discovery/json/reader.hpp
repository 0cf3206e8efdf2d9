// SPDX-License-Identifier: MIT
#pragma once

// JSON from strangers: nlohmann's parser, with limits. A text that is too deep, that has the same
// key twice in an object (of which parsers take this one or that one), or that is no UTF-8 is
// refused. Numbers come out whole and in range, or not at all. null is the same as absent.

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <poise/endpoint.hpp>
#include <poise/error.hpp>

namespace poise::inline v0_1_0::discovery::json {

using Json = nlohmann::json;

/// What is wrong with a text.
class JsonError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

namespace detail {

/// Refuses depth and duplicate keys while the parser runs.
class Limits {
 public:
  bool operator()(int depth, Json::parse_event_t event, Json const& parsed) {
    constexpr int max_depth = 64;
    using Event = Json::parse_event_t;
    if (event == Event::object_start || event == Event::array_start) {
      if (depth >= max_depth)
        throw JsonError{"is nested deeper than " + std::to_string(max_depth) + " levels"};
      if (event == Event::object_start) keys_.emplace_back();
    } else if (event == Event::object_end) {
      keys_.pop_back();
    } else if (event == Event::key) {
      auto const& key = parsed.get_ref<std::string const&>();
      if (!keys_.back().insert(key).second)
        throw JsonError{"has the key " + poise::detail::in_quotes(key) + " twice in one object"};
    }
    return true;
  }

 private:
  std::vector<std::set<std::string>> keys_{};
};

}  // namespace detail

/// *Errors* JsonError, which says where. *Cost* O(n) memory; limit the size of the text before.
[[nodiscard]] inline Json parse(std::string_view text) {
  if (text.find_first_not_of(" \t\r\n") == std::string_view::npos)
    throw JsonError{"is empty, but JSON was expected"};
  try {
    detail::Limits limits;
    return Json::parse(text.begin(), text.end(),
                       [&](int depth, Json::parse_event_t event, Json const& parsed) {
                         return limits(depth, event, parsed);
                       });
  } catch (Json::parse_error const& error) {
    throw JsonError{"is no JSON at byte " + std::to_string(error.byte) + ": it begins with " +
                    poise::detail::in_quotes(text.substr(0, 40))};
  } catch (Json::exception const& error) {
    throw JsonError{std::string{"is no JSON: "} + error.what()};
  }
}

/// A member of an object; nothing if it is absent or null, or if this is no object.
[[nodiscard]] inline Json const* find(Json const& object, char const* key) {
  if (!object.is_object()) return nullptr;
  auto const found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}
/// The member at the end of a path of keys.
template <class... Keys>
[[nodiscard]] Json const* find(Json const& object, char const* first, Keys... rest) {
  auto const* const inner = find(object, first);
  return inner == nullptr ? nullptr : find(*inner, rest...);
}

/// *Returns* the text, or "" if the member is absent or no text.
template <class... Keys>
[[nodiscard]] std::string text_at(Json const& object, Keys... keys) {
  Json const* const found = find(object, keys...);
  return found != nullptr && found->is_string() ? found->get<std::string>() : std::string{};
}

/// A whole number from 0 to `max`, also as a text of digits, as protobuf writes 64 bits.
[[nodiscard]] inline std::optional<std::uint64_t> whole(
    Json const& value, std::uint64_t max = std::numeric_limits<std::uint64_t>::max()) {
  std::uint64_t number = 0;
  if (value.is_number_unsigned()) {
    number = value.get<std::uint64_t>();
  } else if (value.is_string()) {
    auto const& text = value.get_ref<std::string const&>();
    if (text.empty() || text.size() > 19) return std::nullopt;
    for (char const digit : text) {
      if (digit < '0' || digit > '9') return std::nullopt;
      number = number * 10 + static_cast<std::uint64_t>(digit - '0');
    }
  } else {
    return std::nullopt;
  }
  return number <= max ? std::optional{number} : std::nullopt;
}

/// What is wrong with a value, beginning with its path: "weight is -1: ...".
[[nodiscard]] inline std::string wrong(std::string_view name, Json const& value,
                                       std::string_view wanted) {
  return std::string{name} + " is " +
         poise::detail::escaped(value.dump(-1, ' ', false, Json::error_handler_t::replace)) + ": " +
         std::string{wanted};
}

/// A member that must be a whole number of 32 bits if it is there. *Errors* JsonError.
template <class... Keys>
[[nodiscard]] std::optional<std::uint32_t> number_at(std::string_view name, Json const& object,
                                                     Keys... keys) {
  Json const* const found = find(object, keys...);
  if (found == nullptr) return std::nullopt;
  auto const number = whole(*found, std::numeric_limits<std::uint32_t>::max());
  if (!number) throw JsonError{wrong(name, *found, "use a whole number from 0 to 4294967295")};
  return static_cast<std::uint32_t>(*number);
}

/// "10.0.0.1" and 80 as "10.0.0.1:80"; IPv6 gets its brackets.
[[nodiscard]] inline std::string host_port(std::string const& host, std::uint64_t port) {
  bool const bare_ipv6 = host.find(':') != std::string::npos && host.front() != '[';
  return (bare_ipv6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

}  // namespace poise::inline v0_1_0::discovery::json
