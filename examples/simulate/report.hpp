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
/// Which policy to take, over all scenarios, and why; folded, too.
[[nodiscard]] std::string advice(std::vector<Table> const& tables, std::size_t columns);
void write_csv(std::ostream& out, std::vector<Table> const& tables,
               std::vector<std::uint64_t> const& seeds);

}  // namespace simulate
