// SPDX-License-Identifier: MIT
#pragma once

// The output of the results: tables, advice, CSV.

#include <cstddef>
#include <ostream>
#include <string>
#include <vector>

#include "run.hpp"

namespace simulate {

/// The policies of a scenario, best first; of equals the one that was named first.
[[nodiscard]] std::vector<Line const*> ranked(Table const& table);
/// The policies of a scenario, best first, with the bounds above them. Names of up to 21 letters
/// fit into 80 columns; what is wider than `columns` is folded.
[[nodiscard]] std::string table_text(Table const& table, std::size_t columns);
/// Clients, servers, requests and load of a scenario, in a line.
[[nodiscard]] std::string conditions(Table const& table);
/// What keeps the p99 from telling policies apart: lines, or nothing.
[[nodiscard]] std::string remarks(Table const& table);
/// Nanoseconds as milliseconds, with three digits that count.
[[nodiscard]] std::string in_ms(double nanoseconds);

/// Which policy to take, over all scenarios, and why.
struct Advice {
  std::string policy{};  // empty if there is nothing to compare
  std::string why{};
};
[[nodiscard]] Advice recommend(std::vector<Table> const& tables);
[[nodiscard]] std::string text_of(Advice const& advice);
/// The same as text, after the means over scenarios if there are several; folded, too.
[[nodiscard]] std::string advice(std::vector<Table> const& tables, std::size_t columns);
void write_csv(std::ostream& out, std::vector<Table> const& tables,
               std::vector<std::uint64_t> const& seeds);

}  // namespace simulate
