// SPDX-License-Identifier: MIT
#pragma once

// The policies that can be simulated.

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <poise/compose/any_policy.hpp>

namespace simulate {

/// In the text # stands for the client's number, for policies that depend on it.
/// "weighted_by_reports" is smooth_weighted for clients that take load reports.
/// *Errors* ConfigError.
[[nodiscard]] poise::AnyPolicy make_policy(std::string text, std::size_t client = 0);
[[nodiscard]] bool takes_reports(std::string_view text) noexcept;

/// All that have a name, and the usual loads beside the default ones; the simplest ones first.
/// Wrappers are not among them: without further parameters they are what they wrap. Nor is what
/// needs the help of servers.
[[nodiscard]] std::vector<std::string> all_policies();

/// Every name with its parameters, a line each.
[[nodiscard]] std::string list_of_policies();

}  // namespace simulate
