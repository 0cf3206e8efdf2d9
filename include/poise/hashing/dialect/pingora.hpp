// SPDX-License-Identifier: MIT
#pragma once

// Cloudflare's pingora-ketama (version 1): nginx's ring, made from the backends' addresses.
//
// The address must be IP:PORT. IPv6 is hashed without brackets and in its shortest form, so pingora
// and nginx agree on IPv4 and differ on IPv6. A backend that is down keeps its points, and its keys
// walk on to the next one.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <poise/base/address.hpp>
#include <poise/hash/crc32.hpp>
#include <poise/hashing/dialect/member.hpp>
#include <poise/hashing/dialect/nginx.hpp>
#include <poise/hashing/ring.hpp>

namespace poise::inline v0_1_0::dialect {

struct Pingora {
  using Hash = std::uint32_t;
  static constexpr char const* name = "pingora";
  static constexpr RingRule rule{.drop_equal = true};

  [[nodiscard]] static Hash hash(std::string_view key) noexcept { return hash::crc32(key); }

  static void place(Members members, std::vector<Ring<Hash>::Point>& points) {
    detail::reserve_chained(members, points);
    for (auto const& member : members) {
      auto const [host, port] = split(member.address());
      auto const ip = poise::detail::Ip::parse(host);
      if (!ip || port.empty())
        throw ConfigError{"the address " + poise::detail::in_quotes(member.address()) +
                          " is not IP:PORT, which is all that pingora hashes"};
      detail::place_chained(ip->text(), port, member, points);
    }
  }
};

}  // namespace poise::inline v0_1_0::dialect
