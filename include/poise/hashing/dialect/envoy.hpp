// SPDX-License-Identifier: MIT
#pragma once

// Envoy's RING_HASH and MAGLEV, and gRPC's ring_hash, which is the same ring with smaller limits.
//
// A host is hashed by the label "hash_key" if it has one, else by its address ("ip:port",
// "[v6]:port"). Envoy makes ring and table from the healthy hosts alone, so every change of health
// rebuilds them. gRPC keeps failed hosts on the ring and walks past them. Locality weights are not
// supported.
//
// The default sizes are small. With 1024 points the hottest of 100 hosts gets 2.0 times its due,
// the hottest of 1000 hosts 4.6 times. gRPC's cap of 4096 leaves 904 of 5000 hosts without a point.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <numeric>
#include <queue>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/hash/murmur2.hpp>
#include <poise/hash/xxhash.hpp>
#include <poise/hashing/dialect/member.hpp>
#include <poise/hashing/ring.hpp>
#include <poise/hashing/slot_table.hpp>

namespace poise::inline v0_1_0::dialect {

/// The text by which Envoy and gRPC hash a host: the label "hash_key", else the address.
[[nodiscard]] inline std::string_view envoy_hash_key(Member const& member) noexcept {
  auto const key = member.label("hash_key");
  return key.empty() ? member.address() : key;
}

/// Envoy's hash functions.
enum class EnvoyHash : std::uint8_t { xxhash, murmur2 };

namespace detail {

/// A host and its fraction of all weights, from 0 to 1.
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

/// The smallest ring of at least `min` points that gives the lightest host a whole number of
/// points. It has at most `max` points; then light hosts may get none. Points are dealt by running
/// sums.
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

  /// The hash of a request is XXH64, from the route's hash policy, for any hash function of the
  /// ring.
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

/// Envoy, lb_policy MAGLEV: the same table, made from the hosts that are eligible now.
struct EnvoyMaglev {
  static constexpr char const* name = "envoy-maglev";
  static constexpr bool eligible_only = true;

  std::uint32_t slots = 65537;

  [[nodiscard]] static std::uint64_t hash(std::string_view key) noexcept {
    return hash::xxh64(key);
  }
  [[nodiscard]] std::uint32_t size() const noexcept { return slots; }
  [[nodiscard]] static std::size_t slot(std::uint64_t hash, std::uint32_t size) noexcept {
    return static_cast<std::size_t>(hash % size);
  }
  [[nodiscard]] static std::vector<std::uint32_t> fill(Members members, std::uint32_t size) {
    return fill(detail::shares(members), size);
  }
  /// Rounds over all hosts. A host takes a slot in the first round in which round * share reaches
  /// `target`, its slots so far times the greatest share. This is Envoy's arithmetic, but not
  /// Envoy's loop, which visits every host in every round.
  [[nodiscard]] static std::vector<std::uint32_t> fill(std::vector<detail::Share> const& hosts,
                                                       std::uint32_t size) {
    struct Host {
      poise::detail::Claimant claimant;
      double share;
      double target = 0;
    };
    std::vector<Host> order;
    double greatest = 0;
    for (auto const& host : hosts) {
      order.push_back(
          {{0, host.key, static_cast<std::uint32_t>(hash::xxh64(host.key) % size),
            static_cast<std::uint32_t>(hash::xxh64(host.key, 1) % (size - 1)) + 1, 0, host.owner},
           host.share});
      greatest = std::max(greatest, host.share);
    }
    std::stable_sort(order.begin(), order.end(),
                     [](auto const& a, auto const& b) { return a.claimant.key < b.claimant.key; });
    using Turn = std::pair<std::uint64_t, std::size_t>;  // round, host
    std::priority_queue<Turn, std::vector<Turn>, std::greater<>> turns;
    for (std::size_t i = 0; i < order.size(); ++i) turns.emplace(1, i);
    poise::detail::SlotTable table{size};
    while (!table.full()) {
      auto const [round, i] = turns.top();
      auto& host = order[i];
      host.target += greatest;
      table.take_best(host.claimant);
      turns.pop();
      auto const guess = static_cast<std::uint64_t>(host.target / host.share);
      auto next = std::max(round + 1, guess - std::min<std::uint64_t>(guess, 1));
      while (static_cast<double>(next) * host.share < host.target) ++next;
      turns.emplace(next, i);
    }
    return std::move(table).release();
  }
};

/// gRPC, ring_hash_experimental. C++ and Node take hosts in the given order, Go sorts them by key.
/// The order matters only if the hosts' fractions are no whole numbers of points.
struct GrpcRing {
  using Hash = std::uint64_t;
  static constexpr RingRule rule{};

  std::uint64_t min_size = 1024;
  std::uint64_t max_size = 4096;
  std::uint64_t cap = 4096;  ///< The client's own limit of both.
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

}  // namespace poise::inline v0_1_0::dialect
