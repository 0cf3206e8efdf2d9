// SPDX-License-Identifier: MIT
#pragma once

// What a policy may know of a request. Everything is optional, and nothing is copied: the texts and
// the list of exclusions must live until pick() returns.

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include <poise/time.hpp>

namespace poise {

enum class Priority : std::uint8_t { high, normal, low };

struct Request {
  std::string_view id{};
  std::string_view client_id{};
  std::string_view route_key{};  ///< What keyed policies hash; see key().
  Priority priority = Priority::normal;
  std::uint32_t attempt = 1;  ///< 1 for the first try.
  bool idempotent = true;     ///< False: tried again only if nothing was sent.
  std::optional<Time> deadline{};
  /// Backends already tried, by serial (Lease::serial): picked again only when nothing else is
  /// left. At most 8 are looked at, the last ones.
  std::span<std::uint64_t const> excluded{};

  /// The route key, else the client, else the request itself.
  [[nodiscard]] std::string_view key() const noexcept {
    return !route_key.empty() ? route_key : !client_id.empty() ? client_id : id;
  }
};

/// A request of which nothing is known; a constant, so that picking for it writes nothing.
inline constexpr Request any_request{};

inline constexpr std::size_t max_excluded =
    8;  // a request that failed on 8 backends has other problems

/// Is the backend with this serial among the last 8 that the request excludes?
[[nodiscard]] constexpr bool excludes(Request const& request, std::uint64_t serial) noexcept {
  auto const all = request.excluded;
  auto const recent = all.size() > max_excluded ? all.last(max_excluded) : all;
  for (auto const each : recent)
    if (each == serial) return true;
  return false;
}

}  // namespace poise
