// SPDX-License-Identifier: MIT
#pragma once

// The results as one SVG in the live page's look: which policy to take and why; then for each
// scenario a bar per policy (p99 over the bound, logarithmic), the p99 over time with what happened
// to servers, and the share of the traffic that such a server got.
//
// It is for browsers: its colours are CSS, light and dark. It loads nothing, and text from outside
// is only ever text. Each policy has a number and a dash pattern beside its colour.

#include <string>
#include <vector>

#include "run.hpp"

namespace simulate {

/// *Requires* a table at least.
[[nodiscard]] std::string svg(std::vector<Table> const& tables);
/// The same in a page of HTML.
[[nodiscard]] std::string html(std::vector<Table> const& tables);

}  // namespace simulate
