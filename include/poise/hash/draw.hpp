// SPDX-License-Identifier: MIT
#pragma once

// A key's number for choices that are otherwise random: between healthy and degraded backends,
// between tiers, between zones. A request with a key must not draw these at random.
//
// Like key hashes, the number is the same for every client, standard library and byte order.

#include <cstdint>
#include <string_view>

#include <poise/hash/xxhash.hpp>
#include <poise/random.hpp>

namespace poise::inline v0_1_0::detail {

/// XXH64, scrambled once more, so that the draw is independent of the key's place on a ring.
[[nodiscard]] inline std::uint64_t draw_of(std::string_view key) noexcept {
  return mix(hash::xxh64(key));
}

}  // namespace poise::inline v0_1_0::detail
