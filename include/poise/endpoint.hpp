// SPDX-License-Identifier: MIT
#pragma once

// An endpoint: what configuration or discovery says of a backend.
//
// The address is any text that your transport understands: "10.0.0.1:80", "[::1]:80",
// "unix:/run/a.sock", "db.internal:5432", or the name of a queue. poise never opens it.

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/hash/local.hpp>
#include <poise/random.hpp>

namespace poise::inline v0_1_0 {

/// A fact about an endpoint, for filters: {"disk", "ssd"}.
struct Label {
  std::string key{};
  std::string value{};
  friend bool operator==(Label const&, Label const&) = default;
};

namespace detail {

/// Refuses an Endpoint of two strings: {"a:80", "b:80"} would be one backend, with an id and an
/// address.
struct MembersAreNamed {
  explicit constexpr MembersAreNamed() = default;
  template <std::convertible_to<std::string_view> T>
  // NOLINTNEXTLINE(*-explicit-*): takes the place of the first string
  constexpr MembersAreNamed(T const&) {
    static_assert(!std::convertible_to<T, std::string_view>,
                  "the members of an Endpoint are named: {.id = \"a\", .address = \"a:80\"}; for "
                  "addresses alone write poise::endpoints({\"a:80\", \"b:80\"})");
  }
  friend constexpr bool operator==(MembersAreNamed, MembersAreNamed) = default;
};

}  // namespace detail

/// A plain value. Only `id` or `address` is needed: a missing id is the address.
struct Endpoint {
  [[no_unique_address]] detail::MembersAreNamed members_are_named = detail::MembersAreNamed{};
  std::string id{};          ///< Names the backend for ever; statistics follow it through updates.
  std::string address{};     ///< Where it is.
  std::uint32_t weight = 1;  ///< Its fraction relative to the others; 0 takes no traffic.
  std::string zone{};        ///< Where it runs, for policies that prefer near backends.
  std::uint32_t tier = 0;    ///< 0 is used first, for policies that fail over by tier.
  /// At most so many requests in flight there; set_admission overrides it. No limit by default.
  std::uint32_t max_in_flight = ~std::uint32_t{0};
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

/// One of 64 bits for a label.
inline std::uint64_t mark_of(Label const& label) noexcept {
  return std::uint64_t{1} << (mix(hash_text(label.key) + 3 * hash_text(label.value)) >> 58U);
}
inline std::uint64_t marks_of(std::vector<Label> const& labels) noexcept {
  std::uint64_t marks = 0;
  for (auto const& label : labels) marks |= mark_of(label);
  return marks;
}

/// True if nothing but the weight differs. Otherwise it is another backend under the same id.
inline bool same_identity(Endpoint const& left, Endpoint const& right) {
  return left.id == right.id && left.address == right.address && left.zone == right.zone &&
         left.tier == right.tier && left.labels == right.labels;
}

}  // namespace detail

}  // namespace poise::inline v0_1_0
