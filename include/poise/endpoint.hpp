// SPDX-License-Identifier: MIT
#pragma once

// What configuration or discovery says of a backend, and the checks it must pass.
//
// The address is whatever your transport understands: "10.0.0.1:80", "[::1]:80",
// "unix:/run/a.sock", "db.internal:5432", or the name of a queue. poise never opens it.

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace poise {

struct Label {
  std::string key{};
  std::string value{};
  friend bool operator==(Label const&, Label const&) = default;
};

/// A plain value. Only `id` or `address` is needed: a missing id is the address.
struct Endpoint {
  std::string id{};          ///< Names the backend for ever; statistics follow it through updates.
  std::string address{};     ///< Where it is.
  std::uint32_t weight = 1;  ///< Its share relative to the others; 0 takes no traffic.
  std::string zone{};        ///< Where it runs, for policies that prefer what is near.
  std::uint32_t tier = 0;    ///< 0 is used first, for policies that fail over by tier.
  std::vector<Label> labels{};  ///< Anything else, for filters.

  friend bool operator==(Endpoint const&, Endpoint const&) = default;
};

/// One endpoint per address, with weight 1: `endpoints({"10.0.0.1:80", "10.0.0.2:80"})`.
///
/// The parameter is a list of character pointers, so that `endpoints({{"a", "b"}})`, which would
/// make one string from two iterators, does not compile.
[[nodiscard]] inline std::vector<Endpoint> endpoints(std::initializer_list<char const*> addresses) {
  std::vector<Endpoint> result;
  result.reserve(addresses.size());
  for (auto const* address : addresses) result.push_back({.id = address, .address = address});
  return result;
}

/// The same from any range of strings: a std::vector<std::string>, say.
template <class Addresses>
[[nodiscard]] std::vector<Endpoint> endpoints(Addresses const& addresses) {
  std::vector<Endpoint> result;
  for (std::string_view const address : addresses)
    result.push_back({.id = std::string{address}, .address = std::string{address}});
  return result;
}

namespace detail {

/// Where a backend is and what it is; if this changes, it is another backend under the same id.
inline bool same_identity(Endpoint const& left, Endpoint const& right) {
  return left.id == right.id && left.address == right.address && left.zone == right.zone &&
         left.tier == right.tier && left.labels == right.labels;
}

}  // namespace detail

}  // namespace poise
