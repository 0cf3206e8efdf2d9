// SPDX-License-Identifier: MIT
// Lists of endpoints as lines: whatever is read can be written and read again, and a snapshot of it
// comes back whole or not at all.

#include <string>
#include <string_view>
#include <variant>

#include <poise/discovery/lines.hpp>
#include <poise/discovery/normalize.hpp>
#include <poise/discovery/snapshot.hpp>

#include "fuzz.hpp"

void tests::fuzz(std::string_view input) {
  using namespace poise::discovery;
  auto const found = parse_lines(input);
  std::string error;
  for (auto const& each : found.endpoints) {
    auto const again = parse_line(to_line(each), error);
    require(again && *again == each, "a line that was written is read as it was");
  }
  NormalizeOptions options;
  for (auto const& each : found.endpoints)
    for (auto const& label : each.labels) options.labels.push_back(label.key);
  auto const look = normalize(found, options);
  if (auto const* const list = std::get_if<Found>(&look)) {
    auto const back = from_snapshot(to_snapshot(list->endpoints));
    require(std::holds_alternative<Found>(back), "a snapshot is readable");
    require(std::get<Found>(back).endpoints == list->endpoints, "a snapshot is the list");
  }
  (void)from_snapshot(input);
}
