// SPDX-License-Identifier: MIT
#pragma once

// A backend as dialects see it, and how they read addresses.
//
// A dialect says how another system places servers and hashes keys. The policies HashRing, HashList
// and MaglevOf do the rest. The dialect of a ring has:
//
//   Hash                     std::uint32_t or std::uint64_t
//   name                     for messages and metrics
//   rule                     constexpr RingRule
//   hash(key)                the hash of a key
//   place(members, points)   appends each member's points
//   keyless(key)             optional: true if this is no key; the default is an empty key
//
// The dialect of a list, from which a remainder chooses, has:
//
//   name, rule               with a ListRule
//   hash(key)
//   list(members, owners)    appends positions, each as often as its weight says
//   again(key, hash, n)      optional: the next hash after n unusable servers
//   keyless(key)
//
// `id` is the system's name of the server, `address` its address. Anything else that a system needs
// is a label.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <poise/backend.hpp>
#include <poise/base/address.hpp>
#include <poise/candidates.hpp>
#include <poise/error.hpp>

namespace poise::inline v0_1_0 {

/// Where a request without a key goes.
enum class Keyless : std::uint8_t {
  random,  ///< To any point.
  turns,   ///< To one point after the other, from the first one.
  smooth,  ///< By smooth weighted round robin.
};

/// How a ring is read.
struct RingRule {
  bool nearest = false;        ///< The nearest point; else the first one not before the hash.
  bool drop_equal = false;     ///< Of points with the same hash only the first one stays.
  bool eligible_only = false;  ///< The ring holds only members that are eligible now.
  Keyless keyless = Keyless::random;
  /// After so many unusable points in a row the server is chosen by smooth weighted round robin
  /// instead; 0: never.
  unsigned patience = 0;
};

/// How a list is read.
struct ListRule {
  bool eligible_only = false;  ///< The list holds only members that are eligible now.
  Keyless keyless = Keyless::random;
  unsigned patience = 0;  ///< As in RingRule.
};

namespace dialect {

/// A member, in stable order. A member of weight 0 has a place in the order, but gets no points.
struct Member {
  Backend const* backend;
  std::uint32_t weight;
  std::uint32_t position;  ///< Among all members.

  [[nodiscard]] std::string_view id() const noexcept { return backend->id(); }
  /// Its address; its id if no address was given.
  [[nodiscard]] std::string_view address() const noexcept {
    return backend->address().empty() ? id() : std::string_view{backend->address()};
  }
  /// The value of a label; empty if there is none.
  [[nodiscard]] std::string_view label(std::string_view key) const noexcept {
    for (auto const& each : backend->labels())
      if (each.key == key) return each.value;
    return {};
  }
};

using Members = std::span<Member const>;

/// All members, or the eligible ones; empty if all their weights are 0.
[[nodiscard]] inline std::vector<Member> members_of(Candidates const& candidates,
                                                    bool eligible_only) {
  std::vector<Member> members;
  members.reserve(candidates.members());
  bool has_weight = false;
  for (std::uint32_t position = 0; position < candidates.members(); ++position) {
    if (eligible_only && candidates.index_of(position) == Candidates::none) continue;
    members.push_back({&candidates.member(position), candidates.member_weight(position), position});
    has_weight = has_weight || members.back().weight != 0;
  }
  if (!has_weight) members.clear();
  return members;
}

namespace detail {

/// Each member as often as its weight says.
inline void list_by_weight(Members members, std::vector<std::uint32_t>& owners) {
  std::uint64_t total = 0;
  for (auto const& member : members) total += member.weight;
  constexpr std::uint64_t most = std::uint64_t{1} << 26U;  // 256 MiB
  if (total > most)
    throw ConfigError{"the weights sum up to " + std::to_string(total) + ", more than the " +
                      std::to_string(most) + " places of a list: divide them by the same number"};
  owners.reserve(static_cast<std::size_t>(total));
  for (auto const& member : members) owners.insert(owners.end(), member.weight, member.position);
}

}  // namespace detail

/// Host and port of an address: "h:80", "h", "[::1]:80", "[::1]", "unix:/x". A text that starts
/// with "unix:" has no port.
[[nodiscard]] constexpr poise::detail::AddressParts split(std::string_view address) noexcept {
  constexpr std::string_view socket = "unix:";
  bool is_socket = address.size() >= socket.size();
  for (std::size_t i = 0; is_socket && i < socket.size(); ++i)
    is_socket = (static_cast<unsigned char>(address[i]) | (i < 4 ? 0x20U : 0U)) ==
                static_cast<unsigned char>(socket[i]);
  if (is_socket) return {address.substr(socket.size()), {}};
  return poise::detail::split_port(address);
}

}  // namespace dialect

}  // namespace poise::inline v0_1_0
