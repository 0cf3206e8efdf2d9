// SPDX-License-Identifier: MIT
#pragma once

// Envoy's RING_HASH and MAGLEV, and gRPC's ring_hash, which is the same ring with smaller limits.
//
// A host is hashed by the label "hash_key" if it has one, else by its address ("ip:port",
// "[v6]:port"). Envoy makes ring and table from the healthy hosts alone, so that every change of
// health makes them anew; gRPC keeps failed ones on the ring and walks past them. Locality weights
// are not here.
//
// The default sizes are small: 1024 points are 2.0 times hot at 100 hosts and 4.6 times at 1000,
// and gRPC's cap of 4096 leaves 904 of 5000 hosts without a single point.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/dialect/member.hpp>
#include <poise/hash/murmur2.hpp>
#include <poise/hash/xxhash.hpp>
#include <poise/ring.hpp>

namespace poise::dialect {

[[nodiscard]] inline std::string_view envoy_hash_key(Member const& member) noexcept {
  auto const key = member.label("hash_key");
  return key.empty() ? member.address() : key;
}

enum class EnvoyHash : std::uint8_t { xxhash, murmur2 };

namespace detail {

/// A host and its share of all, from 0 to 1.
struct Share {
  std::string_view key;
  double share;
  std::uint32_t owner;
};

[[nodiscard]] inline std::vector<Share> shares(Members members) {
  auto const total =
      std::accumulate(members.begin(), members.end(), std::uint64_t{0},
                      [](auto sum, auto const& member) { return sum + member.weight; });
  std::vector<Share> result;
  result.reserve(members.size());
  for (auto const& member : members) {
    if (member.weight == 0) continue;
    result.push_back({envoy_hash_key(member),
                      static_cast<double>(member.weight) / static_cast<double>(total),
                      member.position});
  }
  return result;
}

/// The least ring of at least `min` points that gives the lightest host a whole number of them; at
/// most `max`, and then light hosts may get none. Hosts take turns by running sums.
template <class HashText>
void place_shares(std::vector<Share> const& hosts, std::uint64_t min, std::uint64_t max,
                  HashText const& hash, std::vector<Ring<std::uint64_t>::Point>& points) {
  double least = 1;
  for (auto const& host : hosts) least = std::min(least, host.share);
  auto const scale =
      std::min(std::ceil(least * static_cast<double>(min)) / least, static_cast<double>(max));
  poise::detail::reserve_points(points, static_cast<std::uint64_t>(std::ceil(scale)));
  double made = 0;
  double wanted = 0;
  std::string text;
  for (auto const& host : hosts) {
    wanted += scale * host.share;
    text.assign(host.key).append("_");
    auto const stem = text.size();
    for (std::uint64_t i = 0; made < wanted; ++i, ++made) {
      text.resize(stem);
      text += std::to_string(i);
      points.push_back({hash(std::string_view{text}), host.owner});
    }
  }
}

inline constexpr std::uint64_t most_ring_points = 8'388'608;

inline void check_ring_size(char const* what, std::uint64_t min, std::uint64_t max) {
  if (min == 0 || min > max || max > most_ring_points)
    throw ConfigError{
        std::string{what} + ": a ring of " + std::to_string(min) + " to " + std::to_string(max) +
        " points; 1 <= minimum <= maximum <= " + std::to_string(most_ring_points) + " is needed"};
}

}  // namespace detail

/// Envoy, lb_policy RING_HASH.
struct EnvoyRing {
  using Hash = std::uint64_t;
  static constexpr char const* name = "envoy-ring";
  static constexpr RingRule rule{.eligible_only = true};

  EnvoyHash function = EnvoyHash::xxhash;
  std::uint64_t min_size = 1024;
  std::uint64_t max_size = detail::most_ring_points;

  /// A request's hash, XXH64, comes from the route's hash policy, whatever the ring is made with.
  [[nodiscard]] static Hash hash(std::string_view key) noexcept { return hash::xxh64(key); }

  void place(Members members, std::vector<Ring<Hash>::Point>& points) const {
    place(detail::shares(members), points);
  }
  void place(std::vector<detail::Share> const& hosts,
             std::vector<Ring<Hash>::Point>& points) const {
    detail::check_ring_size(name, min_size, max_size);
    auto const hash_text = [this](std::string_view text) {
      return function == EnvoyHash::xxhash ? hash::xxh64(text) : hash::murmur2_64(text);
    };
    detail::place_shares(hosts, min_size, max_size, hash_text, points);
  }
};

/// gRPC, ring_hash_experimental. C++ and Node take hosts in the order given, Go sorts them by their
/// key: that matters only where shares are no whole numbers of points.
struct GrpcRing {
  using Hash = std::uint64_t;
  static constexpr RingRule rule{};

  std::uint64_t min_size = 1024;
  std::uint64_t max_size = 4096;
  std::uint64_t cap = 4096;  ///< The client's own, for both.
  bool sorted = false;

  [[nodiscard]] std::string name() const { return sorted ? "grpc-ring-sorted" : "grpc-ring"; }
  [[nodiscard]] static Hash hash(std::string_view key) noexcept { return hash::xxh64(key); }

  void place(Members members, std::vector<Ring<Hash>::Point>& points) const {
    detail::check_ring_size("grpc-ring", min_size, max_size);
    detail::check_ring_size("grpc-ring cap", std::min(cap, min_size), cap);
    auto hosts = detail::shares(members);
    if (sorted)
      std::stable_sort(hosts.begin(), hosts.end(),
                       [](auto const& a, auto const& b) { return a.key < b.key; });
    detail::place_shares(
        hosts, std::min(min_size, cap), std::min(max_size, cap),
        [](std::string_view text) { return hash::xxh64(text); }, points);
  }
};

}  // namespace poise::dialect
