// SPDX-License-Identifier: MIT
// Every policy of poise against the same bad day: see --help, or options.cpp.
//
//   g++ -std=c++20 -O2 -Iinclude examples/demo/*.cpp -lfmt -pthread -o demo && ./demo
//
// poise is used in run.hpp, contenders.cpp lists the policies, pool.cpp reports outcomes.

#include <algorithm>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "contenders.hpp"
#include "log.hpp"
#include "options.hpp"
#include "page.hpp"
#include "scenario.hpp"
#include "screen.hpp"
#include "table.hpp"

namespace {

std::string introduction(demo::Scenario const& scenario, std::size_t policies) {
  auto text = fmt::format(
      "{} servers of different sizes, {:.0f} requests/s ({:.0f} % of what they can do), "
      "{} {} x {:.0f} s.\n",
      scenario.backends, scenario.rate, 100 * scenario.rate / demo::capacity(scenario.backends),
      policies, policies == 1 ? "policy" : "policies", scenario.length.count());
  if (scenario.calm) return text + "Nothing goes wrong.\n";
  auto const turns = demo::script(scenario.backends);
  return text + fmt::format(
                    "In each run {} turns 10 times slower, {} answers HTTP 500 at once, and {} is "
                    "killed; each recovers.\n",
                    demo::name_of(turns[0].backend), demo::name_of(turns[2].backend),
                    demo::name_of(turns[4].backend));
}

/// A busy computer delays servers and client alike, and then the table is about the computer.
void warn_if_late(std::vector<demo::Result> const& results) {
  demo::Seconds late{0};
  for (auto const& result : results) late = std::max(late, result.late.value_or(late));
  constexpr demo::Seconds bearable{0.005};
  if (late > bearable)
    fmt::print(
        "Note: 1 % of requests left more than {:.0f} ms too late, since this computer was too "
        "busy to send them.\n",
        late.count() * 1000);
}

void run(demo::Scenario const& scenario) {
  auto const contenders = demo::contenders(scenario.policy);
  demo::Screen screen{scenario};
  fmt::print("{}\n", introduction(scenario, contenders.size()));
  std::vector<demo::Result> results;
  for (auto const& contender : contenders) {
    screen.begin(contender.name, results.size() + 1, contenders.size());
    results.push_back(demo::evaluate(contender.run(scenario, screen), scenario.backends));
    screen.end(results.back().requests, results.back().errors);
  }
  fmt::print("\n{}", demo::table(scenario, results, screen.width(), screen.has_colours()));
  fmt::print("--help tells what happened to the servers, and what the columns mean.\n");
  warn_if_late(results);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    auto const options = demo::parse({argv + 1, argv + argc});
    if (options.help) fmt::print("{}", demo::help());
    else if (options.scenario.page && !demo::has_page())
      throw demo::BadOption{"--page needs Boost.Beast: install libboost-dev, and compile again"};
    else run(options.scenario);
    return 0;
  } catch (demo::BadOption const& error) {
    fmt::print(stderr, "demo: {}\n", error.what());
    return 2;
  } catch (std::exception const& error) {
    fmt::print(stderr, "demo: {}\n", error.what());
    return 1;
  }
}
