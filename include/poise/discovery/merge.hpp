// SPDX-License-Identifier: MIT
#pragma once

// Several sources, one list: all of them, the first that has something, or a tier per source.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <span>
#include <utility>
#include <vector>

#include <poise/endpoint.hpp>

namespace poise::inline v0_1_0::discovery {

enum class Merge : std::uint8_t {
  all,    ///< The union. Where two sources name the same id, the first one describes it.
  first,  ///< The list of the first source that names a backend with weight: a fallback.
  tiers,  ///< The union; the tiers of each source come after those of the source before it.
};

namespace detail {

inline bool serves_any(std::vector<Endpoint> const& list) {
  return std::ranges::any_of(list, [](Endpoint const& each) { return each.weight != 0; });
}

/// Raises tiers by `base`; returns the first tier that is free after that.
inline std::uint32_t raise_tiers(std::vector<Endpoint>& list, std::uint32_t base) {
  std::uint32_t end = base;
  for (auto& each : list) {
    each.tier = each.tier < UINT32_MAX - base ? each.tier + base : UINT32_MAX;
    end = std::max(end, each.tier < UINT32_MAX ? each.tier + 1 : UINT32_MAX);
  }
  return end;
}

}  // namespace detail

/// *Requires* lists sorted by id, as followers give them; the result is sorted, too.
[[nodiscard]] inline std::vector<Endpoint> merge(Merge how,
                                                 std::span<std::vector<Endpoint> const> lists) {
  std::vector<Endpoint> result;
  std::uint32_t tier = 0;
  for (auto list : lists) {
    if (how == Merge::first && !detail::serves_any(list)) continue;
    if (how == Merge::tiers) tier = detail::raise_tiers(list, tier);
    auto const middle = static_cast<std::ptrdiff_t>(result.size());
    std::ranges::move(list, std::back_inserter(result));
    std::ranges::inplace_merge(result, result.begin() + middle, {}, &Endpoint::id);  // stable
    // Not std::ranges::unique: clang 14 can't use what it returns.
    auto const end = std::unique(result.begin(), result.end(),
                                 [](auto const& a, auto const& b) { return a.id == b.id; });
    result.erase(end, result.end());
    if (how == Merge::first) break;
  }
  return result;
}

}  // namespace poise::inline v0_1_0::discovery
