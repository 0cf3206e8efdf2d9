// SPDX-License-Identifier: MIT
#pragma once

// The list of known policies, as help texts of the example programs print it.

#include <string>

#include <fmt/format.h>
#include <poise/compose/policy_named.hpp>

namespace examples {

/// Every name that policy_named() knows: a line each, with its parameters.
[[nodiscard]] inline std::string known_policies() {
  std::string text;
  for (auto const& each : poise::known_policies())
    text += fmt::format("  {:<18}{}{}\n", each.name, each.about,
                        each.parameters.empty() ? "" : fmt::format(" ({})", each.parameters));
  return text;
}

}  // namespace examples
