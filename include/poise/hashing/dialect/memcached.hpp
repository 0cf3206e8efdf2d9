// SPDX-License-Identifier: MIT
#pragma once

// twemproxy (nutcracker) and libmemcached: ketama rings and plain lists.
//
// Both drop the port 11211 from a server's name, so "h" and "h:11211" are the same server. Both
// take bytes above 0x7f as negative numbers in fnv and one-at-a-time. Servers that are down are
// removed, and the others are placed again (twemproxy's auto_eject_hosts, libmemcached's
// AUTO_EJECT_HOSTS or REMOVE_FAILED_SERVERS). With unequal weights that moves some keys of the
// others.
//
//   twemproxy                      the id is the server's name, if it has one beside its address
//   libmemcached-ketama            BEHAVIOR_KETAMA without weights: 100 points a server, not MD5
//   libmemcached-ketama-weighted   BEHAVIOR_KETAMA_WEIGHTED, or a weight above 1: MD5
//   libmemcached-modula            the default: a remainder, so that one more server moves nearly
//                                  all keys

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

#include <poise/hash/crc32.hpp>
#include <poise/hash/fnv.hpp>
#include <poise/hash/md5.hpp>
#include <poise/hash/one_at_a_time.hpp>
#include <poise/hashing/dialect/libketama.hpp>
#include <poise/hashing/dialect/member.hpp>
#include <poise/hashing/ring.hpp>

namespace poise::inline v0_1_0::dialect {

/// Their common names of hashes; crc32 is 15 bits of crc32a.
enum class MemcachedHash : std::uint8_t {
  one_at_a_time,
  md5,
  crc32,
  crc32a,
  fnv1_64,
  fnv1a_64,
  fnv1_32,
  fnv1a_32
};

namespace detail {

[[nodiscard]] inline std::uint32_t memcached_hash(MemcachedHash function,
                                                  std::string_view key) noexcept {
  switch (function) {
    case MemcachedHash::one_at_a_time: break;
    case MemcachedHash::md5: return hash::md5(key)[0];
    case MemcachedHash::crc32: return hash::crc32(key) >> 16U & 0x7fffU;
    case MemcachedHash::crc32a: return hash::crc32(key);
    case MemcachedHash::fnv1_64: return hash::fnv1_64(key);
    case MemcachedHash::fnv1a_64: return hash::fnv1a_64(key);
    case MemcachedHash::fnv1_32: return hash::fnv1_32(key);
    case MemcachedHash::fnv1a_32: return hash::fnv1a_32(key);
  }
  return hash::one_at_a_time(key);
}

/// "host:port", or "host" if the port is memcached's own.
[[nodiscard]] inline std::string_view memcached_name(std::string_view address) noexcept {
  auto const [host, port] = split(address);
  return port == "11211" ? host : address;
}

/// Up to 160 points a server on average, four to a digest, in proportion to weight.
template <class Name>
void place_weighted(Members members, Name const& name,
                    std::vector<Ring<std::uint32_t>::Point>& points) {
  std::uint64_t total = 0;
  for (auto const& member : members) total += member.weight;
  auto const count = static_cast<float>(members.size());
  poise::detail::reserve_points(points, std::uint64_t{164} * members.size());
  for (auto const& member : members) {
    // Exactly as both do it, since rounding matters: floats, with one double among them.
    float const share = static_cast<float>(member.weight) / static_cast<float>(total);
    float const wanted = share * 160.0F / 4.0F * count;
    auto const digests = std::floor(static_cast<float>(wanted + 0.0000000001));
    place_digests(name(member), static_cast<std::uint64_t>(digests), member.position, points);
  }
}

}  // namespace detail

namespace detail {

/// A server's name: the id, unless that equals the address.
[[nodiscard]] inline std::string_view twemproxy_name(Member const& member) noexcept {
  return member.id() == member.address() ? memcached_name(member.id()) : member.id();
}

}  // namespace detail

/// twemproxy, `distribution: ketama`.
struct Twemproxy {
  using Hash = std::uint32_t;
  static constexpr char const* name = "twemproxy";
  static constexpr RingRule rule{.eligible_only = true};

  MemcachedHash function = MemcachedHash::fnv1a_64;

  [[nodiscard]] Hash hash(std::string_view key) const noexcept {
    return detail::memcached_hash(function, key);
  }
  static void place(Members members, std::vector<Ring<Hash>::Point>& points) {
    detail::place_weighted(members, detail::twemproxy_name, points);
  }
};

/// libmemcached, BEHAVIOR_KETAMA: weights do not count.
struct LibmemcachedKetama {
  using Hash = std::uint32_t;
  static constexpr char const* name = "libmemcached-ketama";
  static constexpr RingRule rule{};

  [[nodiscard]] static Hash hash(std::string_view key) noexcept { return hash::one_at_a_time(key); }
  static void place(Members members, std::vector<Ring<Hash>::Point>& points) {
    constexpr int points_a_server = 100;
    for (auto const& member : members) {
      if (member.weight == 0) continue;
      auto const stem = std::string{detail::memcached_name(member.address())} + "-";
      for (int k = 0; k < points_a_server; ++k)
        points.push_back({hash(stem + std::to_string(k)), member.position});
    }
  }
};

/// libmemcached, BEHAVIOR_KETAMA_WEIGHTED.
struct LibmemcachedKetamaWeighted {
  using Hash = std::uint32_t;
  static constexpr char const* name = "libmemcached-ketama-weighted";
  static constexpr RingRule rule{.eligible_only = true};

  [[nodiscard]] static Hash hash(std::string_view key) noexcept { return hash::md5(key)[0]; }
  static void place(Members members, std::vector<Ring<Hash>::Point>& points) {
    detail::place_weighted(
        members, [](Member const& member) { return detail::memcached_name(member.address()); },
        points);
  }
};

/// twemproxy, `distribution: modula`: each server as often as its weight says, in twemproxy's own
/// order, by the length of the name and then by its bytes.
struct TwemproxyModula {
  static constexpr char const* name = "twemproxy-modula";
  static constexpr ListRule rule{.eligible_only = true};

  MemcachedHash function = MemcachedHash::fnv1a_64;

  [[nodiscard]] std::uint32_t hash(std::string_view key) const noexcept {
    return detail::memcached_hash(function, key);
  }
  static void list(Members members, std::vector<std::uint32_t>& owners) {
    std::vector<Member> order{members.begin(), members.end()};
    std::stable_sort(order.begin(), order.end(), [](Member const& a, Member const& b) {
      auto const left = detail::twemproxy_name(a);
      auto const right = detail::twemproxy_name(b);
      return left.size() != right.size() ? left.size() < right.size() : left < right;
    });
    detail::list_by_weight(order, owners);
  }
};

/// libmemcached's default: weights do not count.
struct LibmemcachedModula {
  static constexpr char const* name = "libmemcached-modula";
  static constexpr ListRule rule{.eligible_only = true};

  MemcachedHash function = MemcachedHash::one_at_a_time;

  [[nodiscard]] std::uint32_t hash(std::string_view key) const noexcept {
    return detail::memcached_hash(function, key);
  }
  static void list(Members members, std::vector<std::uint32_t>& owners) {
    for (auto const& member : members)
      if (member.weight != 0) owners.push_back(member.position);
  }
};

}  // namespace poise::inline v0_1_0::dialect
