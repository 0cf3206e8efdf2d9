// SPDX-License-Identifier: MIT
#pragma once

// The table at the end: all policies side by side.

#include <string>
#include <vector>

#include "log.hpp"
#include "scenario.hpp"

namespace demo {

/// The best values of each column stand out if colours are wanted.
[[nodiscard]] std::string table(Scenario const& scenario, std::vector<Result> const& results,
                                bool colours);

}  // namespace demo
