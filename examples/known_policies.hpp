// SPDX-License-Identifier: MIT
#pragma once

// The list of known policies, as help texts of the example programs print it.

#include <string>

#include <fmt/format.h>
#include <poise/compose/policy_named.hpp>

#include "terminal.hpp"

namespace examples {

/// Every name that policy_named() knows: a line each, with its parameters.
[[nodiscard]] inline std::string known_policies() {
  std::string text;
  for (auto const& each : poise::known_policies())
    text += list_item(each.name,
                      fmt::format("{}{}", each.about,
                                  each.parameters.empty() ? std::string{}
                                                          : fmt::format(" ({})", each.parameters)),
                      columns_of_text());
  return text;
}

}  // namespace examples
