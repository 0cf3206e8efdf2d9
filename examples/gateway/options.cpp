// SPDX-License-Identifier: MIT

#include "options.hpp"

#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace gateway {

namespace {

/// "IP:PORT", with any port: the system refuses what can't be listened on.
std::string address_of(examples::CommandLine& line) {
  auto text = line.value();
  auto const colon = text.rfind(':');
  auto const port = colon == std::string::npos ? std::string{} : text.substr(colon + 1);
  bool const is_port = !port.empty() && port.size() <= 5 &&
                       port.find_first_not_of("0123456789") == std::string::npos &&
                       std::stoul(port) <= 65'535;
  if (!is_port || colon == 0)
    throw BadOption{
        fmt::format("{} is \"{}\": use IP:PORT; port 0 takes a free one", line.option(), text)};
  return text;
}

}  // namespace

Options parse(std::vector<std::string> words) {
  Options options;
  if (!words.empty() && !words.front().starts_with('-')) {
    options.file = words.front();
    words.erase(words.begin());
  }
  examples::CommandLine line{std::move(words)};
  while (line.next()) {
    auto const& option = line.option();
    if (option == "--listen") options.listen = address_of(line);
    else if (option == "--admin") options.admin = address_of(line);
    else if (option == "--check") options.check = true;
    else if (option == "--help" || option == "-h") options.help = true;
    else if (!option.starts_with('-') && options.file.empty()) options.file = option;
    else
      throw BadOption{fmt::format(
          "there is no option \"{}\"; there are --listen, --admin, --check and --help", option)};
  }
  if (options.file.empty() && !options.help)
    throw BadOption{"a FILE is missing: gateway FILE; see --help"};
  return options;
}

std::string help() {
  return R"help(A reverse proxy for HTTP/1.1, configured by one file.

usage:
  gateway FILE                  serves until SIGTERM; then lets requests end, and ends
  gateway FILE --check          is the file right? One line for each problem; status 0 or 2
  gateway FILE --listen IP:PORT --admin IP:PORT
                                instead of the file's gateway.listen and metrics.listen;
                                port 0 takes a free one, and the first line printed says which
  gateway --help

The smallest FILE that works:

  [[backends]]
  address = "127.0.0.1:8001"

One for a service with three replicas, probes, retries, a page for operators and a log:

  [[backends]]
  address = "10.0.0.1:80"
  [[backends]]
  address = "10.0.0.2:80"
  [[backends]]
  address = "10.0.0.3:80"

  [gateway]
  listen = "0.0.0.0:8080"
  access_log = "-"

  [retry]
  attempts = 3

  [probe]
  kind = "http"
  path = "/up"

  [metrics]
  listen = "127.0.0.1:9100"

Instead of [[backends]] a registry: source = "consul:http://127.0.0.1:8500/web", "dns:web.local:80",
"file:/etc/backends" ...

Try it:
  python3 -m http.server 8001 &
  gateway first.toml &
  curl -v http://127.0.0.1:8080/

While it runs:
  it reads FILE again when that changes, and on SIGHUP: all or nothing; no request notices
  SIGTERM or SIGINT: no new clients; requests have gateway.drain_timeout to end; a second one cuts
    them off
  http://ADMIN/ is a live page, /metrics for Prometheus, /json, /text, /gateway for its own counts

docs/gateway.md says what is passed on, retried and refused; check --explain gateway.max_body, what
a field means.
)help";
}

}  // namespace gateway
