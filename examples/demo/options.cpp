// SPDX-License-Identifier: MIT
// Options are checked one by one, so that a mistake is answered with what would have been right.

#include "options.hpp"

#include <algorithm>
#include <chrono>
#include <limits>
#include <string_view>

#include <fmt/format.h>

#include "contenders.hpp"

namespace demo {

Options parse(std::vector<std::string> const& words) {
  Options options;
  auto& scenario = options.scenario;
  examples::CommandLine line{words};
  while (line.next()) {
    auto const& option = line.option();
    if (option == "--policy") scenario.policy = line.checked(contenders);
    else if (option == "--backends") scenario.backends = line.number(2, 12);
    else if (option == "--rate") scenario.rate = static_cast<double>(line.number(10, 20000));
    else if (option == "--seconds") scenario.length = std::chrono::seconds{line.number(1, 3600)};
    else if (option == "--seed")
      scenario.seed = line.number(0, std::numeric_limits<std::uint64_t>::max());
    else if (option == "--calm") scenario.calm = true;
    else if (option == "--page") scenario.page = static_cast<std::uint16_t>(line.number(1, 65'535));
    else if (option == "--help" || option == "-h") options.help = true;
    else
      throw BadOption{
          fmt::format("there is no option \"{}\"; there are --policy, --backends, --rate, "
                      "--seconds, --seed, --calm, --page and --help",
                      option)};
  }
  return options;
}

std::string help() {
  Scenario const defaults;
  auto text = fmt::format(R"(Every policy of poise against the same bad day.

Starts HTTP servers on loopback, sends them requests through a poise::Balancer, lets things go
wrong, and ends with a table of what each policy made of it. Servers, sockets and failures are real;
only the servers' work is a timer.

  --policy NAME   one of the policies below, with parameters if wanted: 'p2c(load=peak_ewma)'; or
                  all (default: some of them)
  --backends N    how many servers, 2 to 12 (default: {})
  --rate R        requests per second, 10 to 20000 (default: {:.0f}; five servers can do {:.0f})
  --seconds S     how long each policy runs, 1 to 3600 (default: {:.0f})
  --seed N        another seed, another load and other service times (default: {})
  --calm          nothing goes wrong: what the policies do on a good day
  --page P        shows each run live in a browser, at http://127.0.0.1:P/; needs Boost.Beast.
                  With --seconds 60 there is time to look
  --help          this text

Policies:
)",
                          defaults.backends, defaults.rate, capacity(defaults.backends),
                          defaults.length.count(), defaults.seed);
  text += known();
  auto const turns = script(defaults.backends);
  auto const span = [&](std::size_t first) {
    return fmt::format("{:.0f} to {:.0f} %", 100 * turns[first].at, 100 * turns[first + 1].at);
  };
  text +=
      fmt::format(R"(
Incidents, at the same moments of every policy's run:
  {0}  {3} works 10 times slower. Its queue grows, unless the policy sends less there.
  {1}  {4} answers HTTP 500 after 0.1 ms. It is never busy, so it looks like the best server.
  {2}  {5} is killed: its sockets are closed, connections are refused. It comes back on its port.

Columns:
  % of picks      each server's part of all picks in the run; its weight is behind its name
  latency         of good answers, counted from the moment when the request was due: requests come
                  on a fixed schedule, answered or not, so time spent waiting to be sent counts
  errors          requests without a good answer: refused, reset, HTTP 5xx, or none within {6} ms
  left alone      from the kill until it got less than 5 % of its usual traffic; never: not before
                  it was back
  back            from its return until it gave at least half as many good answers as usual
)",
                  span(0), span(2), span(4), name_of(turns[0].backend), name_of(turns[2].backend),
                  name_of(turns[4].backend), request_timeout.count());
  return text;
}

}  // namespace demo
