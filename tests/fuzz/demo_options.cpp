// SPDX-License-Identifier: MIT
// The demo's command line; an input has a word a line. Policies are fuzzed by policy.cpp.

#include <string>
#include <string_view>
#include <vector>

#include "demo/contenders.hpp"
#include "demo/options.hpp"
#include "fuzz.hpp"

std::vector<demo::Contender> demo::contenders(std::string const&) { return {}; }
std::string demo::known() { return {}; }

void tests::fuzz(std::string_view input) {
  try {
    auto const options = demo::parse(split(input, '\n'));
    auto const& scenario = options.scenario;
    require(scenario.backends >= 2 && scenario.backends <= 12, "there are servers");
    require(scenario.rate >= 10 && scenario.length.count() >= 1, "there is a load");
    if (options.help) require(!demo::help().empty(), "there is help");
  } catch (demo::BadOption const& error) {
    require(error.what()[0] != '\0', "an error says something");
  }
}
