// SPDX-License-Identifier: MIT
#pragma once

// The table at the end: all policies side by side.

#include <cstddef>
#include <string>
#include <vector>

#include "log.hpp"
#include "scenario.hpp"

namespace demo {

/// Folded into several parts if it is wider than `width`. The best values of each column stand out
/// if colours are wanted.
[[nodiscard]] std::string table(Scenario const& scenario, std::vector<Result> const& results,
                                std::size_t width, bool colours);

}  // namespace demo
