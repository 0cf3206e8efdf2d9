// SPDX-License-Identifier: MIT
#pragma once

// HAProxy, `hash-type consistent`; HaproxyMap at the end is `hash-type map-based`.
//
// Without a function in its configuration HAProxy uses sdbm and avalanche. With a function it uses
// avalanche only if that is configured too. A server is placed by its `hash-key`:
//
//   id         (default) the label "id", else the server's number in order, or the next free number
//              after that. So without labels, removing a server changes the points of later ones
//   id32       the same number, spread better                                          since 3.4
//   addr       the IP address                                                          since 3.0
//   addr_port  the IP address and the port                                             since 3.0
//   guid       the label "guid"                                                        since 3.4
//
// From 3.0.0 until the fix of October 2025 (3.3-dev10, backported) `id` placed servers differently
// from all versions before and since. `unfixed_3_0` selects these versions.
//
// A weight is 0 to 256, with 16 points per unit. The nearest point wins; servers that are down have
// no points. If a server can't take a request (already tried, at its limit), the request walks to
// the next point. A request without key takes the next point in turn. So does a request whose key
// consists of commas and blanks: `balance hdr(X)` reads such a header as empty. (hashing/key.hpp
// cuts keys out of headers as hdr() does.)

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <limits>
#include <numeric>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <poise/base/address.hpp>
#include <poise/hash/avalanche.hpp>
#include <poise/hash/bytes.hpp>
#include <poise/hash/crc32.hpp>
#include <poise/hash/djb2.hpp>
#include <poise/hash/sdbm.hpp>
#include <poise/hash/wt6.hpp>
#include <poise/hash/xxhash.hpp>
#include <poise/hashing/dialect/member.hpp>
#include <poise/hashing/ring.hpp>

namespace poise::inline v0_1_0::dialect {

/// HAProxy's functions for keys; `none` reads the key as a decimal number.
enum class HaproxyFunction : std::uint8_t { sdbm, djb2, wt6, crc32, none };
/// The property by which HAProxy places a server (hash-key).
enum class HaproxyKey : std::uint8_t { id, id32, addr, addr_port, guid };

namespace detail {

/// The number at the start of the text, limited to 64 bits; 0 if there is none.
[[nodiscard]] inline std::int64_t leading_number(std::string_view text) noexcept {
  using Limits = std::numeric_limits<std::int64_t>;
  if (text.starts_with('+')) {
    text.remove_prefix(1);
    if (text.starts_with('-')) return 0;
  }
  std::int64_t number = 0;
  auto const result = std::from_chars(text.data(), text.data() + text.size(), number);
  if (result.ec == std::errc::result_out_of_range)
    return text.starts_with('-') ? Limits::min() : Limits::max();
  return number;
}

/// The number, if the whole text is one.
template <class Number>
[[nodiscard]] std::optional<Number> whole_number(std::string_view text) noexcept {
  Number number{};
  auto const result = std::from_chars(text.data(), text.data() + text.size(), number);
  bool const whole = result.ec == std::errc{} && result.ptr == text.data() + text.size();
  return whole ? std::optional{number} : std::nullopt;
}

[[nodiscard]] inline std::uint32_t haproxy_hash(HaproxyFunction function, bool avalanche,
                                                std::string_view key) noexcept {
  std::uint32_t hash = 0;
  switch (function) {
    case HaproxyFunction::sdbm: hash = hash::sdbm(key); break;
    case HaproxyFunction::djb2: hash = hash::djb2(key); break;
    case HaproxyFunction::wt6: hash = hash::wt6(key); break;
    case HaproxyFunction::crc32: hash = hash::crc32(key); break;
    case HaproxyFunction::none: hash = static_cast<std::uint32_t>(leading_number(key)); break;
  }
  return avalanche ? hash::avalanche(hash) : hash;
}

inline void check_haproxy_weight(Member const& member) {
  if (member.weight > 256)
    throw ConfigError{"weight of " + poise::detail::in_quotes(member.id()) + " is " +
                      std::to_string(member.weight) + "; HAProxy's weights end at 256"};
}

}  // namespace detail

struct Haproxy {
  using Hash = std::uint32_t;
  static constexpr RingRule rule{.nearest = true, .keyless = Keyless::turns};
  static constexpr std::uint32_t points_per_weight = 16;

  HaproxyFunction function = HaproxyFunction::sdbm;
  bool avalanche = true;
  HaproxyKey key = HaproxyKey::id;
  bool unfixed_3_0 = false;

  [[nodiscard]] std::string name() const { return unfixed_3_0 ? "haproxy-3.0-unfixed" : "haproxy"; }
  [[nodiscard]] Hash hash(std::string_view text) const noexcept {
    return detail::haproxy_hash(function, avalanche, text);
  }
  [[nodiscard]] static bool keyless(std::string_view text) noexcept {
    return text.find_first_not_of(", \t") == std::string_view::npos;
  }

  void place(Members members, std::vector<Ring<Hash>::Point>& points) const {
    std::uint64_t count = 0;
    for (auto const& member : members) {
      detail::check_haproxy_weight(member);
      count += std::uint64_t{points_per_weight} * member.weight;
    }
    poise::detail::reserve_points(points, count);
    auto const ids = numbers(members);
    for (std::size_t i = 0; i < members.size(); ++i) {
      auto const start = server_key(members[i], ids[i]);
      for (std::uint32_t j = 0; j < points_per_weight * members[i].weight; ++j)
        points.push_back({hash::avalanche(start + j), members[i].position});
    }
  }

 private:
  /// HAProxy's numbers of the servers: the given one, else the first free one from its place on.
  [[nodiscard]] static std::vector<std::uint32_t> numbers(Members members) {
    std::vector<std::uint32_t> given(members.size(), 0);
    std::vector<std::uint32_t> taken;
    for (std::size_t i = 0; i < members.size(); ++i) {
      auto const text = members[i].label("id");
      if (text.empty()) continue;
      given[i] = detail::whole_number<std::uint32_t>(text).value_or(0);
      if (given[i] == 0 || given[i] > std::numeric_limits<std::int32_t>::max())
        throw ConfigError{"label id of " + poise::detail::in_quotes(members[i].id()) + " is " +
                          poise::detail::in_quotes(text) + "; HAProxy's ids are numbers from 1"};
      taken.push_back(given[i]);
    }
    std::sort(taken.begin(), taken.end());
    if (auto const twice = std::adjacent_find(taken.begin(), taken.end()); twice != taken.end())
      throw ConfigError{"the label id " + std::to_string(*twice) +
                        " is given to two backends: to HAProxy they would be one place"};
    std::uint32_t next = 1;  // counts all servers, numbered ones included
    for (auto& each : given) {
      if (each == 0) {
        while (std::binary_search(taken.begin(), taken.end(), next)) ++next;
        each = next;
      }
      ++next;
    }
    return given;
  }

  [[nodiscard]] std::uint32_t server_key(Member const& member, std::uint32_t id) const {
    switch (key) {
      case HaproxyKey::id: return unfixed_3_0 ? hash::avalanche(id) : id * 4096;
      case HaproxyKey::id32: return hash::avalanche(swapped(id));
      case HaproxyKey::addr:
      case HaproxyKey::addr_port: return address_key(member);
      case HaproxyKey::guid: break;
    }
    auto const guid = member.label("guid");
    if (guid.empty())
      throw ConfigError{poise::detail::in_quotes(member.id()) +
                        " has no label guid, which hash-key guid needs"};
    return hash::xxh32(guid);
  }

  [[nodiscard]] std::uint32_t address_key(Member const& member) const {
    auto const [host, port_text] = split(member.address());
    auto const ip = poise::detail::Ip::parse(host);
    auto const port = detail::whole_number<std::uint16_t>(port_text);
    if (!ip || (key == HaproxyKey::addr_port && !port))
      throw ConfigError{"the address " + poise::detail::in_quotes(member.address()) + " of " +
                        poise::detail::in_quotes(member.id()) + " is not IP" +
                        (key == HaproxyKey::addr_port ? ":PORT" : "") +
                        ", which HAProxy's hash-key needs"};
    auto const start = key == HaproxyKey::addr_port ? hash::avalanche(*port) : 0;
    if (ip->size == 16) return hash::xxh32(ip->view(), start);
    return hash::avalanche(start + hash::detail::load_little<std::uint32_t>(ip->view()));
  }

  static constexpr std::uint32_t swapped(std::uint32_t word) noexcept {
    return word << 24U | (word & 0xff00U) << 8U | (word >> 8U & 0xff00U) | word >> 24U;
  }
};

/// HAProxy, `hash-type map-based`, its default: a list in proportion to weight, rebuilt for the
/// servers that are up. Without a configured function it uses sdbm, and no avalanche.
struct HaproxyMap {
  static constexpr char const* name = "haproxy-map";
  static constexpr ListRule rule{.eligible_only = true, .keyless = Keyless::turns};

  HaproxyFunction function = HaproxyFunction::sdbm;
  bool avalanche = false;

  [[nodiscard]] std::uint32_t hash(std::string_view key) const noexcept {
    return detail::haproxy_hash(function, avalanche, key);
  }
  [[nodiscard]] static bool keyless(std::string_view key) noexcept { return Haproxy::keyless(key); }

  /// Weights divided by the greatest common divisor of all servers' weights, down ones included.
  static void list(Members members, Members all, std::vector<std::uint32_t>& owners) {
    std::uint32_t divisor = 0;
    for (auto const& member : all) divisor = std::gcd(divisor, member.weight);
    std::int64_t total = 0;
    for (auto const& member : members) {
      detail::check_haproxy_weight(member);
      total += member.weight / divisor;
    }
    std::vector<std::int64_t> scores(members.size());
    for (std::int64_t slot = 0; slot < total; ++slot) {
      std::size_t best = 0;
      std::int64_t most = -1;
      for (std::size_t i = 0; i < members.size(); ++i) {
        scores[i] += members[i].weight / divisor;
        auto const value = (scores[i] + total) / total;
        if (value <= most) continue;
        most = value;
        best = i;
      }
      scores[best] -= total;
      owners.push_back(members[best].position);
    }
  }
};

}  // namespace poise::inline v0_1_0::dialect
