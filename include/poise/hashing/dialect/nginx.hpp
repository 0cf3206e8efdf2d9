// SPDX-License-Identifier: MIT
#pragma once

// nginx, `hash KEY consistent` (since 1.7.2; the stream module is the same), `hash KEY` and
// `ip_hash`.
//
// The id is the exact text after `server` in the upstream: "h" and "h:80" make different rings,
// although nginx connects to the same port, and IPv6 keeps its brackets. Servers that are down keep
// their points. A key of such a server walks on to the next point, up to 20 times. After that
// smooth weighted round robin chooses, as it does for an empty key.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <poise/base/address.hpp>
#include <poise/hash/crc32.hpp>
#include <poise/hashing/dialect/member.hpp>
#include <poise/hashing/ring.hpp>

namespace poise::inline v0_1_0::dialect {

namespace detail {

/// 160 points per weight unit. Each point is the checksum of the server and the point before it. So
/// a heavier server has all points of a lighter one, and more.
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
  static constexpr RingRule rule{.drop_equal = true, .keyless = Keyless::smooth, .patience = 20};

  [[nodiscard]] static Hash hash(std::string_view key) noexcept { return hash::crc32(key); }

  static void place(Members members, std::vector<Ring<Hash>::Point>& points) {
    detail::reserve_chained(members, points);
    for (auto const& member : members) {
      auto const [host, port] = split(member.id());
      detail::place_chained(host, port, member, points);
    }
  }
};

/// nginx, `hash KEY`; the same as Cache::Memcached's.
struct NginxHash {
  static constexpr char const* name = "nginx-hash";
  static constexpr ListRule rule{.keyless = Keyless::smooth, .patience = 20};

  [[nodiscard]] static std::uint32_t hash(std::string_view key) noexcept {
    return folded(hash::crc32(key));
  }
  [[nodiscard]] static std::uint32_t again(std::string_view key, std::uint32_t before, unsigned n) {
    return before + folded(hash::Crc32{}.add(std::to_string(n)).add(key).value());
  }
  static void list(Members members, std::vector<std::uint32_t>& owners) {
    detail::list_by_weight(members, owners);
  }

 private:
  static constexpr std::uint32_t folded(std::uint32_t sum) noexcept { return sum >> 16U & 0x7fffU; }
};

/// nginx, `ip_hash`. The key is the client's address: the first three bytes of IPv4, all of IPv6.
/// All other texts are one key.
struct NginxIpHash {
  static constexpr char const* name = "nginx-ip-hash";
  static constexpr ListRule rule{.keyless = Keyless::smooth, .patience = 20};

  [[nodiscard]] static std::uint32_t hash(std::string_view key) noexcept {
    return again(key, 89, 0);
  }
  [[nodiscard]] static std::uint32_t again(std::string_view key, std::uint32_t before,
                                           unsigned) noexcept {
    using poise::detail::Ip;
    auto const ip = Ip::parse(key).value_or(Ip{.size = 4});
    for (char const letter : ip.view().substr(0, ip.size == 4 ? 3 : 16))
      before = (before * 113 + static_cast<unsigned char>(letter)) % 6271;
    return before;
  }
  /// False: a text that is no address is a key, too.
  [[nodiscard]] static bool keyless(std::string_view) noexcept { return false; }
  static void list(Members members, std::vector<std::uint32_t>& owners) {
    detail::list_by_weight(members, owners);
  }
};

}  // namespace poise::inline v0_1_0::dialect
