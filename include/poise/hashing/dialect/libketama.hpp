// SPDX-License-Identifier: MIT
#pragma once

// libketama, the first consistent hashing for memcached (Richard Jones, last.fm).
//
// The address is that of the server file, "10.0.1.1:11211"; the weight is the memory. libketama
// does not know servers that are down; here their keys walk on to the next point.

#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <poise/hash/md5.hpp>
#include <poise/hashing/dialect/member.hpp>
#include <poise/hashing/ring.hpp>

namespace poise::inline v0_1_0::dialect {

namespace detail {

/// The four points of each of a server's digests, of "name-0", "name-1", ...
inline void place_digests(std::string_view name, std::uint64_t digests, std::uint32_t owner,
                          std::vector<Ring<std::uint32_t>::Point>& points) {
  for (std::uint64_t k = 0; k < digests; ++k)
    for (auto const word : hash::md5(std::string{name} + "-" + std::to_string(k)))
      points.push_back({word, owner});
}

}  // namespace detail

struct Libketama {
  using Hash = std::uint32_t;
  static constexpr char const* name = "libketama";
  static constexpr RingRule rule{};

  [[nodiscard]] static Hash hash(std::string_view key) noexcept { return hash::md5(key)[0]; }

  static void place(Members members, std::vector<Ring<Hash>::Point>& points) {
    std::uint64_t total = 0;
    for (auto const& member : members) total += member.weight;
    auto const count = static_cast<float>(members.size());
    poise::detail::reserve_points(points, std::uint64_t{160} * members.size());
    for (auto const& member : members) {
      // Exactly as libketama, since rounding matters: a float, multiplied as double, floored as
      // float.
      float const share = static_cast<float>(member.weight) / static_cast<float>(total);
      auto const digests = std::floor(static_cast<float>(share * 40.0 * count));
      detail::place_digests(member.address(), static_cast<std::uint64_t>(digests), member.position,
                            points);
    }
  }
};

}  // namespace poise::inline v0_1_0::dialect
