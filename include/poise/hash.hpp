// SPDX-License-Identifier: MIT
#pragma once

// One number for a text, for tables inside this process and for draws by key.
//
// The value is the standard library's: good enough to spread, not stable between builds, and not a
// defence against crafted keys.

#include <cstdint>
#include <functional>
#include <string_view>

#include <poise/random.hpp>

namespace poise::detail {

inline std::uint64_t hash_text(std::string_view text) noexcept {
  return mix(std::hash<std::string_view>{}(text));
}

}  // namespace poise::detail
