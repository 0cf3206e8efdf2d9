// SPDX-License-Identifier: MIT
#pragma once

// Jump hash: which of n numbered shards holds a key. It needs no table. If a shard is added, only
// 1 / (n + 1) of the keys move, all of them to the new shard.
//
// Use it for partitions of data that are numbered from 0, and to which new ones are only appended.
// For backends that are added and removed in any order use Maglev, HashRing or Rendezvous.
//
// Source: Lamping and Veach 2014, "A fast, minimal memory, consistent hash algorithm".

#include <cstdint>
#include <string_view>

#include <poise/error.hpp>
#include <poise/hash/xxhash.hpp>

namespace poise::inline v0_1_0 {

/// For a key that is a well-spread 64-bit number already. *Errors* ConfigError: no shards.
/// *Cost* about ln(n) steps: 20 ns for 10 shards, 50 ns for 1000.
[[nodiscard]] inline std::uint32_t shard(std::uint64_t hash, std::uint32_t shards) {
  if (shards == 0) throw ConfigError{"a key can't be in one of 0 shards: give 1 or more"};
  std::uint64_t now = 0;
  // With `now` + 1 shards the key is in shard `now`; `next` is the shard to which it jumps next.
  for (std::uint64_t next = 0; next < shards;) {
    now = next;
    hash = hash * 2862933555777941757U + 1;
    next = static_cast<std::uint64_t>(static_cast<double>(now + 1) *
                                      (0x1p31 / static_cast<double>((hash >> 33U) + 1)));
  }
  return static_cast<std::uint32_t>(now);
}

/// For any text, hashed with XXH64.
[[nodiscard]] inline std::uint32_t shard(std::string_view key, std::uint32_t shards) {
  return shard(hash::xxh64(key), shards);
}

}  // namespace poise::inline v0_1_0
