// SPDX-License-Identifier: MIT
#pragma once

// Who takes part: the one list of policies.

#include <functional>
#include <string>
#include <vector>

#include "log.hpp"
#include "scenario.hpp"
#include "screen.hpp"

namespace demo {

struct Contender {
  std::string name;
  std::string about;
  std::function<Log(Scenario const&, Screen&)> run;
};

[[nodiscard]] std::vector<Contender> contenders();

}  // namespace demo
