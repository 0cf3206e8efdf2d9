// SPDX-License-Identifier: MIT
#pragma once

// A hash of texts for tables inside one process.
//
// It is the standard library's hash, scrambled: well spread, but not stable between builds, and no
// defence against crafted keys.

#include <cstdint>
#include <functional>
#include <string_view>

#include <poise/random.hpp>

namespace poise::inline v0_1_0::detail {

inline std::uint64_t hash_text(std::string_view text) noexcept {
  return mix(std::hash<std::string_view>{}(text));
}

}  // namespace poise::inline v0_1_0::detail
