// SPDX-License-Identifier: MIT
#pragma once

// The version of these headers, as numbers: compare them with `if constexpr`. CMakeLists.txt reads
// it from here.

#include <compare>

namespace poise::inline v0_1_0 {

struct Version {
  int major;
  int minor;
  int patch;
  friend constexpr auto operator<=>(Version const&, Version const&) = default;
};

inline constexpr Version version{0, 1, 0};

}  // namespace poise::inline v0_1_0
