// SPDX-License-Identifier: MIT
// The text of a simulated scenario: what is accepted has numbers that a simulation can work with.

#include <cmath>
#include <string>
#include <string_view>

#include "fuzz.hpp"
#include "simulate/scenario.hpp"

void tests::fuzz(std::string_view input) {
  if (input.find('/') != std::string_view::npos) return;  // files it names are looked for here only
  try {
    auto const scenario = simulate::read_scenario(std::string{input});
    auto const scaled = scenario.scaled(2);
    require(!scaled.servers.empty() && scaled.capacity() > 0, "some server works");
    require(std::isfinite(scaled.request_rate()) && scaled.request_rate() > 0, "requests come");
    require(std::isfinite(scaled.work.mean) && scaled.work.mean > 0, "they have work");
    require(scaled.window > 0 && scaled.patience() > 0, "time passes");
    for (auto const& each : scaled.incidents)
      require(each.first <= each.last && each.last < scaled.servers.size(),
              "incidents have places");
  } catch (poise::ConfigError const& error) {
    require(error.what()[0] != '\0', "an error says something");
  }
}
