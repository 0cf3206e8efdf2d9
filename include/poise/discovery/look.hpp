// SPDX-License-Identifier: MIT
#pragma once

// What a source of endpoints answers. "There are none" is a Found with an empty list, which the
// guard judges. "I could not find out" is a Failed, which never changes anything.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <poise/endpoint.hpp>
#include <poise/hash/xxhash.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::discovery {

/// A complete list, as the source states it.
struct Found {
  std::vector<Endpoint> endpoints{};
  /// When to ask again, a DNS TTL say; without it FollowerOptions::refresh.
  std::optional<Duration> good_for{};
  std::string
      version{};         ///< The source's own name of this state: a revision, an index; for people.
  bool watched = false;  ///< The source announces the next change by itself.
  std::vector<std::string> problems{};  ///< Entries that were left out, in words.
};

/// No list, and why.
struct Failed {
  std::string why{};
  std::optional<Duration> retry_after{};  ///< The source's own wish; else backoff decides.
};

using Look = std::variant<Found, Failed>;

/// A hash of (id, address, weight, zone, tier) of all endpoints. Clients that follow the same
/// registry should show the same number: if they don't, some of them get partial lists.
/// *Requires* a list sorted by id. *Cost* O(n), one allocation.
[[nodiscard]] inline std::uint64_t fingerprint(std::vector<Endpoint> const& endpoints) {
  std::string text;
  for (auto const& each : endpoints) {
    for (auto const* part : {&each.id, &each.address, &each.zone}) {
      text += std::to_string(part->size());
      text += ':';
      text += *part;
    }
    text += std::to_string(each.weight);
    text += ',';
    text += std::to_string(each.tier);
    text += ';';
  }
  return hash::xxh64(text);
}

}  // namespace poise::inline v0_1_0::discovery
