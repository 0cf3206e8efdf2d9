// SPDX-License-Identifier: MIT
// A table is a list of columns; a column is a heading and a text for each policy.

#include "table.hpp"

#include <algorithm>
#include <limits>
#include <optional>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace demo {

namespace {

struct Column {
  std::string group;  ///< The line above the headings; empty: it goes on from the column before.
  std::string heading;
  std::vector<std::string> cells{};
  std::vector<double> ranks{};  ///< The least is the best.

  [[nodiscard]] std::size_t width() const {
    auto width = heading.size();
    for (auto const& cell : cells) width = std::max(width, cell.size());
    return width;
  }
};

constexpr double worst = std::numeric_limits<double>::infinity();

std::string time(std::optional<Seconds> seconds, std::string_view if_none) {
  if (!seconds) return std::string{if_none};
  auto const ms = seconds->count() * 1000;
  return fmt::format("{:.{}f}", ms, ms < 9.95 ? 1 : 0);
}

template <class Rank, class Text>
Column column(std::string group, std::string heading, std::vector<Result> const& results,
              Rank const& rank, Text const& text) {
  Column column{std::move(group), std::move(heading)};
  for (auto const& result : results) {
    column.cells.push_back(text(result));
    column.ranks.push_back(rank(result));
  }
  return column;
}

Column time_column(std::string group, std::string heading, std::vector<Result> const& results,
                   std::optional<Seconds> Result::* member, std::string_view if_none) {
  return column(
      std::move(group), std::move(heading), results,
      [=](Result const& result) { return (result.*member).value_or(Seconds{worst}).count(); },
      [=](Result const& result) {
        return time(result.*member, result.had_outage ? if_none : "-");
      });
}

std::vector<Column> columns(Scenario const& scenario, std::vector<Result> const& results) {
  std::vector<Column> columns;
  columns.reserve(scenario.backends + 6);
  auto const no_rank = [](Result const&) { return worst; };
  for (std::size_t i = 0; i < scenario.backends; ++i)
    columns.push_back(column(
        i == 0 ? "% of picks" : "", fmt::format("{} x{}", name_of(i), weight_of(i)), results,
        no_rank,
        [i](Result const& result) { return fmt::format("{:.1f}", 100 * result.shares[i]); }));
  columns.push_back(time_column("latency, ms", "p50", results, &Result::p50, "-"));
  columns.push_back(time_column("", "p99", results, &Result::p99, "-"));
  columns.push_back(time_column("", "p99.9", results, &Result::p999, "-"));
  auto const share = [](Result const& result) {
    return 100.0 * static_cast<double>(result.errors) /
           std::max<double>(1, static_cast<double>(result.requests));
  };
  columns.push_back(column(" ", "errors", results, share, [=](Result const& result) {
    return fmt::format("{:.1f} %", share(result));
  }));
  if (scenario.calm) return columns;
  columns.push_back(
      time_column("killed server, ms until", "left alone", results, &Result::left_after, "never"));
  columns.push_back(time_column("", "back", results, &Result::back_after, "never"));
  return columns;
}

/// The columns in parts that fit into `width` beside the names of the policies, which take `first`.
std::vector<std::vector<Column>> fold(std::vector<Column> columns, std::size_t first,
                                      std::size_t width) {
  std::vector<std::vector<Column>> parts;
  std::size_t used = 0;
  std::string group;
  for (auto& each : columns) {
    if (!each.group.empty()) group = each.group;
    auto const gap = std::size_t{each.group.empty() ? 2U : 4U};
    if (parts.empty() || used + gap + std::max(each.width(), each.group.size()) > width) {
      parts.emplace_back();
      used = first;
      each.group = group;
    }
    used += std::size_t{each.group.empty() ? 2U : 4U} + each.width();
    parts.back().push_back(std::move(each));
  }
  return parts;
}

std::string part_of_table(std::vector<Column> const& all, std::vector<Result> const& results,
                          std::size_t first, bool colours) {
  auto groups = std::string(first, ' ');
  auto headings = fmt::format("{:<{}}", "policy", first);
  std::vector<std::string> rows;
  rows.reserve(results.size());
  for (auto const& result : results) rows.push_back(fmt::format("{:<{}}", result.policy, first));

  for (auto const& each : all) {
    if (!each.group.empty()) {
      headings += "  ";
      for (auto& row : rows) row += "  ";
      groups.resize(headings.size() + 2, ' ');
      groups += each.group;
    }
    auto const width = each.width();
    headings += fmt::format("  {:>{}}", each.heading, width);
    auto const best = std::ranges::min(each.ranks);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      bool const stands_out = colours && rows.size() > 1 && best != worst && each.ranks[i] == best;
      rows[i] += fmt::format("  {}{:>{}}{}", stands_out ? "\033[1;32m" : "", each.cells[i], width,
                             stands_out ? "\033[0m" : "");
    }
  }

  std::string line;
  for (std::size_t i = 0; i < headings.size(); ++i) line += "─";
  auto text = groups + '\n' + headings + '\n' + line + '\n';
  for (auto const& row : rows) text += row + '\n';
  return text + line + '\n';
}

}  // namespace

std::string table(Scenario const& scenario, std::vector<Result> const& results, std::size_t width,
                  bool colours) {
  std::size_t first = std::string_view{"policy"}.size();
  for (auto const& result : results) first = std::max(first, result.policy.size());
  std::string text;
  for (auto const& part : fold(columns(scenario, results), first, width))
    text += part_of_table(part, results, first, colours);
  return text;
}

}  // namespace demo
