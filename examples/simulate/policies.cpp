// SPDX-License-Identifier: MIT

#include "policies.hpp"

#include <algorithm>

#include <poise/compose/policy_named.hpp>

#include "../known_policies.hpp"

namespace simulate {

poise::AnyPolicy make_policy(std::string text, std::size_t client) {
  for (auto at = text.find('#'); at != std::string::npos; at = text.find('#', at))
    text.replace(at, 1, std::to_string(client));
  return poise::policy_named(takes_reports(text) ? "smooth_weighted" : text);
}

bool takes_reports(std::string_view text) noexcept { return text == "weighted_by_reports"; }

std::vector<std::string> all_policies() {
  std::vector<std::string> all;
  std::vector<std::string> seen;
  auto const add = [&](std::string const& text) {
    auto const name = make_policy(text).name();
    auto const before = std::find(seen.begin(), seen.end(), name);
    if (before == seen.end()) {
      seen.push_back(name);
      all.push_back(text);
    } else if (text == name) {
      all[static_cast<std::size_t>(before - seen.begin())] = text;
    }
  };
  for (auto const& each : poise::known_policies())
    if (!each.wraps) add(std::string{each.name});
  for (auto const* each :
       {"p2c(load=ewma)", "p2c(load=peak_ewma)", "p2c(load=score)", "least(load=peak_ewma)"})
    add(each);
  return all;
}

std::string list_of_policies() {
  return examples::known_policies() +
         "\nWith servers that say how loaded they are (the mean of the last 100 requests' time):\n"
         "  weighted_by_reports\n";
}

}  // namespace simulate
