// SPDX-License-Identifier: MIT
#pragma once

// The results as one SVG: per scenario a bar per policy (p99 over the bound, logarithmic) and, if
// something happens to a server, that server's share of the traffic over time.

#include <string>
#include <vector>

#include "run.hpp"

namespace simulate {

[[nodiscard]] std::string svg(std::vector<Table> const& tables);
/// The same, wrapped for a browser.
[[nodiscard]] std::string html(std::vector<Table> const& tables);

}  // namespace simulate
