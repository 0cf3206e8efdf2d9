// SPDX-License-Identifier: MIT
#pragma once

// nginx, `hash KEY consistent` (since 1.7.2; the stream module is the same).
//
// The id is what stands after `server` in the upstream, to the letter: "h" and "h:80" are different
// rings, although nginx connects to the same port, and IPv6 keeps its brackets. Servers that are
// down keep their points; a key walks on to the next point, 20 times, and is then given away by
// smooth weighted round robin, like requests with an empty key.

#include <cstdint>
#include <string_view>
#include <vector>

#include <poise/dialect/member.hpp>
#include <poise/hash/crc32.hpp>
#include <poise/ring.hpp>

namespace poise::dialect {

namespace detail {

/// 160 points a weight unit, each the checksum of the server and the point before it; so the points
/// of a lighter server are the first ones of a heavier one.
inline void place_chained(std::string_view host, std::string_view port, Member const& member,
                          std::vector<Ring<std::uint32_t>::Point>& points) {
  auto const base = hash::Crc32{}.add(host).add(std::string_view{"\0", 1}).add(port);
  std::uint32_t point = 0;
  for (std::uint64_t i = 0; i < std::uint64_t{160} * member.weight; ++i) {
    char const before[4]{static_cast<char>(point), static_cast<char>(point >> 8U),
                         static_cast<char>(point >> 16U), static_cast<char>(point >> 24U)};
    auto chain = base;
    point = chain.add({before, sizeof before}).value();
    points.push_back({point, member.position});
  }
}

inline void reserve_chained(Members members, std::vector<Ring<std::uint32_t>::Point>& points) {
  std::uint64_t count = 0;
  for (auto const& member : members) count += std::uint64_t{160} * member.weight;
  poise::detail::reserve_points(points, count);
}

}  // namespace detail

struct Nginx {
  using Hash = std::uint32_t;
  static constexpr char const* name = "nginx";
  static constexpr RingRule rule{.drop_equal = true, .patience = 20};

  [[nodiscard]] static Hash hash(std::string_view key) noexcept { return hash::crc32(key); }

  static void place(Members members, std::vector<Ring<Hash>::Point>& points) {
    detail::reserve_chained(members, points);
    for (auto const& member : members) {
      auto const [host, port] = split(member.id());
      detail::place_chained(host, port, member, points);
    }
  }
};

}  // namespace poise::dialect
