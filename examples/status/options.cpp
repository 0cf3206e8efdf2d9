// SPDX-License-Identifier: MIT
// Options are checked one by one, so that a mistake is answered with what would have been right.

#include "options.hpp"

#include <chrono>
#include <cstdint>
#include <limits>

#include <fmt/format.h>
#include <known_policies.hpp>

namespace status {

Options parse(std::vector<std::string> const& words) {
  Options options;
  examples::CommandLine line{words};
  while (line.next()) {
    auto const& option = line.option();
    if (option == "--backends") options.backends = line.number(1, 200);
    else if (option == "--policy") options.policy = line.checked(poise::policy_named);
    else if (option == "--port") options.port = static_cast<std::uint16_t>(line.number(0, 65'535));
    else if (option == "--seconds") options.length = std::chrono::seconds{line.number(0, 86'400)};
    else if (option == "--rate") options.rate = static_cast<double>(line.number(1, 20'000));
    else if (option == "--seed")
      options.seed = line.number(0, std::numeric_limits<std::uint64_t>::max());
    else if (option == "--cap") options.cap = line.number(0, 100'000);
    else if (option == "--histograms") options.histograms = true;
    else if (option == "--calm") options.calm = true;
    else if (option == "--help" || option == "-h") options.help = true;
    else
      throw BadOption{
          fmt::format("there is no option \"{}\"; there are --backends, --policy, --port, "
                      "--seconds, --rate, --seed, --cap, --histograms, --calm and --help",
                      option)};
  }
  return options;
}

std::string help() {
  Options const defaults;
  return fmt::format(R"(A balancer under load that tells how it is doing.

Starts HTTP servers on loopback, sends them requests through a poise::Balancer with a health
monitor and a meter, and serves what the meter counted:

  /          a page that shows it live, for a browser
  /metrics   for Prometheus; OpenMetrics if the client asks for it
  /json      most of these numbers and more, as JSON
  /text      a table:  watch -n1 curl -s URL/text
  /explain?key=K  what a pick would do now, and why not another backend
  /why/ID    why a backend is passed over, and until when:  curl -s URL/why/server-2
  /decisions what picks did, one in 1024, by which numbers
  /healthz   that this program runs

The first line that it prints is the address. The second server answers HTTP 500 from the 5th to the
10th second, and again every 20 seconds: it is ejected, tried again, and warmed up.

  --backends N    how many servers, 1 to 200 (default: {})
  --policy NAME   one of those below, with parameters if wanted: 'p2c(load=peak_ewma)'
                  (default: {})
  --port P        where to serve; 0 takes a free one (default: {})
  --seconds S     how long to run; 0 is until it is interrupted (default: {})
  --rate R        requests a second, 1 to 20000 (default: {:.0f})
  --seed K        another load and other service times (default: {})
  --cap N         how many backends have series of their own; the rest is "other" (default: {})
  --histograms    a histogram for each of them, beside the one of all
  --calm          no server fails
  --help          this text

docs/operations.md says what each metric means. Policies:
{})",
                     defaults.backends, defaults.policy, defaults.port, defaults.length.count(),
                     defaults.rate, defaults.seed, defaults.cap, examples::known_policies());
}

}  // namespace status
