// SPDX-License-Identifier: MIT
// The simulator's command line; an input has a word a line.

#include <string_view>

#include <poise/error.hpp>

#include "command_line.hpp"
#include "fuzz.hpp"
#include "simulate/options.hpp"

void tests::fuzz(std::string_view input) {
  if (input.find('/') != std::string_view::npos) return;  // no files but the scenarios
  try {
    auto const options = simulate::parse(split(input, '\n'));
    if (options.help || options.list) return;
    require(!options.plan.policies.empty(), "there is a policy");
    require(!options.plan.cases.empty() && !options.plan.seeds.empty(), "there is work to do");
  } catch (examples::BadOption const& error) {
    require(error.what()[0] != '\0', "an error says something");
  } catch (poise::ConfigError const& error) {
    require(error.what()[0] != '\0', "an error says something");
  }
}
