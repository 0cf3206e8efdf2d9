// SPDX-License-Identifier: MIT
#pragma once

// The last good list on disk, for a start while the registry is down. A text file: edit it if you
// must, then remove its first line, which holds the fingerprint of what follows.

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <poise/discovery/files.hpp>
#include <poise/discovery/lines.hpp>
#include <poise/discovery/look.hpp>
#include <poise/discovery/normalize.hpp>
#include <poise/endpoint.hpp>

namespace poise::inline v0_1_0::discovery {

namespace detail {

constexpr std::string_view snapshot_head = "# poise snapshot, fingerprint ";

inline std::string in_hex(std::uint64_t number) {
  char text[17];
  auto const size =
      std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(number));
  return {text, static_cast<std::size_t>(size)};
}

}  // namespace detail

/// The text of a snapshot. *Requires* a list sorted by id.
[[nodiscard]] inline std::string to_snapshot(std::vector<Endpoint> const& endpoints) {
  std::string text{detail::snapshot_head};
  text += detail::in_hex(fingerprint(endpoints)) + "\n";
  for (auto const& each : endpoints) text += to_line(each) + "\n";
  return text;
}

/// *Errors* Failed: a damaged line, or a fingerprint that does not fit (a torn or edited file).
[[nodiscard]] inline Look from_snapshot(std::string_view text) {
  bool const edited = !text.starts_with(detail::snapshot_head);
  auto found = parse_lines(text, edited);  // else addresses are as the source gave them
  if (!found.problems.empty()) return Failed{found.problems.front()};
  NormalizeOptions all{.check_addresses = false, .max_endpoints = text.size()};
  for (auto const& each : found.endpoints)
    for (auto const& label : each.labels) all.labels.push_back(label.key);
  auto look = normalize(std::move(found), all);
  if (auto const* list = std::get_if<Found>(&look); list != nullptr)
    if (!edited) {
      auto const stated = text.substr(detail::snapshot_head.size(), 16);
      if (stated != detail::in_hex(fingerprint(list->endpoints)))
        return Failed{"the fingerprint is not that of the list: the file is damaged"};
    }
  return look;
}

/// Writes by rename. Returns why that failed; nothing if it didn't. *Cost* an fsync.
[[nodiscard]] inline std::string write_snapshot(std::string const& path,
                                                std::vector<Endpoint> const& endpoints) {
  return detail::replace_file(path, to_snapshot(endpoints));
}

/// *Errors* Failed: no file, an unreadable or a damaged one, one of more than 64 MiB.
[[nodiscard]] inline Look read_snapshot(std::string const& path) {
  auto file = detail::read_file(path, std::size_t{64} << 20U);
  if (!file.error.empty()) return Failed{std::move(file.error)};
  auto look = from_snapshot(file.text);
  if (auto* const failed = std::get_if<Failed>(&look)) failed->why = path + ": " + failed->why;
  return look;
}

}  // namespace poise::inline v0_1_0::discovery
