// SPDX-License-Identifier: MIT
#pragma once

// Validates a list of endpoints; error messages included.

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <poise/endpoint.hpp>
#include <poise/engine/id_index.hpp>
#include <poise/error.hpp>

namespace poise::inline v0_1_0::detail {

/// Does not compile: addresses stand where endpoints are needed.
template <class T>
consteval void refuse_addresses() {
  static_assert(!std::convertible_to<T, std::string_view>,
                "addresses are no endpoints: poise::endpoints({\"a:80\", \"b:80\"}) makes some");
}
/// Does not compile: an endpoint stands where a list of them is needed.
template <class None>
consteval void refuse_single_endpoint() {
  static_assert(!std::is_void_v<None>,
                "this takes a list of endpoints, which has one more pair of braces: "
                "{{.id = \"a\"}, {.id = \"b\"}}");
}
/// The same as a condition that nothing satisfies: a compiler that lists what it can't call names
/// it.
template <class None>
concept EndpointsHaveOneMorePairOfBraces = !std::is_void_v<None>;

inline std::string no_weight(std::string_view id) {
  return "weight of " + detail::in_quotes(id) +
         " is 0; every weight is 0, so nothing can be picked (use drain() to take a backend out)";
}

/// The greatest weight: more is a negative number that was made unsigned.
inline constexpr std::uint32_t max_weight = 0x7fff'ffff;

inline void check_weight(std::string_view id, std::uint32_t weight) {
  if (weight > max_weight)
    throw ConfigError{"weight of " + detail::in_quotes(id) + " is " + std::to_string(weight) +
                      ": use 0 to " + std::to_string(max_weight) +
                      " (a negative number, made unsigned?)"};
}

/// Fills in missing ids. *Errors* ConfigError: too many endpoints, no id, equal ids, no weight.
inline void check(std::vector<Endpoint>& endpoints, bool weight_may_be_zero = false) {
  if (endpoints.size() >= IdIndex::absent / 4)
    throw ConfigError{std::to_string(endpoints.size()) + " endpoints are too many"};
  IdIndex index{endpoints.size()};
  std::uint64_t weights = 0;
  auto const id_at = [&](std::uint32_t i) -> std::string_view { return endpoints[i].id; };
  for (std::uint32_t i = 0; i < endpoints.size(); ++i) {
    auto& endpoint = endpoints[i];
    if (endpoint.id.empty()) endpoint.id = endpoint.address;
    if (endpoint.id.empty())
      throw ConfigError{"endpoint number " + std::to_string(i + 1) + " has neither id nor address"};
    if (auto const other = index.insert(i, id_at); other != IdIndex::absent)
      throw ConfigError{"the id " + detail::in_quotes(endpoint.id) +
                        " is given to endpoints number " + std::to_string(other + 1) + " (" +
                        detail::in_quotes(endpoints[other].address) + ") and " +
                        std::to_string(i + 1) + " (" + detail::in_quotes(endpoint.address) +
                        "): ids must differ, since statistics follow them"};
    check_weight(endpoint.id, endpoint.weight);
    weights += endpoint.weight;
  }
  if (weights == 0 && !endpoints.empty() && !weight_may_be_zero)
    throw ConfigError{no_weight(endpoints[0].id)};
}

}  // namespace poise::inline v0_1_0::detail
